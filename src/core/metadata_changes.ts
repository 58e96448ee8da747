import type { Metadata, OwnTimeouts } from "./metadata.ts";

type MetadataChange = (metadata: Metadata) => Metadata;

/** The changes of metadata in a commit. */
export interface MetadataChanges {
  readonly metadataChanges: readonly MetadataChange[];
  readonly timeouts: OwnTimeouts | undefined;
}

/** Metadata with the changes of a commit; the same object if they change nothing. */
export function changedMetadata(metadata: Metadata, { timeouts, metadataChanges }: MetadataChanges): Metadata {
  const changed = metadataChanges.reduce(apply, metadata);
  if (timeouts === undefined) return changed;
  const own = { ...changed.timeouts, ...timeouts };
  return JSON.stringify(own) === JSON.stringify({ ...changed.timeouts }) ? changed : { ...changed, timeouts: own };
}

// Most commits change no metadata. A function within `changedMetadata` would be made for each of them.
function apply(metadata: Metadata, change: MetadataChange): Metadata {
  return change(metadata);
}
