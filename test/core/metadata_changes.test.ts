import { expect, test } from "vitest";
import type { Metadata } from "../../src/core/metadata.ts";
import { changedMetadata, type MetadataChanges } from "../../src/core/metadata_changes.ts";

const BEFORE: Metadata = { createdAt: 1, absoluteSince: 2 };

/** A commit that changes only what is given. */
function commit(more: Partial<MetadataChanges>): MetadataChanges {
  return { metadataChanges: [], timeouts: undefined, ...more };
}

test("changedMetadata() applies each change to what the one before it has left", () => {
  const changes = [
    (metadata: Metadata): Metadata => ({ ...metadata, createdAt: metadata.createdAt + 10 }),
    (metadata: Metadata): Metadata => ({ ...metadata, createdAt: metadata.createdAt * 2 }),
  ];
  expect(changedMetadata(BEFORE, commit({ metadataChanges: changes }))).toEqual({ createdAt: 22, absoluteSince: 2 });
});

test("changedMetadata() gives the very same metadata when nothing new is said", () => {
  expect(changedMetadata(BEFORE, commit({}))).toBe(BEFORE);
  expect(changedMetadata(BEFORE, commit({ timeouts: {} }))).toBe(BEFORE);
  const own: Metadata = { ...BEFORE, timeouts: { idle: 60, absolute: false } };
  expect(changedMetadata(own, commit({ timeouts: { absolute: false } }))).toBe(own);
});

test("changedMetadata() puts timeouts among those that the session has, and keeps what a commit changes beside", () => {
  const own: Metadata = { ...BEFORE, timeouts: { idle: 60, absolute: false } };
  const changed = changedMetadata(
    own,
    commit({ timeouts: { idle: 30 }, metadataChanges: [(metadata) => ({ ...metadata, authenticatedAt: 5 })] }),
  );
  expect(changed).toEqual({ ...BEFORE, authenticatedAt: 5, timeouts: { idle: 30, absolute: false } });
  expect(own.timeouts).toEqual({ idle: 60, absolute: false });
  expect(changedMetadata(BEFORE, commit({ timeouts: { cookie: null } })).timeouts).toEqual({ cookie: null });
});
