import { difference } from "./changes.ts";
import { Deadline } from "./deadline.ts";
import { SessionError } from "./errors.ts";
import { expiryOf, type Timeouts } from "./expiry.ts";
import { loadRecord } from "./loading.ts";
import { type Bound, type Head, readHead } from "./record.ts";
import {
  type Entry,
  entryOf,
  keyOfPage,
  keyOfSubject,
  type LoadedPage,
  type Page,
  pageFrom,
  recordOfPage,
  sizeOfPage,
  withEntry,
  withHeir,
  withoutEntries,
} from "./roster_page.ts";
import { seal, unseal } from "./sealing.ts";
import { keyOfId, mintId } from "./session_id.ts";
import type { Loaded, SessionStore } from "./store.ts";

/** What changes when a user's credentials do: a counter, a date, a hash. */
export type Epoch = string | number;

/** What `bind` asked for. */
export interface Binding {
  readonly subject: string;
  /** The codec's text of the details, if there are any. */
  readonly details: string | undefined;
  readonly epoch: Epoch | undefined;
}

/** One session of a subject, as the list shows it. */
export interface Listing {
  readonly handle: string;
  readonly createdAt: number;
  readonly lastSeenAt: number;
  /** The codec's text, if there are any. */
  readonly details: string | undefined;
}

/** How many sessions one subject may have, and what happens to one more. */
export interface SubjectLimit {
  /** The most sessions that are bound to one subject at a time. */
  readonly sessions: number;
  /** Whether the session that was bound first makes room, or the new one is refused. @default {"end-oldest"} */
  readonly onLimit?: "end-oldest" | "refuse";
}

/** What a list depends on, all of it from outside. */
export interface RosterParts {
  readonly store: SessionStore;
  readonly now: () => number;
  readonly storeTimeout: number;
  readonly timeoutsOf: (head: Head) => Timeouts;
  /** The secrets that details are sealed with, the current one first; undefined if they are not. */
  readonly sealing: readonly string[] | undefined;
  readonly limit: SubjectLimit | undefined;
  /** Whether a session is none once its epoch is over. */
  readonly hasEpochs: boolean;
}

/** A session that is about to be stored, and what is to take its place if its id is regenerated. */
export interface Storing {
  readonly head: Head;
  readonly lastSeenAt: number;
  readonly id: string;
  readonly heirId?: string;
}

/**
 * How long, in milliseconds, an entry may wait for its session. It is written first, so that there is never a session
 * which the list does not know; no login takes as long as this.
 */
const LONGEST_LOGIN = 600_000;
/** How far, in milliseconds, the clocks of two servers may be apart: a list outlives its sessions by so much. */
const CLOCK_SKEW = 60_000;
/** In bytes: a record of this size fits into every engine, the smallest being Deno KV's of 65 536. */
const PAGE_BYTES = 40_000;
/** Pages for many logins at once. Each is one more read for whoever lists the sessions of such a user. */
const SCATTERED = 16;
/** Records that are asked for at a time. */
const AT_A_TIME = 32;

/**
 * The lists of which sessions belong to whom, kept as records in the same store. An entry is written before its session
 * says that it is there, and removed after it: a crash in between leaves an entry that leads nowhere, and never a session
 * that no list knows. An entry counts only if its session's head names it.
 */
export class Roster {
  readonly #parts: RosterParts;

  constructor(parts: RosterParts) {
    this.#parts = parts;
  }

