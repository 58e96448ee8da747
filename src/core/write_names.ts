import { CLOCK_SKEW } from "./expiry.ts";
import type { Metadata } from "./metadata.ts";
import type { Operation } from "./repository.ts";

/** How long, in milliseconds, a write may be on its way, or be sent again by the client of a store. */
const RECENT = 10_000;
/** The length of a name of `createWriteId`. */
const NAME = 16;
/** A session that is written more often than this within that time is written by a group of requests together. */
const MOST_NAMES = 32;
/** How many names stay if the last write looks older than recent, but can be as new. */
const DOUBTFUL_NAMES = 8;

/**
 * Metadata with the name of a write in it. A client of a store may send a write twice and get the answer to the second one, and a
 * write may be done although its answer was lost: by the names of recent writes a request recognises its own.
 */
export function withWrite(
  metadata: Metadata,
  { writeId, now, store }: Pick<Operation, "writeId" | "now" | "store">,
): Metadata {
  const { writes = "", writtenAt = 0 } = metadata;
  if (writes.startsWith(writeId)) return metadata;
  const age = Math.abs(now - writtenAt);
  const kept =
    store.traits.exact === true ? 1 : age < RECENT ? MOST_NAMES : age < RECENT + CLOCK_SKEW ? DOUBTFUL_NAMES : 1;
  return { ...metadata, writes: writeId + writes.slice(0, (kept - 1) * NAME), writtenAt: now };
}

/** Whether the write of this name has led to a state, perhaps with others after it. */
export function includesWrite({ writes = "" }: Metadata, writeId: string): boolean {
  for (let at = 0; at < writes.length; at += NAME) if (writes.startsWith(writeId, at)) return true;
  return false;
}

/** The name of the last write; undefined if none is known. */
export function lastWrite({ writes = "" }: Metadata): string | undefined {
  return writes === "" ? undefined : writes.slice(0, NAME);
}
