import type { Answer, Call, Saving } from "./messages.ts";

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

  // Nothing is awaited between reading the row and writing it, so no other call can come in between.

  async #answer(call: Call): Promise<Answer> {
    const row = this.#storage.kv.get<Row>(ROW);
    switch (call.verb) {
      case "load":
        return row === undefined ? MISSING : { is: "found", version: row.version, text: fromUtf8.decode(row.text) };
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
    this.#storage.kv.put(ROW, { version, endsAt, text: toUtf8.encode(text) } satisfies Row);
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

const toUtf8 = new TextEncoder();
const fromUtf8 = new TextDecoder();
