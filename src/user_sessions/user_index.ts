import { endRecord } from "../core/end_record.ts";
import { SessionError } from "../core/errors.ts";
import { SWEEP_MARGIN } from "../core/expiry.ts";
import { type Metadata, METADATA_FIELD, metadataText, readMetadata, type Successor } from "../core/metadata.ts";
import { isTombstone, NO_FIELDS, writeOf } from "../core/record_write.ts";
import type { Contents, Operation } from "../core/repository.ts";
import type { StoredRecord } from "../core/store.ts";
import { type Facts, factsOf, isKey, type ListPlace } from "./facts.ts";
import { type Entry, loadPage, nameOf, type Page, savePage } from "./index_page.ts";

/** How many sessions a user may have, and what happens to one more. */
export interface Admission {
  readonly limit: number;
  /** Whether the new session is refused; otherwise the oldest ends. */
  readonly refuses: boolean;
  /** Sessions of other credentials are not counted. */
  readonly version: string | undefined;
}

/** A live session that names the entry through which it was found. */
export interface LiveSession extends Entry {
  readonly record: StoredRecord;
  readonly metadata: Metadata;
  readonly facts: Facts;
}

/** What an entry leads to: a session; nothing, or a session that names another entry; one whose id was regenerated; one that has ended; what cannot be read. */
type Look = LiveSession | "absent" | "moved" | "ended" | "unreadable";

/** In bytes. */
const PAGE_BYTES = 32_000;
/** What an entry takes, in bytes, rounded up. */
const ENTRY_BYTES = 160;
/** How many pages a list has at least after two logins at once. Listing the sessions of such a user costs one more read for each. */
const SCATTERED = 16;
/**
 * How long, in milliseconds, an entry waits for its session, because it is written first. No request takes half as long, and the clocks of
 * two servers may be ten minutes apart if each is wrong by five.
 */
const PENDING = 2 * SWEEP_MARGIN;
/** More regenerations than this while a retired id is noted are not made by a client. */
const MOST_HOPS = 8;

/**
 * Lists a session, or finds that it is listed. It is called before the session is stored, so no session says that it is listed and is not.
 *
 * @returns Its page, and its place in the order of logins
 * @throws {SessionError} `ERR_SESSION_LIMIT`, `ERR_CONFLICT`, `ERR_STORE`, `ERR_STORE_TIMEOUT`
 */
export async function register(
  list: string,
  known: number | undefined,
  { key, token, order: place }: Pick<Entry, "key" | "token"> & { readonly order: number | undefined },
  contents: Contents,
  op: Operation,
  admission?: Admission,
): Promise<{ readonly page: number; readonly order: number }> {
  const name = nameOf({ key, token });
  let number = known;
  let hasMet = false;
  for (;;) {
    const first = await loadPage(list, 0, op);
    const pageAt = (number: number): Page | Promise<Page> => (number === 0 ? first : loadPage(list, number, op));
    // Two logins that have met are not the only ones. On more pages, fewer of them meet.
    const least = hasMet && admission === undefined ? SCATTERED : 1;
    let page = await pageAt(number ?? random(0, Math.max(least, first.pages)));
    // In the newer half, whose pages were begun when the others were full.
    if (!page.entries.has(name) && isFull(page, op)) page = await pageAt(random(first.pages >> 1, first.pages));
    const entry = page.entries.get(name);
    if (entry === undefined && isFull(page, op)) {
      await makeRoom(page, op);
      continue;
    }
    const counts = entry === undefined && admission !== undefined;
    const looks = counts && (admission.refuses || first.pages > 1) ? await survey(list, op) : [];
    if (counts && admission.refuses && !hasRoom(looks, token, admission, op)) throw limitReached(admission.limit);
    // Later than every session in the list, whatever the clocks say.
    const others = [first, ...page.entries.values(), ...looks.map(([other]) => other)];
    const order = entry?.order ?? place ?? others.reduce((latest, other) => Math.max(latest, other.order + 1), op.now);
    page.entries.set(name, entry ?? { key, token, order, writtenAt: op.now });
    // The first page alone knows how many there are.
    while (first.pages <= page.number) first.pages *= 2;
    // Each login that is counted changes the first page, so that no two can count the same.
    if (counts) first.order = order;
    for (const each of [page, first]) keepFor(each, contents, op);
    const isOnPage = page === first || (await savePage(page, op));
    if (isOnPage && (await savePage(first, op))) return { page: page.number, order };
    if (isOnPage && page !== first) ({ number } = page);
    hasMet = true;
    // What is counted anew must not be in the way of others that are.
    if (counts) await unregister({ list, page: page.number }, key, token, op);
    await op.backOff();
  }
}

function random(from: number, to: number): number {
  return from + Math.floor(Math.random() * (to - from));
}

