import { computeField, type Edit, removeFields, removeIfStill, setField } from "./changes.ts";
import type { Codec } from "./codec.ts";
import { SessionError } from "./errors.ts";
import { expiryOf } from "./expiry.ts";
import type { Lifecycle, Rules } from "./lifecycle.ts";
import { dataField, flashField, keysOf, type OwnTimeouts } from "./record.ts";

/**
 * What the data look like when nothing says so. `unknown` would ask a cast of every line of untyped code, in
 * which `update("visits", (n = 0) => n + 1)` is to compile.
 */
// oxlint-disable-next-line no-explicit-any
export type UntypedData = Record<string, any>;

/** The keys of the data that are text. */
export type KeyOf<Data extends object> = keyof Data & string;

/** What is known of a session's life; instants in epoch milliseconds, null where there is no session. */
export interface SessionInfo {
  /** Whether the client came without a live session. */
  readonly isNew: boolean;
  /** When the session began. */
  readonly createdAt: number | null;
  /** When it was last used, exact to the touch interval. */
  readonly lastSeenAt: number | null;
  /** When it ends, if it is not used any more. */
  readonly expiresAt: number | null;
}

/** How {@linkcode Session.regenerate} renews the id. */
export interface RegenerateOptions {
  /**
   * How long, in seconds, the old id still leads to the session, for requests that are under way.
   *
   * @default {0}
   */
  readonly grace?: number;
  /**
   * Whether the user has just proven who they are: the absolute timeout begins anew.
   *
   * @default {false}
   */
  readonly reauthenticated?: boolean;
}

/** What a session is made of. @internal */
export interface SessionParts {
  readonly life: Lifecycle;
  readonly rules: Rules;
  readonly codec: Codec;
}

let lifeOf: <Data extends object>(session: Session<Data>) => Lifecycle | undefined;
let gather: <Data extends object>(session: Session<Data>) => void;

/**
 * A session, as a handler holds it: a small typed map that is loaded when it is first asked, and stored, if it
 * was changed, when the handler is done.
 *
 * @example
 * ```ts
 * import { withSession } from "with-session";
 *
 * const handler = withSession(async (_request, session) => {
 *   const visits = await session.update("visits", (n = 0) => n + 1);
 *   return new Response(`Visit ${visits}\n`);
 * });
 * ```
 */
export class Session<Data extends object = UntypedData> {
  readonly #open: () => SessionParts;
  #parts: SessionParts | undefined;
  /** Objects that were handed out, with the text that they had: one changed in place is found by comparing. */
  readonly #handedOut: Map<string, { readonly value: object; readonly text: string }> = new Map();
  /** Flash values that this request has been shown, by key. */
  readonly #shown: Map<string, string> = new Map();
  /** Flash values shown and not yet removed from the record. */
  readonly #consumed: Set<string> = new Set();
  /** Flash values that this request has set: they are for a later one. */
  readonly #flashed: Set<string> = new Set();
  readonly #kept: Set<string> = new Set();
  #keepsAllFlash = false;

  /** Sessions come from `withSession`, or from a `SessionManager`. @internal */
  constructor(open: () => SessionParts) {
    this.#open = open;
  }

  /** The value of a key, or undefined, or `fallback` if that is given. */
  get<Key extends KeyOf<Data>>(key: Key): Promise<Data[Key] | undefined>;
  get<Key extends KeyOf<Data>, Fallback>(
    key: Key,
    fallback: Fallback,
  ): Promise<Exclude<Data[Key], undefined> | Fallback>;
  async get(key: string, fallback?: unknown): Promise<unknown> {
    await this.#life.load();
    const value = this.#read(key);
    return value === undefined ? fallback : value;
  }

  /** Whether a key has a value. */
  async has(key: KeyOf<Data>): Promise<boolean> {
    await this.#life.load();
    return this.#flashOf(key) !== undefined || this.#fields.has(dataField(key));
  }

