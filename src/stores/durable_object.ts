/**
 * Sessions in Cloudflare Durable Objects, one object for each session.
 *
 * @module
 */
import { assertKnown } from "../core/known_options.ts";
import { parseRecord, serializeRecord } from "../core/record_text.ts";
import { assertRecordSize, byteLength } from "../core/record_size.ts";
import type { SessionStore } from "../core/store.ts";
import { type Answer, type Call, isAnswer } from "./durable_object/messages.ts";
import {
  type SessionJurisdiction,
  type SessionLocationHint,
  type SessionObjectNamespace,
  within,
} from "./durable_object/namespace.ts";

export type {
  SessionJurisdiction,
  SessionLocationHint,
  SessionObjectNamespace,
  SessionObjectStub,
} from "./durable_object/namespace.ts";
export { SessionObject, type SessionObjectState } from "./durable_object/session_object.ts";

/** Options of {@linkcode durableObjectStore}. */
export interface DurableObjectStoreOptions {
  /** The prefix of every object's name. @default Nothing */
  readonly prefix?: string | undefined;
  /**
   * Where new objects are placed. Cloudflare follows it as far as possible, and an object does not move afterwards.
   *
   * @default Near the request that creates the session
   */
  readonly locationHint?: SessionLocationHint | undefined;
  /** Where objects must stay. Sessions of another jurisdiction are not found. @default Anywhere */
  readonly jurisdiction?: SessionJurisdiction | undefined;
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
 * https://developers.cloudflare.com/durable-objects/platform/limits/, less the bytes that a row needs beside the
 * record.
 */
const MAX_BYTES = 2_000_000 - 1_000;
