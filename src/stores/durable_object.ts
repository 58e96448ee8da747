import { byteLength, refuseTooLarge } from "../record_text.ts";
import type { SessionRecord, SessionStore, Version } from "../store.ts";

/** What is needed of a Durable Object binding: a part of Cloudflare's `DurableObjectNamespace`. */
export interface SessionObjectNamespace<Id = unknown> {
  /** The id of the object with a name. */
  idFromName(name: string): Id;
  /** A way to the object, which begins to exist when it is first called. */
  get(id: Id): {
    fetch(
      url: string,
      init: { method: "POST"; body: string },
    ): Promise<{
      readonly ok: boolean;
      readonly status: number;
      text(): Promise<string>;
    }>;
  };
}

/** What is needed of the state of a Durable Object: a part of Cloudflare's `DurableObjectState`. */
export interface SessionObjectState {
  /** What the object stores, in SQLite. */
  readonly storage: {
    /** Keys and values, without a wait in between. */
    readonly kv: {
      get<Value>(key: string): Value | undefined;
      list<Value>(options: { prefix: string }): Iterable<[string, Value]>;
      put(key: string, value: unknown): void;
      delete(key: string): boolean;
    };
    transactionSync<Result>(run: () => Result): Result;
    setAlarm(instant: number): Promise<void>;
    deleteAlarm(): Promise<void>;
    deleteAll(): Promise<void>;
  };
}

/**
 * Sessions in Cloudflare Durable Objects: each session is an object of its own, which lives in one place and does
 * one thing at a time. No update is lost and no ended session comes back, from anywhere in the world.
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
 * ## How expiry behaves
 * An alarm removes all that an object stores when its session's time is up, and each write sets that time anew. After
 * the alarm, and after a logout, nothing is left: an object without storage ceases to exist
 * (https://developers.cloudflare.com/durable-objects/concepts/durable-object-lifecycle/).
 *
 * ## Key format
 * The object's name is the key, 64 hexadecimal digits. In it, each field has a row, and a change writes its own
 * fields only.
 *
 * ## Consistency
 * Strong, with compare-and-set, everywhere. An object is made near the first request of its session, and requests
 * from elsewhere travel there.
 *
 * ## Limits
 * A record takes at most 2 MB, as one row does
 * (https://developers.cloudflare.com/durable-objects/platform/limits/). Every call of the store is one request to the object.
 * Looking for a session that does not exist stores nothing.
 *
 * @param namespace The binding; `env.SESSIONS.jurisdiction("eu")` will do as well.
 * @returns The store. Its writes reject with `ERR_RECORD_TOO_LARGE`, before any I/O, if a record exceeds the limit.
 * @throws {TypeError} `namespace` is no Durable Object binding.
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
 *       new Response(`Visit ${await session.update("visits", (n = 0) => n + 1)}`),
 *     { store: (env) => durableObjectStore(env.SESSIONS) },
 *   ),
 * };
 * ```
 */
export function durableObjectStore<Id>(namespace: SessionObjectNamespace<Id>): SessionStore {
  if (typeof namespace?.idFromName !== "function") {
    throw new TypeError(
      "durableObjectStore needs a Durable Object binding: is it named in the Worker's configuration?",
    );
  }

  async function ask(key: string, call: Call): Promise<Answer> {
    const object = namespace.get(namespace.idFromName(key));
    // The request goes to the object whatever the host is.
    const response = await object.fetch("http://session/", { method: "POST", body: JSON.stringify(call) });
    if (!response.ok) throw new Error(`The Durable Object answered with status ${response.status}`);
    return JSON.parse(await response.text());
  }

  async function write(key: string, call: Call): Promise<Version> {
    const answer = await ask(key, call);
    if (typeof answer === "object") throw new Error("The Durable Object gave no answer to a write");
    return answer;
  }

  return {
    traits: {
      compareAndSet: true,
      consistency: "strong",
      persistent: true,
      shared: true,
      minTtl: 0,
      maxBytes: MAX_BYTES,
    },

    async load(key) {
      const answer = await ask(key, { verb: "load" });
      if (answer === "gone") return null;
      if (typeof answer !== "object") throw new Error("The Durable Object gave no answer to a read");
      return { ...answer, fields: new Map(answer.fields) };
    },

    async create(key, record, expiresAt) {
      refuseLarge(record);
      const { fields, lastSeenAt } = record;
      const lifetime = expiresAt - lastSeenAt;
      return await write(key, { verb: "create", changed: [...fields], lastSeenAt, lifetime });
    },

    async change(key, { record, changed }, expected, expiresAt) {
      refuseLarge(record);
      const { lastSeenAt } = record;
      const lifetime = expiresAt - lastSeenAt;
      return await write(key, { verb: "change", changed: [...changed], lastSeenAt, lifetime, expected });
    },

    async touch(key, lastSeenAt, expiresAt, loaded) {
      const lifetime = expiresAt - lastSeenAt;
      const answer = await write(key, { verb: "touch", changed: [], lastSeenAt, lifetime, expected: loaded?.version });
      return answer === "conflict" ? answer : answer !== "gone";
    },

    async delete(key, expected) {
      const answer = await write(key, { verb: "delete", expected });
      if (answer === "conflict") return answer;
    },
  };
}