  /** All values, in a plain object without a prototype, which is a copy. */
  async all(): Promise<Partial<Data>> {
    const keys = await this.keys();
    this.#noticeChangedObjects();
    const all: Partial<Data> = Object.create(null);
    for (const key of keys) {
      const flash = this.#showFlash(key);
      const value = this.#decode(flash ?? this.#fields.get(dataField(key)));
      if (value !== undefined) Object.assign(all, { [key]: value });
    }
    return all;
  }

  /** The keys that have a value. */
  async keys(): Promise<KeyOf<Data>[]> {
    await this.#life.load();
    const keys = new Set(keysOf(this.#fields, "="));
    for (const key of keysOf(this.#fields, "~")) {
      if (this.#flashOf(key) !== undefined) keys.add(key);
    }
    for (const key of this.#shown.keys()) keys.add(key);
    return [...keys] as KeyOf<Data>[];
  }

  /** How many keys have a value. */
  async size(): Promise<number> {
    return (await this.keys()).length;
  }

  /**
   * Records a value, or several; `undefined` deletes. They are stored, together, when the handler is done.
   *
   * @throws {SessionError} `ERR_VALUE` if a value cannot be encoded: nothing is recorded then. `ERR_COMMITTED`
   * if the response was committed and there is no session.
   */
  set<Key extends KeyOf<Data>>(key: Key, value: Data[Key] | undefined): void;
  set(values: Partial<Data>): void;
  set(keyOrValues: string | Partial<Data>, value?: unknown): void {
    this.#assertWritable();
    const values = typeof keyOrValues === "string" ? [[keyOrValues, value] as const] : Object.entries(keyOrValues);
    const texts = values.map(([key, value]) => ({ key, value, text: this.#encode(key, value) }));
    for (const { key, value, text } of texts) {
      if (text === undefined) {
        this.#remove(key);
        continue;
      }
      this.#replaceFlash(key);
      this.#edit(setField(dataField(key), text));
      this.#handOut(key, value, text);
    }
  }

  /**
   * Drops keys.
   *
   * @throws {SessionError} `ERR_COMMITTED` as for {@linkcode Session.set}
   */
  delete(...keys: KeyOf<Data>[]): void {
    this.#assertWritable();
    for (const key of keys) this.#remove(key);
  }

  /**
   * Drops every key; the session lives on.
   *
   * @throws {SessionError} `ERR_COMMITTED` as for {@linkcode Session.set}
   */
  clear(): void {
    this.#assertWritable();
    this.#forget();
    this.#edit((fields) => {
      for (const name of [...fields.keys()]) {
        if (name.startsWith("=") || name.startsWith("~")) fields.delete(name);
      }
    });
  }

  /**
   * Reads, modifies and writes one value as one step, however many requests do so at once: if another one got in
   * between, `change` runs again on the value that it left. So it must have no other effects; it may be async.
   *
   * @returns The new value, as of this call. What was finally stored, `get` tells after `await session.save()`.
   * @throws {SessionError} `ERR_VALUE` if the new value cannot be encoded; `ERR_STORE`, `ERR_STORE_TIMEOUT`;
   * `ERR_COMMITTED` as for {@linkcode Session.set}
   */
  async update<Key extends KeyOf<Data>, Next extends Data[Key] | undefined>(
    key: Key,
    change: (value: Data[Key] | undefined) => Next | Promise<Next>,
  ): Promise<Next> {
    await this.#life.load();
    this.#assertWritable();
    const name = dataField(key);
    for (;;) {
      this.#noticeChangedObjects();
      const before = this.#fields.get(name);
      const value = await change(this.#decode(before) as Data[Key] | undefined);
      const text = this.#encode(key, value);
      // While `change` was awaited, another call of this same request may have written.
      this.#noticeChangedObjects();
      if (this.#fields.get(name) !== before) continue;
      const compute = async (fresh: string | undefined): Promise<string | undefined> =>
        this.#encode(key, await change(this.#decode(fresh) as Data[Key] | undefined));
      this.#replaceFlash(key);
      const edit = text === undefined ? removeFields([name]) : setField(name, text);
      this.#life.draft.record(computeField(name, compute), edit);
      this.#handOut(key, value, text);
      return value;
    }
  }

  /** Reads a value and drops its key. */
  async pull<Key extends KeyOf<Data>>(key: Key): Promise<Data[Key] | undefined> {
    await this.#life.load();
    this.#assertWritable();
    const value = this.#read(key) as Data[Key] | undefined;
    this.#remove(key);
    return value;
  }

  /**
   * Records a value for one later request: the first that reads it by `get`, `pull` or `all` sees it, and after
   * that request it is gone. This request does not see it.
   *
   * @throws {SessionError} `ERR_VALUE`, `ERR_COMMITTED` as for {@linkcode Session.set}
   */
  flash<Key extends KeyOf<Data>>(key: Key, value: Data[Key]): void {
    this.#assertWritable();
    const text = this.#encode(key, value);
    if (text === undefined) return this.#edit(removeFields([flashField(key)]));
    this.#flashed.add(key);
    this.#edit(setField(flashField(key), text));
  }

  /** Keeps flash values for one more request: those of the keys, or all. */
  keepFlash(...keys: KeyOf<Data>[]): void {
    this.#assertWritable();
    const isKept = (key: string): boolean => keys.length === 0 || keys.some((kept) => kept === key);
    if (keys.length === 0) this.#keepsAllFlash = true;
    for (const key of keys) this.#kept.add(key);
    for (const [key, text] of this.#shown) {
      if (!isKept(key) || this.#flashed.has(key)) continue;
      // What save() has already removed comes back.
      if (!this.#consumed.delete(key)) this.#edit(setField(flashField(key), text));
    }
  }

  /**
   * Makes sure that a session exists, even an empty one, and answers its id. Calling it again changes nothing.
   *
   * @throws {SessionError} `ERR_STORE`, `ERR_STORE_TIMEOUT`; `ERR_COMMITTED` if the response was committed and
   * there is no session
   */
  async start(): Promise<string> {
    await this.#life.load();
    this.#assertWritable();
    if (this.#life.draft.origin === null) this.#life.draft.started = true;
    return await this.id() ?? "";
  }

  /**
   * The id, as the client holds it, or null while there is no session. Of a session that this request begins or
   * regenerates, it is the new one.
   *
   * @throws {TypeError} If `generateId` gives something that is no id
   */
  async id(): Promise<string | null> {
    await this.#life.load();
    const { draft } = this.#life;
    if (draft.origin && draft.rotation === undefined) return draft.origin.wire;
    if (!draft.exists) return null;
    const id = await this.#life.nextId();
    draft.nextIdDisclosed = true;
    return id;
  }

  /**
   * Stores now what was recorded; the end of the request then writes only what came after. Afterwards reads show
   * what was stored, with the changes of other requests in it.
   *
   * @throws {SessionError} `ERR_SESSION_GONE` if another request has ended or regenerated the session; `ERR_STORE`,
   * `ERR_STORE_TIMEOUT`, `ERR_CONFLICT`, `ERR_SCHEMA`, `ERR_VALUE`, `ERR_RECORD_TOO_LARGE`; `ERR_COMMITTED` if the
   * response was committed and there is no session
   */
  async save(): Promise<void> {
    this.#gather();
    await this.#life.store();
    this.#reconcile();
  }

  /**
   * Gives the session a new id and keeps its data: to be called at login, and whenever rights change, so that an
   * id that somebody planted or saw is worth nothing. Without a session it does nothing. It takes effect when the
   * session is stored.
   *
   * @throws {RangeError} If `grace` is no duration in seconds
   * @throws {SessionError} `ERR_COMMITTED` if the response was committed; `ERR_STORE`, `ERR_STORE_TIMEOUT`
   */
  async regenerate(options: RegenerateOptions = {}): Promise<void> {
    const { grace = 0, reauthenticated = false } = options;
    if (!(Number.isFinite(grace) && grace >= 0)) {
      throw new RangeError("Cannot regenerate the session: grace must be a number of seconds, 0 or more");
    }
    await this.#life.load();
    const { draft } = this.#life;
    if (draft.committed) throw tooLate("regenerate");
    if (!draft.origin) return;
    const before = draft.rotation;
    draft.rotation = { grace, reauthenticated: reauthenticated || before?.reauthenticated === true };
  }

  /**
   * Ends the session: its record is deleted, and the client's cookie expired. What is set afterwards begins a new
   * session under a new id.
   *
   * @throws {SessionError} `ERR_COMMITTED` if the response was committed; `ERR_STORE`, `ERR_STORE_TIMEOUT`
   */
  async destroy(): Promise<void> {
    await this.#life.load();
    const { draft, presented } = this.#life;
    if (draft.committed) throw tooLate("end");
    draft.destroy(presented ?? null);
    this.#forget();
    this.#flashed.clear();
  }

  /** Pushes the idle deadline out now, without waiting for the touch interval. */
  touch(): void {
    this.#assertWritable();
    this.#life.draft.touched = true;
  }

  /** What is known of the session's life. */
  async info(): Promise<SessionInfo> {
    await this.#life.load();
    const { draft } = this.#life;
    const { isNew } = draft;
    if (!draft.exists) return { isNew, createdAt: null, lastSeenAt: null, expiresAt: null };
    const now = this.#rules.now();
    const { head, lastSeenAt } = draft.origin ?? { head: { createdAt: now, since: now }, lastSeenAt: now };
    const since = draft.rotation?.reauthenticated ? now : head.since;
    const timeouts = this.#rules.timeoutsOf({ ...head, timeouts: { ...head.timeouts, ...draft.timeouts } });
    const seen = this.#life.isTouchDue() ? now : lastSeenAt;
    const expiresAt = expiryOf({ since, lastSeenAt: seen }, timeouts);
    return { isNew, createdAt: head.createdAt, lastSeenAt, expiresAt };
  }

  /**
   * Gives this session timeouts of its own, in seconds: "remember me". They last until they are set again.
   *
   * @throws {RangeError} If one of them is no duration in seconds
   */
  setTimeouts(timeouts: OwnTimeouts): void {
    this.#assertWritable();
    assertTimeouts(timeouts);
    const { draft } = this.#life;
    draft.timeouts = { ...draft.timeouts, ...timeouts };
  }

  get #used(): SessionParts {
    return this.#parts ??= this.#open();
  }

  get #life(): Lifecycle {
    return this.#used.life;
  }

  get #rules(): Rules {
    return this.#used.rules;
  }

  get #fields(): ReadonlyMap<string, string> {
    return this.#life.draft.fields;
  }

  #edit(edit: Edit): void {
    this.#life.draft.edit(edit);
  }

  #read(key: string): unknown {
    const flash = this.#showFlash(key);
    if (flash !== undefined) return this.#decode(flash);
    const text = this.#fields.get(dataField(key));
    const handedOut = this.#handedOut.get(key);
    if (handedOut !== undefined || text === undefined) return handedOut?.value;
    const value = this.#decode(text);
    this.#handOut(key, value, text);
    return value;
  }

  #decode(text: string | undefined): unknown {
    if (text === undefined) return undefined;
    try {
      return this.#used.codec.decode(text);
    } catch {
      // A field that some other program spoiled must not fail every request until the session ends.
      this.#rules.emit({ type: "rejected", reason: "corrupt" });
      return undefined;
    }
  }

  #encode(key: string, value: unknown): string | undefined {
    if (value === undefined) return undefined;
    try {
      return this.#used.codec.encode(value);
    } catch {
      // The cause would hold the value.
      throw new SessionError(
        "ERR_VALUE",
        `Cannot store ${JSON.stringify(key)}: its value holds a function, a symbol or an instance of a class`,
      );
    }
  }

  #handOut(key: string, value: unknown, text: string | undefined): void {
    if (typeof value === "object" && value !== null && text !== undefined) {
      this.#handedOut.set(key, { value, text });
    } else {
      this.#handedOut.delete(key);
    }
  }

  #remove(key: string): void {
    this.#handedOut.delete(key);
    this.#shown.delete(key);
    this.#consumed.delete(key);
    this.#flashed.delete(key);
    this.#edit(removeFields([dataField(key), flashField(key)]));
  }

  /** The flash value that this request may see. */
  #flashOf(key: string): string | undefined {
    return this.#shown.get(key) ?? (this.#flashed.has(key) ? undefined : this.#fields.get(flashField(key)));
  }

