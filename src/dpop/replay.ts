import { SWEEP_MARGIN } from "../core/expiry.ts";
import { NO_FIELDS } from "../core/record_fields.ts";
import type { Operation } from "../core/repository.ts";
import { createWriteId } from "../core/session_id.ts";
import { writeOf } from "../core/store_repository/record_write.ts";
import { sha256 } from "../core/hash.ts";
import type { DpopProof } from "./proof.ts";

const FIELD = "proof";

/**
 * Notes in the store that a proof was used. That is one write. The engine removes the record when it has expired.
 *
 * @param until When no server accepts the proof any more, in epoch milliseconds
 * @returns False if the proof was used before
 * @throws {TypeError} If the store cannot compare and set, so that two requests could use one proof
 */
export async function useOnce({ thumbprint, jti }: DpopProof, until: number, op: Operation): Promise<boolean> {
  const { store, now } = op;
  if (!store.traits.compareAndSet) throw weakStore();
  // No id begins with a bracket, so this is never the key of a session.
  const key = await sha256(JSON.stringify(["with-session dpop", thumbprint, jti]));
  const use = createWriteId();
  const record = { fields: new Map([[FIELD, use]]), lastSeenAt: now };
  if ((await store.save(key, writeOf(record, NO_FIELDS, null, until + SWEEP_MARGIN))) !== "conflict") return true;
  // The store's client may have sent the write twice, and returned the answer to the second attempt.
  return (await store.load(key))?.fields.get(FIELD) === use;
}

/** The error for a store that cannot detect replays. */
export function weakStore(): TypeError {
  return new TypeError(
    "dpop() needs a store that can compare and set, to keep replayed proofs out, such as Redis, a database or a Durable Object",
  );
}
