import type { Metadata, OwnTimeouts } from "./metadata.ts";

/** The changes of metadata in a commit. */
export interface MetadataChanges {
  readonly metadataChanges: readonly ((metadata: Metadata) => Metadata)[];
  readonly timeouts: OwnTimeouts | undefined;
}

/** Metadata with the changes of a commit; the same object if they change nothing. */
export function changedMetadata(metadata: Metadata, { timeouts, metadataChanges }: MetadataChanges): Metadata {
  const changed = metadataChanges.reduce((newest, change) => change(newest), metadata);
  if (timeouts === undefined) return changed;
  const own = { ...changed.timeouts, ...timeouts };
  return JSON.stringify(own) === JSON.stringify({ ...changed.timeouts }) ? changed : { ...changed, timeouts: own };
}
