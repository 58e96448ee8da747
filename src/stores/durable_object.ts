/**
 * Sessions in Cloudflare Durable Objects, one object for each session.
 *
 * @module
 */
import { assertKnown } from "../core/known_options.ts";
import { parseRecord, serializeRecord } from "../core/record_text.ts";
import { assertRecordSize, byteLength } from "../core/record_size.ts";
import type { RecordVersion, SessionStore } from "../core/store.ts";

/** The part of a Durable Object binding (Cloudflare's `DurableObjectNamespace`) that the store needs. */
export interface SessionObjectNamespace<Id = unknown> {
  /** The id of the object with a name. */
  idFromName(name: string): Id;
  /** A stub of the object, which begins to exist when it is first called. */
  get(id: Id, options?: { locationHint?: SessionLocationHint }): SessionObjectStub;
  /** The same namespace, whose objects stay within a jurisdiction. */
  jurisdiction?(name: SessionJurisdiction): SessionObjectNamespace<Id>;
}

/** The part of a stub of a Durable Object that the store needs. */
export interface SessionObjectStub {
  /** Calls the object. */
  fetch(
    url: string,
    init: { method: "POST"; body: string; signal?: AbortSignal },
  ): Promise<{
    readonly ok: boolean;
    readonly status: number;
    text(): Promise<string>;
  }>;
}

/** A part of the world (https://developers.cloudflare.com/durable-objects/reference/data-location/#provide-a-location-hint). */
export type SessionLocationHint = "wnam" | "enam" | "sam" | "weur" | "eeur" | "apac" | "oc" | "afr" | "me";

/** A jurisdiction (https://developers.cloudflare.com/durable-objects/reference/data-location/#restrict-durable-objects-to-a-jurisdiction). */
export type SessionJurisdiction = "eu" | "fedramp";

/** The part of a Durable Object's state (Cloudflare's `DurableObjectState`) that {@linkcode SessionObject} needs. */
export interface SessionObjectState {
  /** The storage of the object, in SQLite. */
  readonly storage: {
    /** Keys and values. The calls return at once, without a promise. */
    readonly kv: {
      get<Value>(key: string): Value | undefined;
      put(key: string, value: unknown): void;
    };
    setAlarm(instant: number): Promise<void>;
    deleteAlarm(): Promise<void>;
    deleteAll(): Promise<void>;
  };
}

/** Options of {@linkcode durableObjectStore}. */
export interface DurableObjectStoreOptions {
  /** The prefix of every object's name. @default Nothing */
  readonly prefix?: string;
  /**
   * Where new objects are placed. Cloudflare follows it as far as possible, and an object does not move afterwards.
   *
   * @default Near the request that creates the session
   */
  readonly locationHint?: SessionLocationHint;
  /** Where objects must stay. Sessions of another jurisdiction are not found. @default Anywhere */
  readonly jurisdiction?: SessionJurisdiction;
}

/**
 * Keeps sessions in Cloudflare Durable Objects. Each session is an object, which lives in one place and does one thing at a
 * time. No update is lost and no ended session comes back, from anywhere in the world.
 *
 * ## Setup
 * The Worker exports the class {@linkcode SessionObject}, and its configuration names it:
 *
 * ```json
 * {
 *   "durable_objects": { "bindings": [{ "name": "SESSIONS", "class_name": "SessionObject" }] },
 *   "migrations": [{ "tag": "v1", "new_sqlite_classes": ["SessionObject"] }]
 * }
 * ```
 *
 * With a compatibility date of 2025-11-17 or later, `ctx.exports.SessionObject` can be passed instead of a binding
 * (https://developers.cloudflare.com/workers/runtime-apis/context/#exports).
 *
 * ## How expiry behaves
 * An alarm removes the data of an object when its session has expired. After the alarm, and after a logout, nothing is
 * left: an object without storage ceases to exist
 * (https://developers.cloudflare.com/durable-objects/concepts/durable-object-lifecycle/).
 *
 * ## Key format
 * The object's name is the prefix and the key, 64 hexadecimal digits. It has one row with the record as text.
 *
 * ## Consistency
 * Strong, with compare-and-set, everywhere. An object is created near the first request of its session, and requests from
 * elsewhere travel there.
 *
 * ## Limits
 * A record takes at most 2 MB, as one row does (https://developers.cloudflare.com/durable-objects/platform/limits/). Each call of the store is
 * one request to the object, and a write changes one row. Looking for a session that does not exist stores nothing.
 *
 * @param namespace The binding
 * @param options The prefix of names, and where objects are placed
 * @returns The store. It refuses a record over the limit with `ERR_RECORD_TOO_LARGE` before any I/O
 * @throws {TypeError} If `namespace` is not a Durable Object binding, or cannot have a jurisdiction, or the prefix is not a string, or an option is
 *   unknown
 *
 * @example
 * ```ts
 * import { withSession } from "with-session";
 * import { durableObjectStore, type SessionObjectNamespace } from "with-session/stores/durable-object";
 *
 * export { SessionObject } from "with-session/stores/durable-object";
 *
 * export default {
 *   fetch: withSession(
 *     async (_request, session, _env: { SESSIONS: SessionObjectNamespace }) =>
 *       new Response(`Visit ${await session.update("visits", (n = 0) => Number(n) + 1)}`),
 *     { store: (env) => durableObjectStore(env.SESSIONS) },
 *   ),
 * };
 * ```
 */
