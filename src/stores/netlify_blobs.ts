/**
 * Sessions in Netlify Blobs.
 *
 * @module
 */
import { SessionError, StoreBusyError } from "../core/errors.ts";
import { parseRecord, serializeRecord } from "../core/record_text.ts";
import type { SessionStore } from "../core/store.ts";

/** A store of Netlify Blobs: the result of `getStore()` or `getDeployStore()` of `@netlify/blobs`. */
export interface NetlifyBlobs {
  /** Reads a blob; null if there is none. */
  getWithMetadata(key: string, options: { type: "text"; consistency: "strong" }): Promise<NetlifyBlob | null>;
  /** Reads all of a blob but its data. */
  getMetadata(key: string, options: { consistency: "strong" }): Promise<Omit<NetlifyBlob, "data"> | null>;
  /** Writes a blob under a condition. */
  set(
    key: string,
    data: string,
    options: { metadata: Record<string, unknown> } & ({ onlyIfNew: boolean } | { onlyIfMatch: string }),
  ): Promise<{ modified: boolean; etag?: string }>;
  /** Removes a blob. */
  delete(key: string): Promise<unknown>;
  /** Lists the keys of all blobs, page by page. */
  list(options: { paginate: true }): AsyncIterable<{ blobs: { key: string }[] }>;
}

/** A blob as the client returns it. */
export interface NetlifyBlob {
  /** The text. */
  data: string;
  /** Names the state of the blob. */
  etag?: string | undefined;
  /** The metadata that were stored beside the text. */
  metadata: Record<string, unknown>;
}

/** The blob with an etag that can be compared. */
interface StoredBlob extends NetlifyBlob {
  etag: string;
}

/**
 * The length of the beginning of the data: a random name, so that equal records have different etags, and a line break.
 */
const NAME_LENGTH = 37;
/**
 * In milliseconds: how long a blob counts as being deleted by a sweep. After that time, another sweep continues one
 * that crashed.
 */
const SWEEP_LIFE = 60_000;
/** In milliseconds: how far apart the clocks of two servers may be. */
const CLOCK_SKEW = 600_000;

/**
 * Keeps sessions in Netlify Blobs.
 *
 * ## Setup
 * The package `@netlify/blobs` 9 or newer. Functions and edge functions need no settings: `getStore("sessions")`. Elsewhere, `getStore` needs
 * `siteID`, `token`, and a reachable `uncachedEdgeURL` or the API, because sessions are always read with strong consistency. Use a store
 * for sessions alone.
 *
 * ## How expiry behaves
 * Netlify Blobs expires nothing. Call `prune()` of the manager now and then, for example from a scheduled function once a day. It asks for
 * the metadata of each blob, one after the other, so a large store takes a while.
 *
 * ## Key format
 * 64 hexadecimal digits, without a prefix. The data begin with a random name, so that each write has a new etag. Then comes the record as
 * text. A deleted session may leave a blob without a record until the next `prune()`.
 *
 * ## Consistency
 * Strong, with compare-and-set, by etags: a write is `onlyIfNew` or `onlyIfMatch`. A load and a write are one request each. A write that
 * is refused, and a `delete` that expects a version, need two.
 *
 * ## Limits
 * A blob may have 5 GB (https://docs.netlify.com/build/data-and-storage/netlify-blobs/#limitations), so the store sets
 * no limit. If a request is refused because there were too many, the client waits for seconds before it repeats the
 * request. That is longer than the default `storeTimeout`.
 *
 * @param store The result of `getStore()`
 * @returns The store. It throws a `StoreBusyError` if a sweep is just deleting the blob. An answer that it does not
 *   understand is an `ERR_STORE`: the client reports many failures of a conditional write as a success without an etag
 * @throws {TypeError} If the store is not one of `@netlify/blobs`
 *
 * @example
 * ```ts
 * import { getStore } from "@netlify/blobs";
 * import { withSession } from "with-session";
 * import { netlifyBlobsStore } from "with-session/stores/netlify-blobs";
 *
 * export default withSession(
 *   async (_request, session) => new Response(`Visit ${await session.update("visits", (n = 0) => Number(n) + 1)}`),
 *   { store: () => netlifyBlobsStore(getStore("sessions")) },
 * );
 * ```
 */