/**
 * One session. A Worker that uses {@linkcode durableObjectStore} exports this class and names it in
 * `new_sqlite_classes`; nothing else is to be done with it.
 *
 * It is a plain class with a `fetch`, not one of `cloudflare:workers`, so that this module can be imported in
 * every runtime.
 */
export class SessionObject {
  /** By this, Cloudflare's types know the class of a Durable Object; it has no value. */
  declare readonly __DURABLE_OBJECT_BRAND: never;
  readonly #storage: SessionObjectState["storage"];

  /** Called by workerd. */
  constructor(state: SessionObjectState) {
    this.#storage = state.storage;
  }

  /** Answers one call of the store. */
  async fetch(request: Request): Promise<Response> {
    const call: Call = JSON.parse(await request.text());
    return Response.json(await this.#answer(call));
  }

  /** Removes an expired session. */
  async alarm(): Promise<void> {
    await this.#clear();
  }

  // The answers are data, because an error would lose its class on the way. From reading the head to the first
  // await, which comes after all writes, nothing waits, so nothing can come in between.

  async #answer(call: Call): Promise<Answer> {
    const head = this.#storage.kv.get<Head>(HEAD);
    if (call.verb === "create") return head ? "taken" : await this.#write(call);
    if (head === undefined) return "gone";
    switch (call.verb) {
      case "load":
        return { ...head, fields: this.#fields() };
      case "change":
      case "touch":
        return isExpected(call, head) ? await this.#write(call) : "conflict";
      case "delete":
        if (!isExpected(call, head)) return "conflict";
        await this.#clear();
        return "gone";
    }
  }

  #fields(): [string, string][] {
    const rows = this.#storage.kv.list<Uint8Array>({ prefix: FIELD });
    return Array.from(rows, ([row, value]) => [JSON.parse(row), JSON.parse(utf8Decoder.decode(value))]);
  }

  async #write({ changed, lastSeenAt, lifetime }: Written): Promise<Version> {
    const { kv } = this.#storage;
    const version = crypto.randomUUID();
    this.#storage.transactionSync(() => {
      for (const [name, value] of changed) {
        if (value === null) kv.delete(rowOf(name));
        else kv.put(rowOf(name), bytesOf(value));
      }
      kv.put(HEAD, { version, lastSeenAt } satisfies Head);
    });
    // The core's clock may be another than the engine's: only the time between two instants means the same on both.
    await this.#storage.setAlarm(Date.now() + lifetime);
    return version;
  }

  async #clear(): Promise<void> {
    // Before the compatibility date 2026-02-24, deleteAll leaves the alarm, and with it some storage.
    await Promise.all([this.#storage.deleteAlarm(), this.#storage.deleteAll()]);
  }
}

/** What a write stores. */
interface Written {
  readonly changed: readonly (readonly [string, string | null])[];
  readonly lastSeenAt: number;
  /** In milliseconds. */
  readonly lifetime: number;
}

/** What the store asks of an object. */
type Call =
  | { readonly verb: "load" }
  | ({ readonly verb: "create" } & Written)
  | ({ readonly verb: "change" | "touch" } & Expecting & Written)
  | ({ readonly verb: "delete" } & Expecting);

/** What the caller of a write expects to find, if it expects anything. */
interface Expecting {
  readonly expected?: Version | undefined;
}

function isExpected({ expected }: Expecting, head: Head): boolean {
  return expected === undefined || expected === head.version;
}

/** What an object answers. */
type Answer = Version | "taken" | "conflict" | "gone" | (Head & { readonly fields: [string, string][] });

/** The part of a record that every write replaces. Without it there is no session. */
interface Head {
  readonly version: Version;
  readonly lastSeenAt: number;
}

const HEAD = "head";
/** How the row of a field begins: its name is a JSON string. */
const FIELD = '"';

/** https://developers.cloudflare.com/durable-objects/platform/limits/, less what a row needs beside its text. */
const MAX_BYTES = 2_000_000 - 1_000;

function refuseLarge({ fields }: SessionRecord): void {
  let size = 0;
  for (const [name, value] of fields) size += byteLength(rowOf(name)) + bytesOf(value).length;
  refuseTooLarge("a Durable Object", size, MAX_BYTES);
}

const utf8Encoder = new TextEncoder();
const utf8Decoder = new TextDecoder();

/** As JSON, which has an escape for half a surrogate pair; UTF-8 has no bytes for it. */
function rowOf(name: string): string {
  return JSON.stringify(name);
}

/** Bytes, because a string with a character beyond Latin-1 would be stored with two bytes for each. */
function bytesOf(value: string): Uint8Array {
  return utf8Encoder.encode(JSON.stringify(value));
}