  #showFlash(key: string): string | undefined {
    const text = this.#flashOf(key);
    if (text === undefined || this.#shown.has(key)) return text;
    this.#shown.set(key, text);
    if (!this.#keepsAllFlash && !this.#kept.has(key)) this.#consumed.add(key);
    return text;
  }

  /** A value that is written takes the place of a flash value of the same key, but not of one for later. */
  #replaceFlash(key: string): void {
    this.#shown.delete(key);
    this.#consumed.delete(key);
    if (!this.#flashed.has(key)) this.#edit(removeFields([flashField(key)]));
  }

  #forget(): void {
    this.#handedOut.clear();
    this.#shown.clear();
    this.#consumed.clear();
    this.#flashed.clear();
  }

  /** Records, before storing, what no call has said: objects changed in place, and flash values seen. */
  #gather(): void {
    this.#noticeChangedObjects();
    for (const key of this.#consumed) {
      const text = this.#shown.get(key);
      if (text !== undefined && !this.#flashed.has(key)) this.#edit(removeIfStill(flashField(key), text));
    }
    this.#consumed.clear();
  }

  #noticeChangedObjects(): void {
    for (const [key, { value, text }] of this.#handedOut) {
      const now = this.#encode(key, value);
      // A stored text may be another spelling of the same value, written by another program.
      if (now === undefined || now === text || now === this.#encode(key, this.#decode(text))) continue;
      this.#edit(setField(dataField(key), now));
      this.#handedOut.set(key, { value, text: now });
    }
  }

