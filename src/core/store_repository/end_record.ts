import { followedUntil } from "../expiry.ts";
import { type Metadata, metadataOf } from "../metadata.ts";
import { noteEnded } from "./ended_sessions.ts";
import { NO_FIELDS } from "../record_fields.ts";
import { isTombstone, writeOf } from "./record_write.ts";
import type { Found, Operation } from "../repository.ts";
import type { SessionStore, StoredRecord } from "../store.ts";

/** The shortest time, in milliseconds, for which an eventually consistent store keeps the tombstone of an ended session. */
const TOMBSTONE_LIFE = 3_600_000;

/**
 * Ends the session under a key. If it was retired, its successor ends first: after a failure in between, the
 * retired record still names the successor. Whatever has ended is noted for `takeEnded`, as it was found and, if it has
 * changed meanwhile, as it has ended.
 */
export async function endRecord(key: string, current: Found | undefined, op: Operation): Promise<void> {
  const { store } = op;
  let newest: Metadata | undefined;
  if (leavesTombstones(store)) {
    if (current === undefined) newest = await endSuccessor(key, await store.load(key), op);
    const life = Math.max(TOMBSTONE_LIFE, 2000 * (store.traits.staleness ?? 0));
    const tombstone = { fields: NO_FIELDS, lastSeenAt: op.now };
    await store.save(key, writeOf(tombstone, NO_FIELDS, null, op.now + life));
  } else {
    let expected = current?.version;
    while (expected === undefined || (await store.delete(key, expected)) === "conflict") {
      if (expected !== undefined) await op.backOff();
      const record = await store.load(key);
      if (record === null) {
        // A replica may not show the record yet. A deletion goes to the primary.
        if (store.traits.consistency === "eventual") await store.delete(key);
        break;
      }
      // The client of a session that was revoked may come again, and learns why it has ended.
      if (isTombstone(record)) break;
      newest = await endSuccessor(key, record, op);
      expected = record.version;
    }
  }
  for (const metadata of [current?.metadata, newest]) if (metadata !== undefined) noteEnded(key, metadata, op);
}

/**
 * Whether an ended session leaves a tombstone in a store. If a store is eventually consistent and has no
 * compare-and-set, another location may still read the session, or write it once more. A missing record would not show
 * that location that the session has ended.
 */
export function leavesTombstones({ traits }: SessionStore): boolean {
  return traits.consistency === "eventual" && !traits.compareAndSet;
}

/** Ends the successor that a record names. Returns the metadata of the record; undefined if it cannot be read. */
async function endSuccessor(key: string, record: StoredRecord | null, op: Operation): Promise<Metadata | undefined> {
  const metadata = metadataOf(record, key);
  const successor = metadata?.successor;
  if (successor !== undefined && op.now < followedUntil(successor)) await endRecord(successor.key, undefined, op);
  return metadata;
}