/** A page fits into every engine, the smallest value being Deno KV's of 65 536 bytes. */
function isFull({ entries }: Page, op: Operation): boolean {
  return (entries.size + 1) * ENTRY_BYTES > Math.min(PAGE_BYTES, op.store.traits.maxBytes / 2);
}

/** Lets a page be kept longer than the session, also if another clock counts that; and far longer, so that few touches write it. */
function keepFor(page: Page, contents: Contents, op: Operation): void {
  const end = op.endsAt(contents) + PENDING;
  if (page.until < end) page.until = Math.max(end, 2 * end - op.now);
}

/** Removes the ended sessions from a full page, or adds pages. */
async function makeRoom(page: Page, op: Operation): Promise<void> {
  const { size } = page.entries;
  await inspect(page, op);
  const isTidied = page.entries.size * 4 < size * 3;
  if (!(await savePage(page, op))) return await op.backOff();
  // If few entries were removed, the page is soon full again, and inspecting all of its sessions at each login is expensive.
  if (isTidied) return;
  const first = await loadPage(page.list, 0, op);
  first.pages *= 2;
  await savePage(first, op);
}

/** Removes a session that has ended, or belongs to somebody else by now, from a list. */
export async function unregister(
  { list, page: number = 0 }: ListPlace,
  key: string,
  token: string,
  op: Operation,
): Promise<void> {
  for (;;) {
    const page = await loadPage(list, number, op);
    page.entries.delete(nameOf({ key, token }));
    // With it goes what earlier ids have left.
    for (const [entry, found] of await inspect(page, op, (entry) => entry.token === token))
      if (found === "moved") page.entries.delete(nameOf(entry));
    if (await savePage(page, op)) return;
    await op.backOff();
  }
}

/** The live sessions of a list. */
export async function listSessions(list: string, version: string | undefined, op: Operation): Promise<LiveSession[]> {
  return currentOf(await survey(list, op), version, op).toSorted(
    (a, b) => b.record.lastSeenAt - a.record.lastSeenAt || b.order - a.order,
  );
}

/** Ends sessions of a list. What takes their place meanwhile ends as well; a later login stays. Answers how many have ended. */
export async function revoke(list: string, isMeant: (token: string) => boolean, op: Operation): Promise<number> {
  const ended = new Set<string>();
  for (let number = 0, pages = 1; number < pages; number++) {
    let meant: Set<string> | undefined;
    for (; ; await op.backOff()) {
      const page = await loadPage(list, number, op);
      if (number === 0) ({ pages } = page);
      meant ??= new Set([...page.entries.values()].map(({ token }) => token).filter(isMeant));
      await inspect(
        page,
        op,
        ({ token }) => meant?.has(token) === true,
        ({ token }) => ended.add(token),
      );
      // If the page is as it was, it has named what took the place of a session meanwhile.
      if (await savePage(page, op)) break;
    }
  }
  return ended.size;
}

/** Ends the sessions that a new one has put over the limit, the oldest first. Answers how many have ended. */
export async function enforceLimit(list: string, { limit, version }: Admission, op: Operation): Promise<number> {
  const live = currentOf(await survey(list, op), version, op);
  // In an order on which all agree. The new session itself ends only if there are enough later ones.
  live.sort((a, b) => b.order - a.order || (a.token < b.token ? -1 : 1));
  const over = live.slice(limit).map(({ token }) => token);
  return over.length === 0 ? 0 : await revoke(list, (token) => over.includes(token), op);
}

/** Whether one more session of a user is within the limit. A login that is under way counts: of two at once for the last place, one is refused. */
function hasRoom(looks: readonly Inspected[], own: string, { limit, version }: Admission, op: Operation): boolean {
  const counted = looks.filter(([, look]) =>
    typeof look === "string" ? look === "absent" : isCurrent(look, version, op),
  );
  return new Set(counted.map(([{ token }]) => token).filter((token) => token !== own)).size < limit;
}

function limitReached(limit: number): SessionError {
  return new SessionError(
    "ERR_SESSION_LIMIT",
    `Cannot bind the session: its user has ${limit} already, which is the limit; revoke one first`,
  );
}

type Inspected = readonly [entry: Entry, look: Look];

/** Looks at all sessions of a list, and removes the entries of those that have ended. */
async function survey(list: string, op: Operation): Promise<Inspected[]> {
  const inspected: Inspected[] = [];
  for (let number = 0, pages = 1; number < pages; number++) {
    const page = await loadPage(list, number, op);
    if (number === 0) ({ pages } = page);
    inspected.push(...(await inspect(page, op)));
    // It is only tidying, and the next one does it again.
    await savePage(page, op).catch(() => {});
  }
  return inspected;
}

