import { SessionError } from "../core/errors.ts";
import type { Contents, Operation } from "../core/repository.ts";
import type { ListPlace } from "./facts.ts";
import { type Entry, loadPage, entryName, type Page, savePage } from "./index_page.ts";
import {
  inspect,
  type Inspected,
  isCurrent,
  liveSessions,
  PENDING,
  type PresentVersion,
  survey,
} from "./inspection.ts";

/** How many sessions a user may have, and whether a further one is refused. */
export interface LimitRule {
  readonly limit: number;
  /** Whether the new session is refused. Otherwise the oldest session is ended. */
  readonly refuses: boolean;
  /** Sessions of other credentials are not counted. */
  readonly version: PresentVersion;
}

/** An entry of a list, and where it stands. */
export type EntryPlace = ListPlace & Pick<Entry, "key" | "token">;

/** In bytes. */
const PAGE_BYTES = 32_000;
/** The size of an entry, in bytes, rounded up. */
const ENTRY_BYTES = 160;
/**
 * The least number of pages that a list has after two logins at once. Listing the sessions of such a user costs one
 * more read for each page.
 */
const SCATTERED = 16;

/**
 * Lists a session, or finds that it is listed already. It is called before the session is stored, so no stored session
 * claims wrongly to be listed.
 *
 * @returns Its page, its place in the order of logins, and whether its entry was written for this attempt
 * @throws {SessionError} `ERR_SESSION_LIMIT`, `ERR_CONFLICT`, `ERR_STORE`, `ERR_STORE_TIMEOUT`
 */
export async function register(
  list: string,
  known: number | undefined,
  { key, token, order: given }: Pick<Entry, "key" | "token"> & { readonly order: number | undefined },
  contents: Contents,
  op: Operation,
  rule?: LimitRule,
): Promise<{ readonly page: number; readonly order: number; readonly isNew: boolean }> {
  const name = entryName({ key, token });
  let number = known;
  let hadConflict = false;
  let isNew = false;
  for (;;) {
    const first = await loadPage(list, 0, op);
    const pageAt = (number: number): Page | Promise<Page> => (number === 0 ? first : loadPage(list, number, op));
    // After a conflict with another login, many logins at once are likely. On more pages, fewer of them conflict.
    const least = hadConflict && rule === undefined ? SCATTERED : 1;
    let page = await pageAt(number ?? random(0, Math.max(least, first.pages)));
    // The newer half of the pages was added when the older half was full, so it has room.
    if (isFull(page, name, op)) page = await pageAt(random(first.pages >> 1, first.pages));
    if (isFull(page, name, op)) {
      await makeRoom(page, op);
      continue;
    }
    const entry = page.entries.get(name);
    const counts = entry === undefined && rule !== undefined;
    const inspected = counts && (rule.refuses || first.pages > 1) ? await survey(list, op) : [];
    if (counts && rule.refuses) assertRoom(inspected, token, rule, op);
    // Later than every session in the list, even if clocks differ.
    const others = [first, ...page.entries.values(), ...inspected.map(([other]) => other)];
    const order = entry?.order ?? given ?? others.reduce((latest, other) => Math.max(latest, other.order + 1), op.now);
    // If the session does not name this list yet, an earlier binding has left this entry, and it may be too old to be
    // kept until the session is stored.
    if (entry === undefined || known === undefined) {
      isNew = true;
      page.entries.set(name, { key, token, order, writtenAt: op.now });
    }
    // Only the first page has the number of pages.
    while (first.pages <= page.number) first.pages *= 2;
    // Each login that is counted changes the first page, so that two logins cannot both take the last place.
    if (counts) first.order = order;
    for (const each of [page, first]) keepFor(each, contents, op);
    const isOnPage = page === first || (await savePage(page, op));
    if (isOnPage && (await savePage(first, op))) return { page: page.number, order, isNew };
    if (isOnPage && page !== first) ({ number } = page);
    hadConflict = true;
    // The next attempt counts again. Until then, this entry must not count against another login.
    if (counts) await unregister({ list, page: page.number }, [key], token, op);
    await op.backOff();
  }
}

