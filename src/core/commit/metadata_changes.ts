import type { Metadata } from "../metadata.ts";
import type { Commit } from "../working_copy.ts";

/** Metadata with changes applied; the same object if there are no changes. */
export function applyChanges(metadata: Metadata, changes: readonly ((metadata: Metadata) => Metadata)[]): Metadata {
  return changes.reduce((changed, change) => change(changed), metadata);
}

/** Metadata with the changes of a commit; the same object if they change nothing. */
export function changedMetadata(metadata: Metadata, { timeouts, metadataChanges }: Commit): Metadata {
  const changed = applyChanges(metadata, metadataChanges);
  if (timeouts === undefined) return changed;
  const own = { ...changed.timeouts, ...timeouts };
  return JSON.stringify(own) === JSON.stringify({ ...changed.timeouts }) ? changed : { ...changed, timeouts: own };
}