  /** Forgets the objects that no longer are what is stored, because another request's change was merged in. */
  #reconcile(): void {
    for (const [key, { text }] of this.#handedOut) {
      if (this.#fields.get(dataField(key)) !== text) this.#handedOut.delete(key);
    }
  }

  #assertWritable(): void {
    const { draft, presented } = this.#life;
    if (!draft.committed || draft.origin) return;
    if (draft.origin === null || presented === null) throw tooLate("begin");
  }

  static {
    lifeOf = (session) => session.#parts?.life;
    gather = (session) => session.#gather();
  }
}

/** The life of a session that was used, for those who commit it. */
export function usedLife<Data extends object>(session: Session<Data>): Lifecycle | undefined {
  return lifeOf(session);
}

/** Stores a session at the end of its request; nothing if the request only looked, or could not even do that. */
export async function storeGathered<Data extends object>(session: Session<Data>, life: Lifecycle): Promise<void> {
  gather(session);
  if (life.draft.isPending || life.draft.origin) await life.store();
}

function tooLate(action: string): SessionError {
  return new SessionError(
    "ERR_COMMITTED",
    `Cannot ${action} a session: the response is already on its way to the client`,
  );
}

function assertTimeouts({ idle, absolute, cookie }: OwnTimeouts): void {
  const isDuration = (value: unknown): boolean => Number.isFinite(value) && Number(value) > 0;
  const mistake = idle !== undefined && !isDuration(idle) ? "idle" :
    absolute !== undefined && absolute !== false && !isDuration(absolute) ? "absolute" :
    cookie !== undefined && cookie !== null && !isDuration(cookie) ? "cookie" : undefined;
  if (mistake !== undefined) throw new RangeError(`Cannot set timeouts: ${mistake} must be a positive number of seconds`);
}