/** Looks at entries of a page, and ends their sessions if `told` is given. Entries of ended sessions are removed from the page; the others are returned. */
async function inspect(
  page: Page,
  op: Operation,
  isMeant: (entry: Entry) => boolean = () => true,
  told?: (ended: Entry) => void,
): Promise<Inspected[]> {
  const meant = [...page.entries.values()].filter(isMeant);
  const inspected = await Promise.all(
    meant.map(async (entry): Promise<Inspected> => [entry, await look(entry, page.list, op, told)]),
  );
  return inspected.filter(([entry, found]) => {
    // The session may be on its way. A retired one may be put back.
    const isOver = found === "ended" || (found === "absent" && Math.abs(op.now - entry.writtenAt) >= PENDING);
    if (isOver) page.entries.delete(nameOf(entry));
    return !isOver;
  });
}

/** What lies under the key of an entry, or has taken the place of what lay there. The session is ended if `told` is given. */
async function look(
  entry: Entry,
  list: string,
  op: Operation,
  told?: (ended: Entry) => void,
  hops: number = MOST_HOPS,
): Promise<Look> {
  const { key, token } = entry;
  for (;;) {
    const record = await op.store.load(key);
    if (record === null) {
      // A place that does not show a session yet must not show it later.
      if (told !== undefined && hidesWrites(op)) await endRecord(key, undefined, op);
      return "absent";
    }
    const metadata = readMetadata(record, key);
    if (typeof metadata === "string") {
      if (isTombstone(record)) return "ended";
      // A newer version may read it, and so may this one the next time. Whoever ends all sessions means it as well.
      if (told === undefined) return "unreadable";
      if (hidesWrites(op)) await endRecord(key, undefined, op);
      else if ((await op.store.delete(key, record.version)) === "conflict") {
        await op.backOff();
        continue;
      }
      told(entry);
      return "ended";
    }
    const { successor } = metadata;
    const facts = factsOf(metadata);
    let found: Look = "moved";
    if (successor !== undefined) {
      const next =
        hops > 0 && isKey(successor.key)
          ? await look({ ...entry, key: successor.key }, list, op, told, hops - 1)
          : "absent";
      if (next !== "absent") found = next;
    } else if (facts?.token !== token || !facts.lists.some((place) => place.list === list)) {
      return "absent";
    } else {
      const isOver = op.endsAt({ metadata, lastSeenAt: record.lastSeenAt }) + SWEEP_MARGIN <= op.now;
      found = isOver ? "ended" : { ...entry, record, metadata, facts };
    }
    if (told === undefined) return found;
    // A retired session ends as well, or a request that fails could put it back.
    // A client that presents the id learns that it was revoked, for as long as the session would have lived.
    const end = Math.max(op.now, op.endsAt({ metadata, lastSeenAt: record.lastSeenAt })) + SWEEP_MARGIN;
    // If its successor is in this list no more, a logout with the old id must still end the successor.
    const isLeadingOn = found === "moved" && successor !== undefined;
    if (isLeadingOn && successor.isFinal === true) return found;
    const fields = isLeadingOn ? retiredForGood(metadata, successor, key) : NO_FIELDS;
    const write = writeOf({ fields, lastSeenAt: op.now }, record.fields, record.version, end);
    if ((await op.store.save(key, write)) !== "conflict") {
      if (typeof found !== "string") told(entry);
      return isLeadingOn ? found : "ended";
    }
    await op.backOff();
  }
}

/** Whether a place may show what another one has ended. */
function hidesWrites({ store: { traits } }: Operation): boolean {
  return traits.consistency === "eventual" && !traits.compareAndSet;
}

/** What is stored of a retired session that must not be put back. */
function retiredForGood(metadata: Metadata, successor: Successor, key: string): ReadonlyMap<string, string> {
  return new Map([[METADATA_FIELD, metadataText({ ...metadata, successor: { ...successor, isFinal: true } }, key)]]);
}

/** Whether a session counts: its time is not over, and the credentials are those of `version`. */
function isCurrent(
  { metadata, record: { lastSeenAt }, facts }: LiveSession,
  version: string | undefined,
  op: Operation,
): boolean {
  return op.endsAt({ metadata, lastSeenAt }) > op.now && (version ?? facts.version) === (facts.version ?? version);
}

/** The sessions that count, each once: during a rotation, two entries lead to one, or to two that have the same token. */
function currentOf(looks: readonly Inspected[], version: string | undefined, op: Operation): LiveSession[] {
  const live = looks.flatMap(([, look]) => (typeof look !== "string" && isCurrent(look, version, op) ? [look] : []));
  live.sort((a, b) => a.record.lastSeenAt - b.record.lastSeenAt);
  return [...new Map(live.map((each) => [each.token, each])).values()];
}
