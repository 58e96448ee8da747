import { CLOCK_SKEW } from "../expiry.ts";
import type { Metadata } from "../metadata.ts";
import type { Operation } from "../repository.ts";

/** How long, in milliseconds, a write may be on its way, or be sent again by the client of a store. */
const RECENT = 10_000;
/** The length of a name of `createWriteId`. */
const NAME = 16;
/**
 * The most names that are kept. If a session is written more often within `RECENT`, requests are written in groups,
 * with one name for each group.
 */
const MAX_NAMES = 32;
/** How many names are kept if the last write looks older than `RECENT`, but can be recent because of clock skew. */
const DOUBTFUL_NAMES = 8;

/**
 * Adds the name of a write to metadata. A request recognises its own write by the names of recent writes, because the
 * store's answer does not always tell: the client of a store may send a write twice and return the answer to the second
 * one, and the answer to a write that was done may be lost.
 */
export function withWrite(
  metadata: Metadata,
  { writeId, now, store }: Pick<Operation, "writeId" | "now" | "store">,
): Metadata {
  const { writes = "", writtenAt = 0 } = metadata;
  if (writes.startsWith(writeId)) return metadata;
  const age = Math.abs(now - writtenAt);
  const kept =
    store.traits.exact === true ? 1 : age < RECENT ? MAX_NAMES : age < RECENT + CLOCK_SKEW ? DOUBTFUL_NAMES : 1;
  return { ...metadata, writes: writeId + writes.slice(0, (kept - 1) * NAME), writtenAt: now };
}

/** Whether a state includes the write of this name, perhaps with later writes. */
export function includesWrite({ writes = "" }: Metadata, writeId: string): boolean {
  for (let at = 0; at < writes.length; at += NAME) if (writes.startsWith(writeId, at)) return true;
  return false;
}

/** The name of the last write; undefined if none is known. */
export function lastWrite({ writes = "" }: Metadata): string | undefined {
  return writes === "" ? undefined : writes.slice(0, NAME);
}
