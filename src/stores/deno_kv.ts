/**
 * Sessions in Deno KV.
 *
 * @module
 */
import { StoreBusyError, storeLocked } from "../core/errors.ts";
import { assertKnown } from "../core/known_options.ts";
import { parseRecord, serializeRecord } from "../core/record_text.ts";
import { assertRecordSize } from "../core/record_size.ts";
import type { SessionStore } from "../core/store.ts";

/** One part of a key of Deno KV. */
export type DenoKvKeyPart = Uint8Array | string | number | bigint | boolean;

/**
 * The part of a `Deno.Kv` that the store needs. Deno opens one with `Deno.openKv()`, Node with `openKv()` of
 * `@deno/kv`.
 */
export interface DenoKv {
  /** Reads an entry, with strong consistency. */
  get(key: readonly DenoKvKeyPart[]): Promise<{ readonly value: unknown; readonly versionstamp: string | null }>;
  /** Begins a transaction. */
  atomic(): DenoKvAtomicOperation;
}

/** The part of a `Deno.AtomicOperation` that the store needs. */
export interface DenoKvAtomicOperation {
  /** Demands that the entry has this versionstamp, or with `null` that it does not exist. */
  check(check: { readonly key: readonly DenoKvKeyPart[]; readonly versionstamp: string | null }): this;
  /** Adds a write of an entry, which may be removed after `expireIn` milliseconds. */
  set(key: readonly DenoKvKeyPart[], value: unknown, options: { readonly expireIn: number }): this;
  /** Adds a deletion. */
  delete(key: readonly DenoKvKeyPart[]): this;
  /** Does everything, or nothing if a check fails. */
  commit(): Promise<{ readonly ok: true; readonly versionstamp: string } | { readonly ok: false }>;
}

/** Options of {@linkcode denoKvStore}. */
export interface DenoKvStoreOptions {
  /** The prefix of every key: its parts, or its only part. @default `["with-session"]` */
  readonly prefix?: string | readonly DenoKvKeyPart[] | undefined;
}

/**
 * Keeps sessions in Deno KV: a local SQLite file, Deno Deploy, or a database over KV Connect. Every load and every write is one call.
 *
 * ## Setup
 * Deno needs `--unstable-kv`. Node needs the package `@deno/kv`. Open the database once for the process.
 *
 * ## How expiry behaves
 * Deno KV removes a record some time after it has expired, locally up to a minute or so: `expireIn` is the earliest
 * moment (https://docs.deno.com/deploy/kv/key_expiration/). Each write sets it anew.
 *
 * ## Key format
 * The parts of the prefix, then 64 hexadecimal digits: `["with-session", "9f86d0…"]`. The value is a `Uint8Array`, the record as text in
 * UTF-8. Node cannot read other values that Deno has written, and Deno KV counts the size in bytes.
 *
 * ## Consistency
 * Strong, with compare-and-set. On one file, processes that write at once get `database is locked`: such a write is a `StoreBusyError`,
 * which is tried again within `storeTimeout`.
 *
 * ## Limits
 * A record takes at most 65 536 bytes, and a key 2 048 (https://docs.deno.com/deploy/kv/transactions/).
 *
 * @param kv The open database
 * @param options The key prefix
 * @returns The store. It refuses a record over the limit with `ERR_RECORD_TOO_LARGE` before any I/O
 * @throws {TypeError} If `kv` is not an open database, for instance a promise of one, or `prefix` is not made of key parts, or an option is
 *   unknown
 *
 * @example
 * ```ts
 * import { withSession } from "with-session";
 * import { denoKvStore } from "with-session/stores/deno-kv";
 *
 * const kv = await Deno.openKv();
 * export default {
 *   fetch: withSession(
 *     async (_request, session) => new Response(`Visit ${await session.update("visits", (n = 0) => Number(n) + 1)}`),
 *     { store: denoKvStore(kv) },
 *   ),
 * };
 * ```
 */
export function denoKvStore(kv: DenoKv, options: DenoKvStoreOptions = {}): SessionStore {
  assertKnown(options, ["prefix"], "denoKvStore");
  const { prefix = ["with-session"] } = options;
  if (typeof kv?.get !== "function" || typeof kv.atomic !== "function") {
    throw new TypeError("denoKvStore needs an open Deno KV: await Deno.openKv()");
  }
  if (typeof prefix !== "string" && !(Array.isArray(prefix) && prefix.every(isKeyPart))) {
    throw new TypeError("denoKvStore: prefix must be a string or an array of key parts");
  }
  const prefixParts = typeof prefix === "string" ? [prefix] : [...prefix];
  const pathOf = (key: string): DenoKvKeyPart[] => [...prefixParts, key];

  return {
    traits: { consistency: "strong", compareAndSet: true, maxBytes: MAX_BYTES },

    async load(key) {
      const { value, versionstamp } = await kv.get(pathOf(key));
      return versionstamp === null ? null : { ...parseRecord(textOf(value)), version: versionstamp };
    },

    async save(key, { record, expected, expiresAt }) {
      const path = pathOf(key);
      const value = toUtf8.encode(serializeRecord(record));
      assertRecordSize("Deno KV", value.length, MAX_BYTES);
      const expireIn = Math.max(1, Math.ceil(expiresAt - record.lastSeenAt));
      const check = { key: path, versionstamp: expected === null ? null : String(expected) };
      const answer = await committed(kv.atomic().check(check).set(path, value, { expireIn }));
      return answer.ok ? answer.versionstamp : "conflict";
    },

    async delete(key, expected) {
      const path = pathOf(key);
      const removal = kv.atomic().delete(path);
      if (expected !== undefined) removal.check({ key: path, versionstamp: String(expected) });
      const { ok } = await committed(removal);
      // The check fails for a missing record as well. The deletion has succeeded then.
      if (!ok && (await kv.get(path)).versionstamp !== null) return "conflict";
    },
  };
}

/** https://docs.deno.com/deploy/kv/transactions/. Bytes are stored as they are, without a header. */
const MAX_BYTES = 65_536;

const toUtf8 = new TextEncoder();
const fromUtf8 = new TextDecoder();

function isKeyPart(part: unknown): part is DenoKvKeyPart {
  return ["string", "number", "bigint", "boolean"].includes(typeof part) || isBytes(part);
}

/** The text of a value; empty if this store has not written it. */
function textOf(value: unknown): string {
  return isBytes(value) ? fromUtf8.decode(value) : "";
}

function isBytes(value: unknown): value is Uint8Array {
  return ArrayBuffer.isView(value);
}

async function committed(operation: DenoKvAtomicOperation): ReturnType<DenoKvAtomicOperation["commit"]> {
  try {
    return await operation.commit();
  } catch (error) {
    // Only the message says that another process holds the lock of the file, or has written since the check has read, and
    // that nothing was done. A write with a check does not wait for the lock: SQLite refuses it at once.
    throw /\bdatabase is locked\b/.test(String(error)) ? storeLocked(new StoreBusyError()) : error;
  }
}
