import { getStore } from "@netlify/blobs";
import { expect, test } from "vitest";
import { CACHED_URL, FakeBlobs, type FakeBlobsOptions, UNCACHED_URL } from "./netlify_blobs.ts";

function setUp(options?: FakeBlobsOptions): { blobs: FakeBlobs; store: ReturnType<typeof getStore> } {
  const blobs = new FakeBlobs(options);
  const { fetch } = blobs;
  const store = getStore({
    name: "s",
    siteID: "site",
    token: "t",
    edgeURL: CACHED_URL,
    uncachedEdgeURL: UNCACHED_URL,
    fetch,
  });
  return { blobs, store };
}

test("FakeBlobs gives the real client what it has stored, with etag and metadata", async () => {
  const { store } = setUp();
  const { etag } = await store.set("a", "é\0", { metadata: { n: 1 } });
  expect(etag).toMatch(/^"[0-9a-f]{64}"$/);
  expect(await store.getWithMetadata("a", { type: "text", consistency: "strong" })).toEqual({
    data: "é\0",
    etag,
    metadata: { n: 1 },
  });
  expect(await store.getMetadata("a", { consistency: "strong" })).toEqual({ etag, metadata: { n: 1 } });
  expect(await store.getWithMetadata("b", { type: "text", consistency: "strong" })).toBeNull();
  await store.delete("a");
  await store.delete("a");
  expect(await store.getMetadata("a", { consistency: "strong" })).toBeNull();
});

test("FakeBlobs lets one of many at once win, when the blob is to be new and when it is to match", async () => {
  const { store } = setUp();
  const creations = await Promise.all([1, 2, 3, 4].map((n) => store.set("a", String(n), { onlyIfNew: true })));
  expect(creations.filter(({ modified }) => modified)).toHaveLength(1);
  const onlyIfMatch = creations.find(({ modified }) => modified)?.etag ?? "";
  const changes = await Promise.all([5, 6, 7, 8].map((n) => store.set("a", String(n), { onlyIfMatch })));
  expect(changes.filter(({ modified }) => modified)).toHaveLength(1);
});

test("FakeBlobs refuses to match a missing blob, by the status that it was told", async () => {
  const documented = await setUp({ missingStatus: 412 }).store.set("a", "1", { onlyIfMatch: '"x"' });
  expect(documented).toEqual({ modified: false });
  // Because of this answer only an etag proves a write: the client reports any status but 412 as a success.
  const like = setUp({ missingStatus: 404 });
  expect(await like.store.set("a", "1", { onlyIfMatch: '"x"' })).toEqual({ modified: true, etag: "" });
  expect(like.blobs.blobs.size).toBe(0);
});

test("FakeBlobs gives equal data equal etags, as Netlify Blobs does", async () => {
  const { store } = setUp();
  const [one, two] = [await store.set("a", "1"), await store.set("a", "1", { metadata: { n: 2 } })];
  expect(two.etag).toBe(one.etag);
});

test("FakeBlobs answers from its cache where eventual consistency is enough, and afresh where it is not", async () => {
  const { store } = setUp();
  expect(await store.get("a")).toBeNull();
  await store.set("a", "1");
  expect(await store.get("a")).toBeNull();
  expect(await store.get("a", { consistency: "strong" })).toBe("1");
});

test("FakeBlobs lists its blobs page by page", async () => {
  const { blobs, store } = setUp();
  for (const key of ["a", "b", "c", "d", "e", "f", "g"]) await store.set(key, key);
  blobs.requests.length = 0;
  expect((await store.list()).blobs.map(({ key }) => key)).toEqual(["a", "b", "c", "d", "e", "f", "g"]);
  expect(blobs.requests).toHaveLength(3);
});
