import { recordFromText, recordToText, refuseTooLarge } from "../record_text.ts";
import type { Loaded, SessionRecord, SessionStore, Version } from "../store.ts";

/** One part of a key of Deno KV. */
export type DenoKvKeyPart = Uint8Array | string | number | bigint | boolean;

/** What is needed of a `Deno.Kv`, which Deno opens with `Deno.openKv()` and Node with `openKv()` of `@deno/kv`. */
export interface DenoKv {
  /** Reads an entry, with strong consistency. */
  get(key: readonly DenoKvKeyPart[]): Promise<{ readonly value: unknown; readonly versionstamp: string | null }>;
  /** Begins a transaction. */
  atomic(): DenoKvAtomicOperation;
}

/** What is needed of a `Deno.AtomicOperation`. */
export interface DenoKvAtomicOperation {
  /** Demands that the entry has this versionstamp, or with `null` that there is none. */
  check(check: { readonly key: readonly DenoKvKeyPart[]; readonly versionstamp: string | null }): this;
  /** Adds a write, of an entry that may go so many milliseconds later. */
  set(key: readonly DenoKvKeyPart[], value: unknown, options: { readonly expireIn: number }): this;
  /** Adds a deletion. */
  delete(key: readonly DenoKvKeyPart[]): this;
  /** Does everything, or nothing when a check fails. */
  commit(): Promise<{ readonly ok: true; readonly versionstamp: string } | { readonly ok: false }>;
}

/** Options of {@linkcode denoKvStore}. */
export interface DenoKvStoreOptions {
  /** What every key begins with: the parts, or the only one. Default `["with-session"]`. */
  readonly prefix?: string | readonly DenoKvKeyPart[];
}