export function durableObjectStore<Id>(
  namespace: SessionObjectNamespace<Id>,
  options: DurableObjectStoreOptions = {},
): SessionStore {
  assertKnown(options, ["prefix", "locationHint", "jurisdiction"], "durableObjectStore");
  const { prefix = "", locationHint, jurisdiction } = options;
  if (typeof namespace?.idFromName !== "function" || typeof namespace.get !== "function") {
    throw new TypeError(
      'durableObjectStore needs a Durable Object binding: add { "name": "SESSIONS", "class_name": "SessionObject" } to ' +
        '"durable_objects.bindings" in the Worker\'s configuration, and pass env.SESSIONS',
    );
  }
  if (typeof prefix !== "string") throw new TypeError("durableObjectStore: prefix must be a string");
  const objects = within(namespace, jurisdiction);

  async function ask(key: string, call: Call, signal?: AbortSignal): Promise<Answer> {
    const id = objects.idFromName(prefix + key);
    const object = locationHint === undefined ? objects.get(id) : objects.get(id, { locationHint });
    const init = { method: "POST", body: JSON.stringify(call), ...(signal && { signal }) } as const;
    // The request goes to the object. The host has no meaning.
    const response = await object.fetch("http://session/", init);
    if (!response.ok) throw new Error(`The Durable Object answered with status ${response.status}`);
    const answer: unknown = JSON.parse(await response.text());
    if (!isAnswer(answer)) throw new Error("The answer is not one of SessionObject");
    return answer;
  }

  return {
    traits: { consistency: "strong", compareAndSet: true, maxBytes: MAX_BYTES },

    async load(key, signal) {
      const answer = await ask(key, { verb: "load" }, signal);
      if (answer.is === "missing") return null;
      if (answer.is === "found") return { ...parseRecord(answer.text), version: answer.version };
      throw new Error("The Durable Object gave no answer to a read");
    },

    async save(key, { record, expected, expiresAt }, signal) {
      const text = serializeRecord(record);
      assertRecordSize("a Durable Object", byteLength(text), MAX_BYTES);
      // The core's clock may differ from the engine's. Only the time between two instants is the same on both.
      const lifetime = expiresAt - record.lastSeenAt;
      const answer = await ask(key, { verb: "save", text, lifetime, expected }, signal);
      if (answer.is === "saved") return answer.version;
      if (answer.is === "conflict") return "conflict";
      throw new Error("The Durable Object gave no answer to a write");
    },

    async delete(key, expected, signal) {
      const answer = await ask(key, { verb: "delete", expected }, signal);
      if (answer.is === "conflict") return "conflict";
      if (answer.is !== "missing") throw new Error("The Durable Object gave no answer to a deletion");
    },
  };
}

/**
 * One session. A Worker that uses {@linkcode durableObjectStore} exports this class and names it in `new_sqlite_classes`. Nothing else
 * has to be done with it.
 *
 * It is a plain class with a `fetch`, not one of `cloudflare:workers`, so that this module can be imported in every runtime.
 */
export class SessionObject {
  /** Cloudflare's types recognise the class of a Durable Object by this field. It has no value. */
  declare readonly __DURABLE_OBJECT_BRAND: never;
  readonly #storage: SessionObjectState["storage"];

