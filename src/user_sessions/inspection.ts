/**
 * What the entries of a list lead to. The list is only a hint: a session counts if its record names the list.
 *
 * @module
 */
import { endRecord } from "../core/end_record.ts";
import { SWEEP_MARGIN } from "../core/expiry.ts";
import { type Metadata, METADATA_FIELD, metadataText, readMetadata, type Successor } from "../core/metadata.ts";
import { isTombstone, NO_FIELDS, writeOf } from "../core/record_write.ts";
import type { Operation } from "../core/repository.ts";
import { LONGEST_CHAIN } from "../core/retired_id.ts";
import type { StoredRecord } from "../core/store.ts";
import { type Facts, factsOf, isKey } from "./facts.ts";
import { type Entry, loadPage, nameOf, type Page, savePage } from "./index_page.ts";

/** A live session that names the entry through which it was found. */
export interface LiveSession extends Entry {
  readonly record: StoredRecord;
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
    // The session may be on its way. A retired one may be put back.
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
  for (;;) {
    const record = await op.store.load(key);
    if (record === null) {
      // A place that does not show a session yet must not show it later.
      if (onEnd !== undefined && hidesWrites(op)) await endRecord(key, undefined, op);
      return "absent";
    }
    const metadata = readMetadata(record, key);
    if (typeof metadata === "string") {
      if (isTombstone(record)) return "ended";
      // A newer version may read it, and so may this one the next time. A call that ends all sessions ends it as well.
      if (onEnd === undefined) return "unreadable";
      if (hidesWrites(op)) await endRecord(key, undefined, op);
      else if ((await op.store.delete(key, record.version)) === "conflict") {
        await op.backOff();
        continue;
      }
      onEnd(entry);
      return "ended";
    }
    const { successor } = metadata;
    const facts = factsOf(metadata);
    let found: Target = "moved";
    if (successor !== undefined) {
      const next =
        hops > 0 && isKey(successor.key)
          ? await follow({ ...entry, key: successor.key }, list, op, onEnd, hops - 1)
          : "absent";
      if (next !== "absent") found = next;
    } else if (facts?.token !== token || !facts.lists.some((place) => place.list === list)) {
      return "absent";
    } else {
      const isOver = op.endsAt({ metadata, lastSeenAt: record.lastSeenAt }) + SWEEP_MARGIN <= op.now;
      found = isOver ? "ended" : { ...entry, record, metadata, facts };
    }
    if (onEnd === undefined) return found;
    // A retired session ends as well, or a request that fails could put it back.
    // A client that presents the id learns that it was revoked, for as long as the session would have lived.
    const end = Math.max(op.now, op.endsAt({ metadata, lastSeenAt: record.lastSeenAt })) + SWEEP_MARGIN;
    // If its successor is in this list no more, a logout with the old id must still end the successor.
    const isLeadingOn = found === "moved" && successor !== undefined;
    if (isLeadingOn && successor.isFinal === true) return found;
    const fields = isLeadingOn ? retiredForGood(metadata, successor, key) : NO_FIELDS;
    const write = writeOf({ fields, lastSeenAt: op.now }, record.fields, record.version, end);
    if ((await op.store.save(key, write)) !== "conflict") {
      if (typeof found !== "string") onEnd(entry);
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
export function isCurrent(
  { metadata, record: { lastSeenAt }, facts }: LiveSession,
  version: string | undefined,
  op: Operation,
): boolean {
  return op.endsAt({ metadata, lastSeenAt }) > op.now && (version ?? facts.version) === (facts.version ?? version);
}

/** The sessions that count, each once: during a rotation, two entries lead to one, or to two that have the same token. */
export function currentOf(inspected: readonly Inspected[], version: string | undefined, op: Operation): LiveSession[] {
  const live = inspected.flatMap(([, target]) =>
    typeof target !== "string" && isCurrent(target, version, op) ? [target] : [],
  );
  live.sort((a, b) => a.record.lastSeenAt - b.record.lastSeenAt);
  return [...new Map(live.map((each) => [each.token, each])).values()];
}
