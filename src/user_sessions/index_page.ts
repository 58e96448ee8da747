import { SessionError } from "../core/errors.ts";
import { DATA, type Fields, METADATA_FIELD, NO_FIELDS } from "../core/record_fields.ts";
import { writeOf } from "../core/store_repository/record_write.ts";
import type { Operation } from "../core/repository.ts";
import type { RecordVersion } from "../core/store.ts";
import { sha256 } from "../core/hash.ts";
import { isKey } from "./facts.ts";

/** One session in a list. */
export interface Entry {
  /** The store key of the session. */
  readonly key: string;
  /** Names the session in handles. When its id changes, another entry has the same token. */
  readonly token: string;
  /**
   * The place in the order of logins: later than that of each session that was in the list before, even if clocks
   * differ.
   */
  readonly order: number;
  /** When the entry was written, in epoch milliseconds. */
  readonly writtenAt: number;
}

/** One record of a list, as a copy that may be changed and then stored. */
export interface Page {
  readonly list: string;
  readonly number: number;
  readonly key: string;
  /** The version in the store; null if there is none. */
  readonly version: RecordVersion | null;
  /** The fields as they were loaded. */
  readonly before: Fields;
  /** The entries, by {@linkcode entryName}. */
  readonly entries: Map<string, Entry>;
  /** How many pages there are. Only the first page has this. */
  pages: number;
  /** Until when the engine must keep the page, in epoch milliseconds. */
  until: number;
  /** The place of the last login that was counted. Only the first page has this. */
  order: number;
}

/** A damaged record must not ask for more pages than this. */
const MAX_PAGES = 4096;
/** The mark of a page of a newer format. If such a page were read as a damaged one, its sessions would be lost. */
const NEWER = /^list\d+$/;

/**
 * Loads a page. A missing or damaged one is an empty page.
 *
 * @throws {SessionError} `ERR_STORE` if a newer version of this library has written it
 */
export async function loadPage(list: string, number: number, op: Operation): Promise<Page> {
  const key = await sha256(`with-session page ${number} ${list}`);
  const record = await op.store.load(key);
  const before = record?.fields ?? NO_FIELDS;
  const [mark = "", pages, until, order] = (before.get(METADATA_FIELD) ?? "").split(" ");
  if (NEWER.test(mark))
    throw new SessionError(
      "ERR_STORE",
      "Cannot read a list of sessions: a newer version of with-session has written it; update this program",
    );
  const entries = new Map<string, Entry>();
  for (const [name, text] of before) {
    const [key, token = "", order, writtenAt] = `${name.slice(1)} ${text}`.split(" ");
    if (!isKey(key) || entryName({ key, token }) !== name) continue;
    entries.set(name, { key, token, order: numberOf(order), writtenAt: numberOf(writtenAt) });
  }
  return {
    list,
    number,
    key,
    version: record?.version ?? null,
    before,
    entries,
    pages: Math.min(Math.max(1, numberOf(pages)), MAX_PAGES),
    until: numberOf(until),
    order: numberOf(order),
  };
}

/** Names an entry on its page. With the sign of data, a page has the same text format as a session. */
export function entryName({ key, token }: Pick<Entry, "key" | "token">): string {
  return `${DATA}${key} ${token}`;
}

/** Stores a page if it is still as it was loaded. An empty list is deleted. */
export async function savePage(
  { key, version, before, entries, pages, until, order }: Page,
  { store, now }: Operation,
): Promise<boolean> {
  if (entries.size === 0 && pages === 1) return version === null || (await store.delete(key, version)) !== "conflict";
  const fields = new Map([[METADATA_FIELD, `list ${pages} ${until} ${order}`]]);
  for (const [name, { order, writtenAt }] of entries) fields.set(name, `${order} ${writtenAt}`);
  const write = writeOf({ fields, lastSeenAt: now }, before, version, Math.max(until, now));
  return write.changed.size === 0 || (await store.save(key, write)) !== "conflict";
}

function numberOf(text: string | undefined): number {
  const number = Math.floor(Number(text));
  return Number.isFinite(number) ? number : 0;
}