/**
 * Refuses one more session beside those of a list. A login that is under way counts, so if two logins at once want the
 * last place, one of them is refused.
 *
 * @throws {SessionError} `ERR_SESSION_LIMIT`
 */
export function assertRoom(
  inspected: readonly Inspected[],
  token: string,
  { limit, version }: LimitRule,
  op: Operation,
): void {
  const counted = inspected.filter(
    ([other, target]) =>
      other.token !== token && (typeof target === "string" ? target === "absent" : isCurrent(target, version, op)),
  );
  if (new Set(counted.map(([other]) => other.token)).size >= limit)
    throw new SessionError(
      "ERR_SESSION_LIMIT",
      `Cannot bind the session: its user has ${limit} already, which is the limit; revoke one first`,
    );
}

function random(from: number, to: number): number {
  return from + Math.floor(Math.random() * (to - from));
}

/**
 * Whether a page has no room for an entry. It must fit into every engine. The smallest limit for a value is Deno KV's,
 * 65 536 bytes.
 */
function isFull({ entries }: Page, name: string, op: Operation): boolean {
  return !entries.has(name) && (entries.size + 1) * ENTRY_BYTES > Math.min(PAGE_BYTES, op.store.traits.maxBytes / 2);
}

/** Keeps a page longer than the session, also by another server's clock. The end is set far ahead, so that few touches must write the page. */
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

/** Changes a page. If another request has changed it meanwhile, it is loaded and changed again. Returns the page that was stored. */
async function edit(
  { list, page: number = 0 }: ListPlace,
  op: Operation,
  change: (page: Page) => Promise<void>,
): Promise<Page> {
  for (; ; await op.backOff()) {
    const page = await loadPage(list, number, op);
    await change(page);
    if (await savePage(page, op)) return page;
  }
}

/**
 * Removes from a list the entries of a session: those with these keys, and those of its other ids if the session has
 * ended.
 */
export async function unregister(
  place: ListPlace,
  keys: readonly string[],
  token: string,
  op: Operation,
): Promise<void> {
  await edit(place, op, async (page) => {
    for (const key of keys) page.entries.delete(entryName({ key, token }));
    await inspect(page, op, (entry) => entry.token === token);
  });
}

/**
 * Removes the entry of an attempt that has not stored its session. If the session names the list nevertheless, the
 * entry stays: the store's client may have sent the write twice, and returned the answer to the second attempt.
 */
export async function withdraw(place: EntryPlace, op: Operation): Promise<void> {
  const name = entryName(place);
  await edit(place, op, async (page) => {
    const [found] = await inspect(page, op, (entry) => entryName(entry) === name);
    if (found?.[1] === "absent") page.entries.delete(name);
  });
}

/**
 * Ends sessions of a list. Sessions that take their place meanwhile are ended as well; a later login is not. Returns
 * how many have ended.
 */
export async function revoke(list: string, isMeant: (token: string) => boolean, op: Operation): Promise<number> {
  const ended = new Set<string>();
  for (let number = 0, pages = 1; number < pages; number++) {
    let meant: Set<string> | undefined;
    // The page that was stored had not changed meanwhile, so it has named every successor of its sessions.
    const page = await edit({ list, page: number }, op, async (page) => {
      const tokens = (meant ??= new Set([...page.entries.values()].map(({ token }) => token).filter(isMeant)));
      await inspect(
        page,
        op,
        ({ token }) => tokens.has(token),
        ({ token }) => ended.add(token),
      );
    });
    if (number === 0) ({ pages } = page);
  }
  return ended.size;
}

/** Ends the oldest sessions until the user is within the limit again. Returns how many have ended. */
export async function enforceLimit(list: string, { limit, version }: LimitRule, op: Operation): Promise<number> {
  const live = await liveSessions(list, version, op);
  // All requests use the same order. The new session itself is ended only if there are enough later ones.
  live.sort((a, b) => b.order - a.order || (a.token < b.token ? -1 : 1));
  const over = live.slice(limit).map(({ token }) => token);
  return over.length === 0 ? 0 : await revoke(list, (token) => over.includes(token), op);
}
