/**
 * Finds the sessions of a list's entries. The list is only a hint: a session counts if its record names the list.
 *
 * @module
 */
import { endRecord, leavesTombstones } from "../core/store_repository/end_record.ts";
import { SWEEP_MARGIN } from "../core/expiry.ts";
import { type Metadata, readMetadata, withMetadata } from "../core/metadata.ts";
import { NO_FIELDS } from "../core/record_fields.ts";
import { isTombstone, writeOf } from "../core/store_repository/record_write.ts";
import type { Operation } from "../core/repository.ts";
import { MAX_HOPS } from "../core/store_repository/retired_id.ts";
import { type Facts, factsOf, isKey } from "./facts.ts";
import { type Entry, loadPage, entryName, type Page, savePage } from "./index_page.ts";

/** A live session that names the entry through which it was found. */
interface LiveSession extends Entry {
  readonly lastSeenAt: number;
  readonly metadata: Metadata;
  readonly facts: Facts;
}

/**
 * The result of looking up an entry:
 *
 * - a live session,
 * - `"absent"`: no record, or a session that does not name the entry,
 * - `"moved"`: the session's id was regenerated,
 * - `"ended"`: the session has ended,
 * - `"unreadable"`: the record cannot be read.
 */
type Target = LiveSession | "absent" | "moved" | "ended" | "unreadable";

/**
 * How long, in milliseconds, an entry is kept without its session, because the entry is written first. No request takes
 * half as long, and the clocks of two servers may be ten minutes apart if each is wrong by five.
 */
export const PENDING: number = 2 * SWEEP_MARGIN;

/** An entry, and the result of looking it up. */
export type Inspected = readonly [entry: Entry, target: Target];

/** Looks up all sessions of a list, and removes the entries of those that have ended. */
export async function survey(list: string, op: Operation): Promise<Inspected[]> {
  const inspected: Inspected[] = [];
  for (let number = 0, pages = 1; number < pages; number++) {
    const page = await loadPage(list, number, op);
    if (number === 0) ({ pages } = page);
    inspected.push(...(await inspect(page, op)));
    // Saving only tidies the page. If it fails, the next survey does it again.
    await savePage(page, op).catch(() => {});
  }
  return inspected;
}

/**
 * Looks up entries of a page, and ends their sessions if `onEnd` is given. Entries of ended sessions are removed from
 * the page; the others are returned.
 */
export async function inspect(
  page: Page,
  op: Operation,
  isMeant: (entry: Entry) => boolean = () => true,
  onEnd?: (ended: Entry) => void,
): Promise<Inspected[]> {
  const meant = [...page.entries.values()].filter(isMeant);
  const tasks = meant.map(async (entry): Promise<Inspected> => [entry, await follow(entry, page.list, op, onEnd)]);
  // A call that has failed must not end a session afterwards, such as one that has got a new login meanwhile.
  await Promise.allSettled(tasks);
  const inspected = await Promise.all(tasks);
  return inspected.filter(([entry, found]) => {
    // The request that wrote the entry may not have stored the session yet.
    const isOver = found === "ended" || (found === "absent" && Math.abs(op.now - entry.writtenAt) >= PENDING);
    if (isOver) page.entries.delete(entryName(entry));
    return !isOver;
  });
}

/**
 * Looks up the session under the key of an entry, or its successor. If `onEnd` is given, the session is ended, and
 * `onEnd` is called with the entry.
 */
async function follow(
  entry: Entry,
  list: string,
  op: Operation,
  onEnd?: (ended: Entry) => void,
  hops: number = MAX_HOPS,
): Promise<Target> {
  const { key, token } = entry;
  for (; ; await op.backOff()) {
    const record = await op.store.load(key);
    if (record === null) {
      // An eventually consistent store that does not show the session yet must not show it later.
      if (onEnd !== undefined && leavesTombstones(op.store)) await endRecord(key, undefined, op);
      return "absent";
    }
    const metadata = readMetadata(record, key);
    if (typeof metadata === "string") {
      if (isTombstone(record)) return "ended";
      // A newer version of this library may be able to read the record, and so may this version at the next attempt. A
      // call that ends sessions ends it as well.
      if (onEnd === undefined) return "unreadable";
      await endRecord(key, undefined, op);
      onEnd(entry);
      return "ended";
    }
    const { lastSeenAt } = record;
    const { successor } = metadata;
    const facts = factsOf(metadata);
    const end = op.endsAt({ metadata, lastSeenAt });
    let found: Target = "moved";
    if (successor !== undefined) {
      // A session that was retired with a grace is not reinstated. Its entry is kept for calls that end sessions: a
      // call that began before the rotation has not seen the successor, and finds it through this entry.
      const isLeft = successor.grace !== undefined && Math.abs(op.now - successor.retiredAt) >= PENDING;
      if (isLeft && onEnd === undefined) return "ended";
      const next =
        hops > 0 && isKey(successor.key)
          ? await follow({ ...entry, key: successor.key }, list, op, onEnd, hops - 1)
          : "absent";
      // A request that fails may reinstate a retired session. The session then needs its entry, even if its successor
      // has ended.
      const isOver = next === "absent" || (next === "ended" && onEnd === undefined && successor.isFinal !== true);
      if (!isOver) found = next;
    } else if (facts?.token !== token || !facts.lists.some((place) => place.list === list)) {
      return "absent";
    } else {
      // A request that came before the session expired may still store it, without checking the list again.
      found = end + PENDING <= op.now ? "ended" : { ...entry, lastSeenAt, metadata, facts };
    }
    // The record keeps its pointer to the successor: a logout with the old id must still end a successor that is no
    // longer in this list.
    const isLeadingOn = found === "moved" && successor !== undefined;
    if (onEnd === undefined || (isLeadingOn && successor.isFinal === true)) return found;
    // A retired session is ended as well. Otherwise a request that fails could reinstate it.
    const fields = isLeadingOn
      ? withMetadata(NO_FIELDS, { ...metadata, successor: { ...successor, isFinal: true } }, key)
      : NO_FIELDS;
    // For as long as the session would have lived, a client that presents the id learns that it was revoked.
    const expiresAt = Math.max(op.now, end) + SWEEP_MARGIN;
    const write = writeOf({ fields, lastSeenAt: op.now }, record.fields, record.version, expiresAt);
    if ((await op.store.save(key, write)) === "conflict") continue;
    if (typeof found !== "string") onEnd(entry);
    return isLeadingOn ? found : "ended";
  }
}

/** The present version of a user's credentials; null if the user has none, undefined if versions are not compared. */
export type PresentVersion = string | null | undefined;

/** Whether a session counts: it has not expired, and its credentials are those of `version` if it was bound with one. */
export function isCurrent(session: LiveSession, version: PresentVersion, op: Operation): boolean {
  const bound = session.facts.version;
  return op.endsAt(session) > op.now && (version === undefined || bound === undefined || version === bound);
}

/**
 * The sessions of a list that count, last seen first. Each session is returned once, although during a rotation two
 * entries stand for one session, or for two with the same token.
 */
export async function liveSessions(list: string, version: PresentVersion, op: Operation): Promise<LiveSession[]> {
  const live = (await survey(list, op)).flatMap(([, target]) =>
    typeof target !== "string" && isCurrent(target, version, op) ? target : [],
  );
  live.sort((a, b) => b.lastSeenAt - a.lastSeenAt || b.order - a.order);
  const tokens = new Set<string>();
  return live.filter(({ token }) => !tokens.has(token) && tokens.add(token));
}
