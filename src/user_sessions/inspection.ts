/**
 * What the entries of a list lead to. The list is only a hint: a session counts if its record names the list.
 *
 * @module
 */
import { endRecord, leavesTombstones } from "../core/end_record.ts";
import { SWEEP_MARGIN } from "../core/expiry.ts";
import { type Metadata, readMetadata, withMetadata } from "../core/metadata.ts";
import { NO_FIELDS } from "../core/record_fields.ts";
import { isTombstone, writeOf } from "../core/record_write.ts";
import type { Operation } from "../core/repository.ts";
import { LONGEST_CHAIN } from "../core/retired_id.ts";
import { type Facts, factsOf, isKey } from "./facts.ts";
import { type Entry, loadPage, nameOf, type Page, savePage } from "./index_page.ts";

/** A live session that names the entry through which it was found. */
export interface LiveSession extends Entry {
  readonly lastSeenAt: number;
  readonly metadata: Metadata;
  readonly facts: Facts;
}

/** What an entry leads to: a session; nothing, or a session that names another entry; one whose id was regenerated; one that has ended; what cannot be read. */
type Target = LiveSession | "absent" | "moved" | "ended" | "unreadable";

/**
 * How long, in milliseconds, an entry waits for its session, because it is written first. No request takes half as long, and the clocks of
 * two servers may be ten minutes apart if each is wrong by five.
 */
export const PENDING: number = 2 * SWEEP_MARGIN;

/** An entry, and what it leads to. */
export type Inspected = readonly [entry: Entry, target: Target];

/** Looks at all sessions of a list, and removes the entries of those that have ended. */
export async function survey(list: string, op: Operation): Promise<Inspected[]> {
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

/** Looks at entries of a page, and ends their sessions if `onEnd` is given. Entries of ended sessions are removed from the page; the others are returned. */
export async function inspect(
  page: Page,
  op: Operation,
  isMeant: (entry: Entry) => boolean = () => true,
  onEnd?: (ended: Entry) => void,
): Promise<Inspected[]> {
  const meant = [...page.entries.values()].filter(isMeant);
  const inspected = await Promise.all(
    meant.map(async (entry): Promise<Inspected> => [entry, await follow(entry, page.list, op, onEnd)]),
  );
  return inspected.filter(([entry, found]) => {
    // An absent session may be on its way.
    const isOver = found === "ended" || (found === "absent" && Math.abs(op.now - entry.writtenAt) >= PENDING);
    if (isOver) page.entries.delete(nameOf(entry));
    return !isOver;
  });
}

/** What lies under the key of an entry, or has taken the place of what lay there. The session is ended if `onEnd` is given, which is then called with the entry. */
async function follow(
  entry: Entry,
  list: string,
  op: Operation,
  onEnd?: (ended: Entry) => void,
  hops: number = LONGEST_CHAIN,
): Promise<Target> {
  const { key, token } = entry;
  for (; ; await op.backOff()) {
    const record = await op.store.load(key);
    if (record === null) {
      // A place that does not show a session yet must not show it later.
      if (onEnd !== undefined && leavesTombstones(op.store)) await endRecord(key, undefined, op);
      return "absent";
    }
    const metadata = readMetadata(record, key);
    if (typeof metadata === "string") {
      if (isTombstone(record)) return "ended";
      // A newer version may read it, and so may this one the next time. A call that ends all sessions ends it as well.
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
      // With a grace, nobody puts it back. It leads a call that ends all sessions, and began before, to a successor that the call has not seen.
      const isLeft = successor.grace !== undefined && Math.abs(op.now - successor.retiredAt) >= PENDING;
      if (isLeft && onEnd === undefined) return "ended";
      const next =
        hops > 0 && isKey(successor.key)
          ? await follow({ ...entry, key: successor.key }, list, op, onEnd, hops - 1)
          : "absent";
      // A request that fails may put a retired session back. It needs its entry then, whatever has become of its successor.
      const isOver = next === "absent" || (next === "ended" && onEnd === undefined && successor.isFinal !== true);
      if (!isOver) found = next;
    } else if (facts?.token !== token || !facts.lists.some((place) => place.list === list)) {
      return "absent";
    } else {
      // A request that came in time may still store it, without another look at the list.
      found = end + PENDING <= op.now ? "ended" : { ...entry, lastSeenAt, metadata, facts };
    }
    // If its successor is in this list no more, a logout with the old id must still end the successor.
    const isLeadingOn = found === "moved" && successor !== undefined;
    if (onEnd === undefined || (isLeadingOn && successor.isFinal === true)) return found;
    // A retired session ends as well, or a request that fails could put it back.
    const fields = isLeadingOn
      ? withMetadata(NO_FIELDS, { ...metadata, successor: { ...successor, isFinal: true } }, key)
      : NO_FIELDS;
    // A client that presents the id learns that it was revoked, for as long as the session would have lived.
    const expiresAt = Math.max(op.now, end) + SWEEP_MARGIN;
    const write = writeOf({ fields, lastSeenAt: op.now }, record.fields, record.version, expiresAt);
    if ((await op.store.save(key, write)) === "conflict") continue;
    if (typeof found !== "string") onEnd(entry);
    return isLeadingOn ? found : "ended";
  }
}

/** Whether a session counts: its time is not over, and the credentials are those of `version`. */
export function isCurrent(session: LiveSession, version: string | undefined, op: Operation): boolean {
  const { facts } = session;
  return op.endsAt(session) > op.now && (version ?? facts.version) === (facts.version ?? version);
}

/**
 * The sessions of a list that count, last seen first. Each is there once: during a rotation, two entries lead to one, or to two that have the
 * same token.
 */
export async function liveSessions(list: string, version: string | undefined, op: Operation): Promise<LiveSession[]> {
  const live = (await survey(list, op)).flatMap(([, target]) =>
    typeof target !== "string" && isCurrent(target, version, op) ? target : [],
  );
  live.sort((a, b) => b.lastSeenAt - a.lastSeenAt || b.order - a.order);
  const tokens = new Set<string>();
  return live.filter(({ token }) => !tokens.has(token) && tokens.add(token));
}