  /**
   * Lets the list know of a session that is about to be stored.
   *
   * @param binding What is to be tied to the session; null to untie it, undefined to leave it as it is
   * @returns The head to store; null if another session has taken this one's place
   * @throws {SessionError} `ERR_LIMIT`, `ERR_STORE`, `ERR_STORE_TIMEOUT`, `ERR_CONFLICT`
   */
  async announce(storing: Storing, binding: Binding | null | undefined, deadline: Deadline): Promise<Head | null> {
    const { head, heirId } = storing;
    const { bound } = head;
    if (binding === null) {
      const { bound: _, ...unbound } = head;
      return bound === undefined ? head : unbound;
    }
    if (binding !== undefined) return await this.#enter(storing, binding, deadline);
    if (bound === undefined) return head;
    if (heirId === undefined && this.#expiresAt(storing) <= bound.until) return head;
    return await this.#follow(storing, bound, deadline);
  }

  /** Removes the entry of a session that is no longer bound. */
  async leave({ subject, page, token }: Bound, deadline: Deadline): Promise<void> {
    await this.#edit(subject, page, (found) => withoutEntries(found, [token]), deadline);
  }

  /** The live sessions of a subject, the last seen first. Of those that are over, the entries are removed. */
  async list(subject: string, isCurrent: (bound: Bound) => boolean): Promise<Listing[]> {
    const listings: Listing[] = [];
    for (const page of await this.#pages(keyOfSubject(subject))) {
      const found = await this.#look(page);
      for (const { token, entry, seen } of found) {
        if (seen === null || !isCurrent(seen.bound)) continue;
        const { lastSeenAt } = seen;
        const { createdAt } = seen.head;
        const details = await this.#shown(subject, token, entry);
        listings.push({ handle: handleOf(seen.bound), createdAt, lastSeenAt, details });
      }
      // It is only tidying, and whoever lists next does it again.
      await this.#drop(page, found).catch(() => {});
    }
    return listings.toSorted((a, b) => b.lastSeenAt - a.lastSeenAt || (a.handle < b.handle ? -1 : 1));
  }

  /** Ends the session that a handle names. Answers how many have ended: one, or none. */
  async end(handle: string): Promise<number> {
    const [, subject, page, token] = HANDLE_SHAPE.exec(handle) ?? [];
    if (subject === undefined || token === undefined) return 0;
    const found = await this.#load(subject, Number(page), this.#deadline());
    return await this.#endOn(found, (each) => each === token);
  }

  /** Ends all sessions of a subject but the one that a handle names. Answers how many. */
  async endAll(subject: string, spared: string | null): Promise<number> {
    const key = keyOfSubject(subject);
    let ended = 0;
    for (const page of await this.#pages(key)) {
      const isChosen = (token: string): boolean => handleOf({ subject: key, page: page.number, token }) !== spared;
      ended += await this.#endOn(page, isChosen);
    }
    return ended;
  }

  /** Ends the sessions that a new one has put over the limit, those first that were bound first. */
  async trim({ subject }: Bound): Promise<number> {
    const { limit } = this.#parts;
    if (limit === undefined || limit.onLimit === "refuse") return 0;
    const live: { readonly bound: Bound; readonly boundAt: number }[] = [];
    const pages = await this.#pages(subject);
    for (const page of pages) {
      for (const { entry, seen } of await this.#look(page)) {
        if (seen !== null) live.push({ bound: seen.bound, boundAt: entry.boundAt });
      }
    }
    // In an order on which all agree, or two logins at once could end each other.
    live.sort((a, b) => b.boundAt - a.boundAt || (a.bound.token < b.bound.token ? -1 : 1));
    let ended = 0;
    for (const { bound } of live.slice(limit.sessions)) {
      const page = pages.find(({ number }) => number === bound.page)!;
      ended += await this.#endOn(page, (token) => token === bound.token);
    }
    return ended;
  }

  async #enter(storing: Storing, binding: Binding, deadline: Deadline): Promise<Head | null> {
    const { head, id, heirId } = storing;
    const subject = keyOfSubject(binding.subject);
    const known = head.bound?.subject === subject ? head.bound : undefined;
    const token = known?.token ?? mintId().slice(0, TOKEN_LENGTH);
    const until = this.#lastExpiry(storing);
    const details = await this.#hidden(binding, token);
    const described = ({ key, heirs, boundAt }: Entry): Entry => ({ key, heirs, boundAt, ...details });
    const entry = described({ key: keyOfId(heirId ?? id), heirs: [], boundAt: this.#parts.now() });
    const page = known
      ? await this.#rewrite(storing, known, until, described, deadline)
      : await this.#place(subject, { token, entry, epoch: binding.epoch }, until, deadline);
    if (page === null) return null;
    const bound = { subject, page, token, until, epoch: markOf(token, binding.epoch) };
    return JSON.stringify(bound) === JSON.stringify(known) ? head : { ...head, bound };
  }

  /** Lets the entry name what is to take a session's place, and lets the list live as long as the session. */
  async #follow(storing: Storing, bound: Bound, deadline: Deadline): Promise<Head | null> {
    const until = this.#lastExpiry(storing);
    const page = await this.#rewrite(storing, bound, until, (entry) => entry, deadline);
    return page === null ? null : { ...storing.head, bound: { ...bound, until } };
  }

  /** Rewrites the entry of a session that has one. Answers its page, or null if another session has taken over. */
  async #rewrite(
    { id, heirId }: Storing,
    { subject, page: number, token }: Bound,
    until: number,
    change: (entry: Entry) => Entry,
    deadline: Deadline,
  ): Promise<number | null> {
    const key = keyOfId(id);
    if (number > 0) await this.#extend(await this.#load(subject, 0, deadline), until, deadline);
    const rewritten = await this.#edit(
      subject,
      number,
      (page) => {
        // A list that was lost begins anew here: what is stored in the end, it knows again.
        const entry = entryOf(page, token) ?? { key, heirs: [], boundAt: this.#parts.now() };
        const named = withHeir(entry, key, heirId && keyOfId(heirId));
        return named && withEntry(page, token, change(named), until + CLOCK_SKEW);
      },
      deadline,
    );
    return rewritten && number;
  }