/**
 * Sessions in Deno KV: a local SQLite file, Deno Deploy, or a database over KV Connect. Every load and every write is
 * one call.
 *
 * ## Setup
 * Deno needs `--unstable-kv`; Node needs the package `@deno/kv`. Open the database once for the process.
 *
 * ## How expiry behaves
 * Deno KV removes a record some time after its end, up to a minute or so locally: `expireIn` is the earliest moment
 * (https://docs.deno.com/deploy/kv/key_expiration/). Each write sets it anew.
 *
 * ## Key format
 * The parts of the prefix, then 64 hexadecimal digits: `["with-session", "9f86d0…"]`. The value is a `Uint8Array` of
 * UTF-8: the names of the last writes, a line break, and the record as JSON. Bytes, because Node cannot read any
 * other value that Deno wrote, and because their size is what Deno KV counts.
 *
 * ## Consistency
 * Strong, with compare-and-set. A commit that failed is looked up, and repeated if it was not done: on one file,
 * processes that write at once get `database is locked`. One that the client sent again because its answer was lost
 * is done once.
 *
 * ## Limits
 * A value takes at most 65 536 bytes, of which 73 are not the record's, and a key 2 048 (https://docs.deno.com/deploy/kv/transactions/).
 *
 * @param kv The open database.
 * @param options The key prefix.
 * @returns The store. Its writes reject with `ERR_RECORD_TOO_LARGE`, before any I/O, if a record exceeds the limit.
 * @throws {TypeError} `kv` is no open database, for instance a promise of one, or `prefix` is not made of key parts.
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
  const { prefix = ["with-session"] } = options;
  if (typeof kv?.get !== "function" || typeof kv.atomic !== "function") {
    throw new TypeError("denoKvStore needs an open Deno KV: await Deno.openKv()");
  }
  if (typeof prefix !== "string" && !Array.isArray(prefix)) {
    throw new TypeError("denoKvStore: prefix must be a string or an array of key parts");
  }
  const prefixParts = typeof prefix === "string" ? [prefix] : [...prefix];
  const keyOf = (key: string): DenoKvKeyPart[] => [...prefixParts, key];

  async function find(key: string): Promise<Loaded | null> {
    const { value, versionstamp } = await kv.get(keyOf(key));
    if (versionstamp === null) return null;
    // Of what is not of this store's making, a record without fields.
    const [, names, text] = (value instanceof Uint8Array && VALUE.exec(utf8Decoder.decode(value))) || [];
    return { ...recordFromText(text), version: versionText(versionstamp, names?.split(" ") ?? []) };
  }

  async function put(key: string, expected: State, record: SessionRecord, expiresAt: number): Promise<Outcome> {
    const name = crypto.randomUUID().slice(0, 8);
    const names = [name, ...expected.names].slice(0, NAMES_KEPT);
    // Of one width, so that a record which could be created can be touched.
    const value = utf8.encode(`${names.join(" ").padEnd(NAMES_WIDTH)}\n${recordToText(record)}`);
    refuseTooLarge("Deno KV", value.length, MAX_BYTES);
    const expireIn = Math.max(1, Math.ceil(expiresAt - record.lastSeenAt));
    const answer = await commit(key, expected.versionstamp, (write) => write.set(keyOf(key), value, { expireIn }));
    if (answer.ok) return { done: true, version: versionText(answer.versionstamp, names) };
    const { found } = answer;
    const at = found === null ? -1 : stateOf(found.version).names.indexOf(name);
    if (found === null || at < 0) return { done: false, found };
    // It was done, and the client sent it again. If other writes followed, its version must not pass for theirs.
    return { done: true, version: at === 0 ? found.version : versionText(NO_VERSIONSTAMP, names) };
  }

  /** Commits if the record is still at the expected versionstamp; at any if that is undefined. */
  async function commit(
    key: string,
    expected: string | null | undefined,
    add: (operation: DenoKvAtomicOperation) => DenoKvAtomicOperation,
  ): Promise<{ ok: true; versionstamp: string } | { ok: false; found: Loaded | null }> {
    for (let attempt = 1; ; attempt++) {
      const operation = kv.atomic();
      if (expected !== undefined) operation.check({ key: keyOf(key), versionstamp: expected });
      const answer = await add(operation)
        .commit()
        .catch((error: unknown) => ({ ok: false as const, error }));
      if (answer.ok) return answer;
      const found = await find(key);
      if (!("error" in answer)) return { ok: false, found };
      // Nothing but the text of the error tells a lock from anything else: so look whether the commit is still to do.
      const versionstamp = found && stateOf(found.version).versionstamp;
      const isUndone = expected === undefined ? found !== null : expected === versionstamp;
      if (!isUndone) return { ok: false, found };
      if (attempt === MAX_ATTEMPTS) throw answer.error;
      await pause(Math.random() * Math.min(LONGEST_PAUSE, 2 ** attempt));
    }
  }

  return {
    traits: {
      compareAndSet: true,
      consistency: "strong",
      persistent: true,
      shared: true,
      minTtl: 0.001,
      maxBytes: MAX_BYTES,
    },

    load: find,

    async create(key, record, expiresAt) {
      const outcome = await put(key, { versionstamp: null, names: [] }, record, expiresAt);
      return outcome.done ? outcome.version : "taken";
    },

    async change(key, { record }, expected, expiresAt) {
      const outcome = await put(key, stateOf(expected), record, expiresAt);
      if (outcome.done) return outcome.version;
      return outcome.found === null ? "gone" : "conflict";
    },

    async touch(key, lastSeenAt, expiresAt, loaded) {
      const found = loaded ?? (await find(key));
      if (found === null) return false;
      const outcome = await put(key, stateOf(found.version), { fields: found.fields, lastSeenAt }, expiresAt);
      if (outcome.done) return true;
      return outcome.found === null ? false : "conflict";
    },

    async delete(key, expected) {
      const versionstamp = expected === undefined ? undefined : stateOf(expected).versionstamp;
      const answer = await commit(key, versionstamp, (operation) => operation.delete(keyOf(key)));
      if (!answer.ok && answer.found !== null) return "conflict";
    },
  };
}

/** From https://docs.deno.com/deploy/kv/transactions/; bytes are stored as they are, without a header. */
const MAX_BYTES = 65_536;
/** No entry has it: the first commit to a database makes a greater one. */
const NO_VERSIONSTAMP = "0".repeat(20);
/** A write is recognised if fewer than so many others followed it. */
const NAMES_KEPT = 8;
const NAMES_WIDTH: number = NAMES_KEPT * 9;
/** About two seconds in all: a process holds the lock of the file for some milliseconds. */
const MAX_ATTEMPTS = 40;
/** In milliseconds. */
const LONGEST_PAUSE = 100;

/**
 * What a version tells: the versionstamp and the names of the last writes, the newest first. A write that is refused
 * finds its own name in the record if it was done all the same, even if others followed.
 */
interface State {
  readonly versionstamp: string | null;
  readonly names: readonly string[];
}

type Outcome =
  | { readonly done: true; readonly version: Version }
  | { readonly done: false; readonly found: Loaded | null };

function versionText(versionstamp: string, names: readonly string[]): string {
  return [versionstamp, ...names].join(" ");
}

function stateOf(version: Version): State {
  const [versionstamp = NO_VERSIONSTAMP, ...names] = String(version).split(" ");
  return { versionstamp, names };
}

const VALUE = /^([0-9a-f]{8}(?: [0-9a-f]{8})*) *\n(.*)$/s;
const utf8 = new TextEncoder();
const utf8Decoder = new TextDecoder();

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
