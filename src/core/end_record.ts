import { successorOf } from "./metadata.ts";
import { NO_FIELDS } from "./record_fields.ts";
import { writeOf } from "./record_write.ts";
import type { Found, Operation } from "./repository.ts";
import type { SessionStore, StoredRecord } from "./store.ts";

/** How long, in milliseconds, an ended session is noted in a store whose reads may be late. */
const TOMBSTONE_LIFE = 3_600_000;

/** Ends what lies under a key, and first what took its place: after a failure in between, the retired record still leads there. */
export async function endRecord(key: string, current: Found | undefined, op: Operation): Promise<void> {
  if (leavesTombstones(op.store)) {
    if (current === undefined) await endSuccessor(key, await op.store.load(key), op);
    return await saveTombstone(key, op);
  }
  let expected = current?.version;
  for (;;) {
    if (expected !== undefined && (await op.store.delete(key, expected)) !== "conflict") return;
    if (expected !== undefined) await op.backOff();
    const record = await op.store.load(key);
    if (record === null) return;
    await endSuccessor(key, record, op);
    expected = record.version;
  }
}

/**
 * Whether an ended session leaves a tombstone in a store. Where reads may be late and nothing is compared, another place may still show the session,
 * or write it once more, and a missing record would not show it that the session has ended.
 */
export function leavesTombstones({ traits }: SessionStore): boolean {
  return traits.consistency === "eventual" && !traits.compareAndSet;
}

async function endSuccessor(key: string, record: StoredRecord | null, op: Operation): Promise<void> {
  const successor = successorOf(record, key);
  if (successor !== undefined) await endRecord(successor.key, undefined, op);
}

async function saveTombstone(key: string, op: Operation): Promise<void> {
  await op.store.save(
    key,
    writeOf(
      { fields: NO_FIELDS, lastSeenAt: op.now },
      NO_FIELDS,
      null,
      op.now + Math.max(TOMBSTONE_LIFE, 2000 * (op.store.traits.staleness ?? 0)),
    ),
  );
}