  /** Writes a new entry on a page that has room. Answers which. */
  async #place(subject: string, entering: Entering, until: number, deadline: Deadline): Promise<number> {
    const { token, entry, epoch } = entering;
    let conflicts = 0;
    for (;;) {
      const first = await this.#load(subject, 0, deadline);
      await this.#assertRoom(first, epoch);
      // Any page, so that not all meet on one; and if it is full, one of the last, which were begun when the others were.
      const anywhere = await this.#pageOf(first, Math.floor(Math.random() * first.pages), deadline);
      const last = first.pages - 1 - Math.floor(Math.random() * newPages(first));
      const isFull = (page: Page): boolean =>
        page.entries.size > 0 && sizeOfPage(withEntry(page, token, entry, until)) > this.#pageBytes;
      const page = isFull(anywhere) ? await this.#pageOf(first, last, deadline) : anywhere;
      if (isFull(page)) {
        await this.#makeRoom(first, anywhere, deadline);
        continue;
      }
      if (page.number > 0) await this.#extend(first, until, deadline);
      const next = withEntry(page, token, entry, until + CLOCK_SKEW);
      // So many log in at once that this one has lost twice: on more pages, fewer of them meet.
      const pages = conflicts > 1 && this.#mayScatter(page) ? SCATTERED : page.pages;
      if (await this.#write(page, { ...next, pages }, deadline)) return page.number;
      conflicts++;
      await deadline.pause();
    }
  }