export function netlifyBlobsStore(store: NetlifyBlobs): SessionStore {
  if (typeof store?.getWithMetadata !== "function" || typeof store.set !== "function") {
    throw new TypeError(
      "netlifyBlobsStore: the store must be what getStore() of @netlify/blobs gives; is it undefined?",
    );
  }

  async function find(key: string): Promise<StoredBlob | null> {
    const found = await store.getWithMetadata(key, { type: "text", consistency: "strong" });
    if (found === null) return null;
    const { data, etag, metadata } = found;
    if (typeof data !== "string" || !isEtag(etag)) throw invalidAnswer();
    return { data, etag, metadata };
  }

  /** Writes under a condition, and returns the new etag. */
  async function put(
    key: string,
    data: string,
    metadata: Record<string, unknown>,
    condition: { onlyIfNew: boolean } | { onlyIfMatch: string },
  ): Promise<string> {
    // The client writes without a condition if the etag is empty.
    if ("onlyIfMatch" in condition && !isEtag(condition.onlyIfMatch)) return "conflict";
    const answer = await store.set(key, data, { metadata, ...condition });
    if (answer.modified === false) return "conflict";
    if (answer.modified === true && isEtag(answer.etag)) return answer.etag;
    // The client takes any refusal but 412 for a success. Only an etag proves a success, so without one the blob must
    // be read to find out whether the write was done.
    const found = await find(key);
    if (found?.data === data) return found.etag;
    if (found === null && "onlyIfMatch" in condition) return "conflict";
    throw invalidAnswer();
  }

  return {
    traits: { consistency: "strong", compareAndSet: true, maxBytes: Infinity },

    async load(key) {
      const found = await find(key);
      if (found === null || isDeleted(found)) return null;
      const { fields, lastSeenAt } = parseRecord(found.data.slice(NAME_LENGTH));
      return { fields, lastSeenAt, version: found.etag };
    },

    async save(key, { record, expected, expiresAt }) {
      const data = named(serializeRecord(record));
      if (expected !== null) return await put(key, data, { expiresAt }, { onlyIfMatch: `${expected}` });
      const etag = await put(key, data, { expiresAt }, { onlyIfNew: true });
      const found = etag === "conflict" ? await find(key) : null;
      if (found === null) return etag;
      // A sweep is deleting the blob, which would also remove a session that is written now. If the mark of the sweep has
      // expired by every server's clock, the sweep has crashed and deletes nothing any more.
      if (isSwept(found.metadata) && !isExpired(found.metadata, record.lastSeenAt - CLOCK_SKEW))
        throw new StoreBusyError();
      if (!isDeleted(found) && !isExpired(found.metadata, record.lastSeenAt)) return "conflict";
      return await put(key, data, { expiresAt }, { onlyIfMatch: found.etag });
    },

    async delete(key, expected) {
      if (expected === undefined) {
        await store.delete(key);
        return;
      }
      // Netlify Blobs cannot delete under a condition. So a blob without a record is written instead, which a new
      // session can overwrite.
      if ((await put(key, named(""), { expiresAt: 0 }, { onlyIfMatch: `${expected}` })) !== "conflict") return;
      const found = await find(key);
      return found === null || isDeleted(found) ? undefined : "conflict";
    },

    async prune(now) {
      let swept = 0;
      for await (const { blobs } of store.list({ paginate: true })) {
        for (const { key } of blobs) {
          const found = await store.getMetadata(key, { consistency: "strong" });
          if (found === null || !isExpired(found.metadata, now) || !isEtag(found.etag)) continue;
          // A session that was just extended has another etag. After this write, no session overwrites the blob, so it
          // can be deleted without a condition.
          const metadata = { expiresAt: now + SWEEP_LIFE, swept: true };
          if ((await put(key, named(""), metadata, { onlyIfMatch: found.etag })) === "conflict") continue;
          await store.delete(key);
          swept++;
        }
      }
      return swept;
    },
  };
}

function named(text: string): string {
  return `${crypto.randomUUID()}\n${text}`;
}

function isDeleted({ data }: NetlifyBlob): boolean {
  return data.length === NAME_LENGTH && data.endsWith("\n");
}

function isExpired({ expiresAt }: Record<string, unknown>, now: number): boolean {
  return typeof expiresAt === "number" && expiresAt < now;
}

function isSwept({ swept }: Record<string, unknown>): boolean {
  return swept === true;
}

function isEtag(etag: unknown): etag is string {
  return typeof etag === "string" && etag !== "";
}

function invalidAnswer(): SessionError {
  return new SessionError(
    "ERR_STORE",
    "Cannot use the store: Netlify Blobs answered neither that it has written nor that it has not",
  );
}