  /** The runtime calls it. */
  constructor(state: SessionObjectState) {
    this.#storage = state.storage;
  }

  /** Answers one call of the store. */
  async fetch(request: Request): Promise<Response> {
    const call: Call = JSON.parse(await request.text());
    return Response.json(await this.#answer(call));
  }

  /** Removes an expired session. The runtime calls it. */
  async alarm(): Promise<void> {
    const row = this.#storage.kv.get<Row>(ROW);
    if (row === undefined || row.endsAt <= Date.now()) await this.#clear();
    else await this.#storage.setAlarm(row.endsAt);
  }

  // The answers are data, because an error would lose its class on the way. Nothing is awaited between reading the row and writing it,
  // so no other call can come in between.

  async #answer(call: Call): Promise<Answer> {
    const row = this.#storage.kv.get<Row>(ROW);
    switch (call.verb) {
      case "load":
        return row === undefined ? MISSING : { is: "found", version: row.version, text: utf8Decoder.decode(row.text) };
      case "save":
        return (row?.version ?? null) === call.expected ? await this.#save(call, row) : CONFLICT;
      case "delete":
        if (row === undefined) return MISSING;
        if (call.expected !== undefined && call.expected !== row.version) return CONFLICT;
        await this.#clear();
        return MISSING;
    }
  }

  async #save({ text, lifetime }: Saving, before: Row | undefined): Promise<Answer> {
    const version = crypto.randomUUID();
    const endsAt = Date.now() + lifetime;
    // Bytes, because a string with a character beyond Latin-1 would be stored with two bytes for each.
    this.#storage.kv.put(ROW, { version, endsAt, text: utf8Encoder.encode(text) } satisfies Row);
    // Setting the alarm costs a second row, so it is not set anew when the session is extended. An alarm that comes too
    // early is set again, for the present end of the session.
    if (before === undefined || endsAt < before.endsAt) await this.#storage.setAlarm(endsAt);
    return { is: "saved", version };
  }

  async #clear(): Promise<void> {
    // Before the compatibility date 2026-02-24, deleteAll leaves the alarm, and with it some storage.
    await Promise.all([this.#storage.deleteAlarm(), this.#storage.deleteAll()]);
  }
}

/** A call of the store to an object. */
type Call =
  | { readonly verb: "load" }
  | Saving
  | { readonly verb: "delete"; readonly expected?: RecordVersion | undefined };

interface Saving {
  readonly verb: "save";
  readonly text: string;
  /** In milliseconds. */
  readonly lifetime: number;
  readonly expected: RecordVersion | null;
}

/** The answer of an object. */
type Answer =
  | { readonly is: "found"; readonly version: string; readonly text: string }
  | { readonly is: "saved"; readonly version: string }
  | { readonly is: "missing" | "conflict" };

/** The row that an object stores. */
interface Row {
  readonly version: string;
  /** In epoch milliseconds, on the engine's clock. */
  readonly endsAt: number;
  /** In UTF-8. */
  readonly text: Uint8Array;
}

const ROW = "record";
const MISSING: Answer = { is: "missing" };
const CONFLICT: Answer = { is: "conflict" };

/**
 * https://developers.cloudflare.com/durable-objects/platform/limits/, less the bytes that a row needs beside the
 * record.
 */
const MAX_BYTES = 2_000_000 - 1_000;

const utf8Encoder = new TextEncoder();
const utf8Decoder = new TextDecoder();

function within<Id>(
  namespace: SessionObjectNamespace<Id>,
  jurisdiction: SessionJurisdiction | undefined,
): SessionObjectNamespace<Id> {
  if (jurisdiction === undefined) return namespace;
  if (typeof namespace.jurisdiction === "function") return namespace.jurisdiction(jurisdiction);
  throw new TypeError("durableObjectStore: this binding cannot be restricted to a jurisdiction; leave the option out");
}

function isAnswer(answer: unknown): answer is Answer {
  if (typeof answer !== "object" || answer === null || !("is" in answer)) return false;
  const { is } = answer;
  const needed = { found: ["version", "text"], saved: ["version"], missing: [], conflict: [] };
  const fields = typeof is === "string" && Object.hasOwn(needed, is) ? needed[is as Answer["is"]] : undefined;
  return fields?.every((field) => typeof Reflect.get(answer, field) === "string") ?? false;
}
