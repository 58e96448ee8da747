import { followedUntil } from "../expiry.ts";
import { type Metadata, readMetadata, successorOf } from "../metadata.ts";
import { noteEnded } from "./ended_sessions.ts";
import { NO_FIELDS } from "../record_fields.ts";
import { isTombstone, writeOf } from "./record_write.ts";
import type { Found, Operation } from "../repository.ts";
import type { SessionStore, StoredRecord } from "../store.ts";

/** The shortest time, in milliseconds, for which an eventually consistent store keeps the tombstone of an ended session. */
const TOMBSTONE_LIFE = 3_600_000;

/**
 * Ends the session under a key. If it was retired, its successor ends first: after a failure in between, the
 * retired record still names the successor.
 */
export async function endRecord(key: string, current: Found | undefined, op: Operation): Promise<void> {
  if (leavesTombstones(op.store)) {
    if (current === undefined) await endSuccessor(key, await op.store.load(key), op);
    const life = Math.max(TOMBSTONE_LIFE, 2000 * (op.store.traits.staleness ?? 0));
    const tombstone = { fields: NO_FIELDS, lastSeenAt: op.now };
    await op.store.save(key, writeOf(tombstone, NO_FIELDS, null, op.now + life));
    return;
  }
  let expected = current?.version;
  let metadata: Metadata | undefined;
  for (;;) {
    if (expected !== undefined) {
      if ((await op.store.delete(key, expected)) !== "conflict") {
        if (metadata !== undefined) noteEnded(key, metadata, op);
        return;
      }
      await op.backOff();
    }
    const record = await op.store.load(key);
    if (record === null) {
      // A replica may not show the record yet. A deletion goes to the primary.
      if (op.store.traits.consistency === "eventual") await op.store.delete(key);
      return;
    }
    // The client of a session that was revoked may come again, and learns why it has ended.
    if (isTombstone(record)) return;
    await endSuccessor(key, record, op);
    expected = record.version;
    const found = readMetadata(record, key);
    metadata = typeof found === "string" ? undefined : found;
  }
}

/**
 * Whether an ended session leaves a tombstone in a store. If a store is eventually consistent and has no
 * compare-and-set, another location may still read the session, or write it once more. A missing record would not show
 * that location that the session has ended.
 */
export function leavesTombstones({ traits }: SessionStore): boolean {
  return traits.consistency === "eventual" && !traits.compareAndSet;
}

async function endSuccessor(key: string, record: StoredRecord | null, op: Operation): Promise<void> {
  const successor = successorOf(record, key);
  if (successor !== undefined && op.now < followedUntil(successor)) await endRecord(successor.key, undefined, op);
}