  async #pageOf(first: LoadedPage, number: number, deadline: Deadline): Promise<LoadedPage> {
    return number === 0 ? first : await this.#load(first.subject, number, deadline);
  }

  /** Takes its dead entries from a full page, or adds pages. */
  async #makeRoom(first: LoadedPage, page: LoadedPage, deadline: Deadline): Promise<void> {
    const dropped = await this.#drop(page, await this.#look(page));
    // A few would soon be in the way again, and to look at every session of a page at each login would be dear.
    if (dropped * 4 >= page.entries.size) return;
    const pages = first.pages + newPages(first);
    await this.#edit(first.subject, 0, (first) => (first.pages < pages ? { ...first, pages } : first), deadline);
  }

  /** Whether pages may be added before one is full. Not where sessions are counted, which is exact on one page alone. */
  #mayScatter({ number, pages }: Page): boolean {
    return number === 0 && pages < SCATTERED && this.#parts.limit === undefined;
  }

  /** Keeps the first page, which alone knows of the others, as long as they are; and longer, so as to be rarely written. */
  async #extend(first: LoadedPage, until: number, deadline: Deadline): Promise<void> {
    const needed = until + CLOCK_SKEW;
    if (first.until >= needed) return;
    const ahead = 2 * needed - this.#parts.now();
    await this.#edit(first.subject, 0, (page) => (page.until < needed ? { ...page, until: ahead } : page), deadline);
  }

  /** @throws {SessionError} `ERR_LIMIT` if the subject has as many sessions as it may have */
  async #assertRoom(first: LoadedPage, epoch: Epoch | undefined): Promise<void> {
    const { limit, hasEpochs } = this.#parts;
    if (limit?.onLimit !== "refuse") return;
    let count = 0;
    for (const page of await this.#pages(first.subject, first)) {
      for (const { token, entry, seen } of await this.#look(page)) {
        // A login that is under way counts: of two at once for the last place, one is refused.
        const isCounted =
          seen === null ? this.#mayCome(entry) : !hasEpochs || seen.bound.epoch === markOf(token, epoch);
        if (isCounted) count++;
      }
    }
    if (count >= limit.sessions) {
      throw new SessionError("ERR_LIMIT", `Cannot bind the session: ${limit.sessions} sessions are bound already`);
    }
  }

  /** Ends the chosen sessions of a page. Whatever takes their place meanwhile is named in their entries, and ends too. */
  async #endOn(found: LoadedPage, isChosen: (token: string) => boolean): Promise<number> {
    const { subject, number } = found;
    const ended = new Set<string>();
    // A login that comes later is not meant.
    const chosen = [...found.entries.keys()].filter(isChosen);
    for (let page = found; ;) {
      const over: string[] = [];
      // Where a list may be stale, this one does not name what took a session's place: to write it would lose that name.
      let isOld = false;
      await atMost(chosen, async (token) => {
        const entry = entryOf(page, token);
        if (entry === undefined) return;
        let hasMoved = false;
        for (const key of [entry.key, ...entry.heirs]) {
          const answer = await this.#endKey(key, { subject, token });
          if (answer === "ended") ended.add(token);
          else hasMoved ||= answer === "moved";
        }
        if (hasMoved && !ended.has(token)) isOld = true;
        else if (ended.has(token) || !this.#mayCome(entry)) over.push(token);
      });
      const deadline = this.#deadline();
      // If the page is as it was, so are its entries: they have named whatever took the place of a session meanwhile.
      const isWritten = over.length > 0 && !isOld;
      if (isWritten) {
        if (await this.#write(page, withoutEntries(page, over), deadline)) return ended.size;
        await deadline.pause();
      }
      const newest = await this.#load(subject, number, deadline);
      if (!isWritten && isSame(page, newest, chosen)) return ended.size;
      page = newest;
    }
  }

  /** Deletes a session if its head names the entry. */
  async #endKey(key: string, named: Named): Promise<"ended" | "moved" | null> {
    const deadline = this.#deadline();
    for (;;) {
      const found = await this.#session(key, named, deadline);
      if (found === null || found === "moved") return found;
      const answer = await deadline.insist("end the session", () => this.#parts.store.delete(key, found.version));
      if (answer !== "conflict") return "ended";
      await deadline.pause();
    }
  }

  /** What has become of the sessions of a page. */
  async #look(page: Page): Promise<Look[]> {
    const looks = await atMost([...page.entries.keys()], (token) => this.#lookAt(page, token));
    if (looks.every(({ seen }) => seen !== null)) return looks;
    // What seems to be over may have given way to a session that the entry names by now.
    const newest = await this.#load(page.subject, page.number, this.#deadline());
    return await atMost(looks, async (look) =>
      look.seen !== null || isSame(page, newest, [look.token]) ? look : await this.#lookAt(newest, look.token),
    );
  }

  async #lookAt(page: Page, token: string): Promise<Look> {
    const entry = entryOf(page, token) ?? { key: "", heirs: [], boundAt: 0 };
    let hasMoved = false;
    // One after the other: a session is there before its predecessor gives way.
    for (const key of entry.key === "" ? [] : [entry.key, ...entry.heirs]) {
      const seen = await this.#session(key, { subject: page.subject, token }, this.#deadline());
      if (seen === "moved") hasMoved = true;
      else if (seen !== null && this.#expiresAt(seen) > this.#parts.now()) return { token, entry, seen, hasMoved };
    }
    return { token, entry, seen: null, hasMoved };
  }

  /** Drops the entries whose sessions are over. Answers how many. */
  async #drop(page: LoadedPage, looks: readonly Look[]): Promise<number> {
    const over = looks.filter(({ entry, seen }) => seen === null && !this.#mayCome(entry)).map(({ token }) => token);
    const isOld = looks.some(({ seen, hasMoved }) => seen === null && hasMoved);
    if (over.length === 0 || isOld) return 0;
    return (await this.#write(page, withoutEntries(page, over), this.#deadline())) ? over.length : 0;
  }

  /** Whether the session of an entry may still be on its way into the store. */
  #mayCome({ boundAt }: Entry): boolean {
    return this.#parts.now() - boundAt < LONGEST_LOGIN;
  }

  /** The session under a store key, if its head names the entry; or that it has given way to another of late. */
  async #session(key: string, { subject, token }: Named, deadline: Deadline): Promise<Seen | "moved" | null> {
    const loaded = await loadRecord(this.#parts.store, key, "load the session", deadline);
    if (loaded === null) return null;
    const head = readHead(loaded, key);
    if (typeof head === "string") return null;
    const { bound } = head;
    if (bound?.token !== token || bound.subject !== subject) return null;
    if (head.successor !== undefined) return "moved";
    return { head, bound, lastSeenAt: loaded.lastSeenAt, version: loaded.version };
  }

  /** All pages of a list. */
  async #pages(subject: string, known?: LoadedPage): Promise<LoadedPage[]> {
    const first = known ?? (await this.#load(subject, 0, this.#deadline()));
    const others = Array.from({ length: first.pages - 1 }, (_, index) => index + 1);
    return [first, ...(await atMost(others, (number) => this.#load(subject, number, this.#deadline())))];
  }

  /** Changes a page, again if others do so meanwhile. Answers null if `change` does. */
  async #edit(
    subject: string,
    number: number,
    change: (page: Page) => Page | null,
    deadline: Deadline,
  ): Promise<Page | null> {
    for (;;) {
      const page = await this.#load(subject, number, deadline);
      const next = change(page);
      if (next === null || (await this.#write(page, next, deadline))) return next;
      await deadline.pause();
    }
  }

  async #load(subject: string, number: number, deadline: Deadline): Promise<LoadedPage> {
    const key = keyOfPage({ subject, number });
    return pageFrom(await loadRecord(this.#parts.store, key, LISTING, deadline), subject, number);
  }

  /** Stores a page if it is still as it was loaded. */
  async #write(before: LoadedPage, after: Page, deadline: Deadline): Promise<boolean> {
    const { store, now } = this.#parts;
    const key = keyOfPage(before);
    const { version } = before;
    if (after.entries.size === 0 && after.pages === 1) {
      if (version === undefined) return true;
      return (await deadline.insist(LISTING, () => store.delete(key, version))) !== "conflict";
    }
    const record = recordOfPage(after, now());
    const changed = difference(before.fields, record.fields);
    if (changed.size === 0) return true;
    const until = Math.max(after.until, now() + CLOCK_SKEW);
    const answer =
      version === undefined
        ? await deadline.insist(LISTING, () => store.create(key, record, until))
        : await deadline.insist(LISTING, () => store.change(key, { record, changed }, version, until));
    return answer !== "taken" && answer !== "conflict" && answer !== "gone";
  }

  async #hidden({ subject, details }: Binding, token: string): Promise<Pick<Entry, "details" | "sealed">> {
    const { sealing } = this.#parts;
    if (details === undefined || sealing === undefined) return { details };
    return { sealed: await seal(sealingKey(subject, sealing[0]), DETAILS, details, token) };
  }

  async #shown(subject: string, token: string, { details, sealed }: Entry): Promise<string | undefined> {
    if (sealed === undefined) return details;
    for (const secret of this.#parts.sealing ?? []) {
      const text = await unseal(sealingKey(subject, secret), DETAILS, sealed, token);
      if (text !== null) return text;
    }
    return undefined;
  }

  #expiresAt({ head, lastSeenAt }: Pick<Storing, "head" | "lastSeenAt">): number {
    return expiryOf({ since: head.since, lastSeenAt }, this.#parts.timeoutsOf(head));
  }

  /** An instant that the session will not outlive without being stored anew, and that is not passed by every touch. */
  #lastExpiry(storing: Storing): number {
    const { absolute, idle } = this.#parts.timeoutsOf(storing.head);
    return absolute === false ? this.#expiresAt(storing) + idle * 1000 : storing.head.since + absolute * 1000;
  }

  get #pageBytes(): number {
    return Math.min(PAGE_BYTES, this.#parts.store.traits.maxBytes / 2);
  }

  #deadline(): Deadline {
    return new Deadline(this.#parts.storeTimeout);
  }
}

/** The most that details may take, in bytes of their encoded text. */
export const MOST_DETAILS = 2048;

/**
 * Refuses what names nobody: to end the sessions of `undefined` would look like success.
 *
 * @throws {TypeError} If the subject is no text, an empty one, or one that is like others in UTF-8
 */
export function assertSubject(subject: unknown): asserts subject is string {
  if (typeof subject === "string" && subject !== "" && subject.isWellFormed()) return;
  throw new TypeError("The subject of sessions must be a text, and not an empty one");
}

/** What names a bound session to whoever may end it, and is no id. */
export function handleOf({ subject, page, token }: Pick<Bound, "subject" | "page" | "token">): string {
  return `${subject}.${page}.${token}`;
}

/** What a session's head keeps of an epoch: enough to compare, and not the epoch, which may be a password's hash. */
export function markOf(token: string, epoch: Epoch | null | undefined): string | undefined {
  if (epoch === undefined || epoch === null) return undefined;
  return keyOfId(`epoch ${token} ${JSON.stringify(epoch)}`).slice(0, 32);
}

/** Which entry a session's head must name. */
type Named = Pick<Bound, "subject" | "token">;

/** A session that is to be listed. */
interface Entering {
  readonly token: string;
  readonly entry: Entry;
  readonly epoch: Epoch | undefined;
}

interface Seen {
  readonly head: Head;
  readonly bound: Bound;
  readonly lastSeenAt: number;
  readonly version: Loaded["version"];
}

interface Look {
  readonly token: string;
  readonly entry: Entry;
  /** The live session, if there is one. */
  readonly seen: Seen | null;
  /** Whether there was one of late that has given way. If what took its place is not named, the page is an old one. */
  readonly hasMoved: boolean;
}

const HANDLE_SHAPE = /^([0-9a-f]{64})\.(\d{1,6})\.([A-Za-z0-9_-]{16})$/;
/** 96 bits: whoever does not know a handle does not guess it. */
const TOKEN_LENGTH = 16;
const LISTING = "read or write the list of sessions";
const DETAILS = "details";

function sealingKey(subject: string, secret = ""): string {
  return JSON.stringify([subject, secret]);
}

function isSame(before: Page, after: Page, tokens: readonly string[]): boolean {
  return tokens.every((token) => before.entries.get(token) === after.entries.get(token));
}

/** How many pages are added to a list at a time: few of them are empty, and many logins at once do not all meet on one. */
function newPages({ pages }: Page): number {
  return Math.ceil(pages / 8);
}

/** Runs a task for every item, a few at a time. */
async function atMost<Item, Result>(items: readonly Item[], task: (item: Item) => Promise<Result>): Promise<Result[]> {
  const results: Result[] = [];
  const waiting = items.entries();
  const work = async (): Promise<void> => {
    for (const [index, item] of waiting) results[index] = await task(item);
  };
  await Promise.all(Array.from({ length: Math.min(AT_A_TIME, items.length) }, work));
  return results;
}
