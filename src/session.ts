import { computeField, removeFields, setField } from "./changes.ts";
import { isTokenOf, maskedToken, tokenIn } from "./csrf.ts";
import type { Draft } from "./draft.ts";
import { SessionError } from "./errors.ts";
import { expiryOf } from "./expiry.ts";
import type { Flash } from "./flash.ts";
import type { Lifecycle, Rules } from "./lifecycle.ts";
import type { Exchange } from "./transports/exchange.ts";
import { dataField, keysOf, type OwnTimeouts } from "./record.ts";
import { byteLength } from "./record_text.ts";
import { assertSubject, type Epoch, handleOf, MOST_DETAILS } from "./roster.ts";
import type { Values } from "./values.ts";

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

/** How {@linkcode Session.bind} ties a session to a user. */
export interface BindOptions {
  /**
   * What changes when the user's credentials do, such as a counter that goes up with each new password. The session lives
   * as long as the option `epochOf` answers the same.
   *
   * @default What the option `epochOf` answers now
   */
  readonly epoch?: Epoch;
}

/** What a session is made of. @internal */
export interface SessionParts {
  /** How a request carries the id; there is none for a session that was opened by its id. */
  readonly exchange: Exchange | undefined;
  readonly life: Lifecycle;
  readonly rules: Rules;
  readonly values: Values;
  readonly flash: Flash;
}

/** What a session that was used is made of, for those who commit it; undefined if nobody has used it. */
export let usedParts: <Data extends object>(session: Session<Data>) => SessionParts | undefined;

/** Records, before storing, what no call has said: objects changed in place, and flash values seen. */
export let gatherChanges: <Data extends object>(session: Session<Data>) => void;

/** Notes that the response is on its way, also for a session that nobody has used yet. */
export let closeSession: <Data extends object>(session: Session<Data>) => void;

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
  #isClosed = false;

  /** Sessions come from `withSession`, or from a `SessionManager`. @internal */
  constructor(open: () => SessionParts) {
    this.#open = open;
  }

  /** The value of a key, or undefined, or `fallback` if that is given. */
  get<Key extends KeyOf<Data>>(key: Key): Promise<Data[Key] | undefined>;
  /** The value of a key, or `fallback`. */
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
    return this.#used.flash.peek(key) !== undefined || this.#draft.fields.has(dataField(key));
  }

  /** All values, in a plain object without a prototype, which is a copy. */
  async all(): Promise<Partial<Data>> {
    const keys = await this.keys();
    const { flash, values } = this.#used;
    values.noticeChanges();
    const all: Partial<Data> = Object.create(null);
    for (const key of keys) {
      const value = values.decode(flash.show(key) ?? this.#draft.fields.get(dataField(key)));
      if (value !== undefined) Object.assign(all, { [key]: value });
    }
    return all;
  }

  /** The keys that have a value. */
  async keys(): Promise<KeyOf<Data>[]> {
    await this.#life.load();
    const keys = new Set([...keysOf(this.#draft.fields, "="), ...this.#used.flash.keys()]);
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
  /** Records several values, as `set(key, value)` does one. */
  set(values: Partial<Data>): void;
  set(keyOrValues: string | Partial<Data>, value?: unknown): void {
    this.#assertWritable();
    const pairs = typeof keyOrValues === "string" ? [[keyOrValues, value] as const] : Object.entries(keyOrValues);
    const { flash, values } = this.#used;
    const texts = pairs.map(([key, value]) => ({ key, value, text: values.encode(key, value) }));
    for (const { key, value, text } of texts) {
      if (text === undefined) {
        this.#remove(key);
        continue;
      }
      flash.yield(key);
      this.#draft.edit(setField(dataField(key), text));
      values.handOut(key, value, text);
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
    this.#draft.edit((fields) => {
      for (const name of fields.keys()) {
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
    const { draft } = this.#life;
    const { flash, values } = this.#used;
    const name = dataField(key);
    const next = async (text: string | undefined): Promise<{ value: Next; text: string | undefined }> => {
      const value = await change(values.decode(text) as Data[Key] | undefined);
      return { value, text: values.encode(key, value) };
    };
    for (;;) {
      values.noticeChanges();
      const before = draft.fields.get(name);
      const { value, text } = await next(before);
      values.noticeChanges();
      // While `change` was awaited, another call of this same request may have written.
      if (draft.fields.get(name) !== before) continue;
      this.#assertWritable();
      flash.yield(key);
      const edit = text === undefined ? removeFields([name]) : setField(name, text);
      draft.record(
        computeField(name, async (fresh) => (await next(fresh)).text),
        edit,
      );
      values.handOut(key, value, text);
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
    this.#used.flash.set(key, this.#used.values.encode(key, value));
  }

  /** Keeps flash values for one more request: those of the keys, or all. */
  keepFlash(...keys: KeyOf<Data>[]): void {
    this.#assertWritable();
    this.#used.flash.keep(keys);
  }

  /**
   * Makes sure that a session exists, even an empty one, and answers its id. Calling it again changes nothing.
   *
   * @throws {SessionError} `ERR_STORE`, `ERR_STORE_TIMEOUT`; `ERR_COMMITTED` if the response was committed and
   * there is no session
   */
  async start(): Promise<string> {
    await this.#begin();
    return (await this.id()) ?? "";
  }

  /**
   * The id, as the client holds it, or null while there is no session. Of a session that this request begins or
   * regenerates, it is the new one. With `cookieStore()` it is the sealed session itself, which is another text after every
   * change; one that is new is sealed by this call.
   *
   * @throws {TypeError} If `generateId` gives something that is no id
   */
  async id(): Promise<string | null> {
    await this.#life.load();
    const { draft } = this.#life;
    if (draft.origin && draft.rotation === undefined) return draft.origin.wire;
    return draft.exists ? await this.#life.nextWire() : null;
  }

  /**
   * Stores now what was recorded; the end of the request then writes only what came after. Afterwards reads show
   * what was stored, with the changes of other requests in it. What is refused (`ERR_SCHEMA`, `ERR_LIMIT`, or too large) is not
   * stored, nor tried again at the end of the request unless something more was recorded.
   *
   * @throws {SessionError} `ERR_SESSION_GONE` if another request has ended or regenerated the session; `ERR_STORE`,
   * `ERR_STORE_TIMEOUT`, `ERR_CONFLICT`, `ERR_SCHEMA`, `ERR_VALUE`, `ERR_RECORD_TOO_LARGE`; `ERR_COMMITTED` if the
   * response was committed and there is no session
   */
  async save(): Promise<void> {
    this.#gather();
    await this.#life.store();
    this.#used.values.reconcile();
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
    await this.#life.idle();
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
    // A save that is still under way would bring back what is to end.
    await this.#life.idle();
    if (this.#draft.committed) throw tooLate("end");
    this.#life.destroy();
    this.#forget();
  }

  /** Pushes the idle deadline out now, without waiting for the touch interval. */
  touch(): void {
    this.#assertWritable();
    this.#draft.touched = true;
  }

  /**
   * A token for the forms and scripts of this session, which a page of another site cannot know. It is another text each
   * time, so that compressed pages give nothing away of it, and worth nothing once the session has a new id. Without a
   * session, one begins.
   *
   * @returns 86 characters of `A-Z a-z 0-9 - _`
   * @throws {SessionError} As {@linkcode Session.start} does
   */
  async csrfToken(): Promise<string> {
    await this.#begin();
    const { origin, rotation } = this.#draft;
    return maskedToken(origin && rotation === undefined ? origin.id : await this.#life.discloseId());
  }

  /**
   * Whether a request, or a token that it brought, proves that it comes from a page of this session. Of a request, the header
   * `X-CSRF-Token` is looked at or, if it has none and its body is a form, the field `csrf-token`; the body is left to be read.
   * The form is read to its end for that, and kept: a large upload is better sent with the header.
   *
   * @throws {TypeError} If the body would have to be looked at, and was read before
   * @throws {SessionError} `ERR_STORE`, `ERR_STORE_TIMEOUT`
   */
  async verifyCsrf(presented: Request | string | null | undefined): Promise<boolean> {
    await this.#life.load();
    const { origin } = this.#draft;
    if (!origin) return false;
    return isTokenOf(origin.id, presented instanceof Request ? await tokenIn(presented) : presented);
  }

  /** What is known of the session's life. */
  async info(): Promise<SessionInfo> {
    await this.#life.load();
    const { draft } = this.#life;
    const { isNew } = draft;
    if (!draft.exists) return { isNew, createdAt: null, lastSeenAt: null, expiresAt: null };
    const now = this.#used.rules.now();
    const { head, lastSeenAt } = draft.origin ?? { head: { createdAt: now, since: now }, lastSeenAt: now };
    const since = draft.rotation?.reauthenticated ? now : head.since;
    const timeouts = this.#used.rules.timeoutsOf({ ...head, timeouts: { ...head.timeouts, ...draft.timeouts } });
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

  /**
   * Ties the session to a user, for it to be listed and ended by `sessions.list`, `revoke` and `revokeAll`. To be called at
   * login, beside `regenerate`; it takes effect when the session is stored. Without a session, one begins. Bound to another
   * user before, it belongs to this one alone.
   *
   * @param subject The user, in any text that names them for good: an account's number, not a name that may be changed
   * @param details What `list` is to show of the session, such as a browser's name: any value that a session takes, of at
   * most 2048 bytes when encoded
   * @throws {TypeError} If `subject` is no text, or sessions are kept by `cookieStore()`
   * @throws {SessionError} `ERR_VALUE` if the details cannot be encoded or are too large; `ERR_COMMITTED` as for
   * {@linkcode Session.set}; when it takes effect, `ERR_LIMIT` if the user has as many sessions as `perSubject` allows
   *
   * @example
   * ```ts
   * import { SessionManager, withSession } from "with-session";
   *
   * const sessions = new SessionManager();
   * export const handler = withSession(async (request, session) => {
   *   await session.regenerate();
   *   await session.bind("user-1815", { browser: request.headers.get("User-Agent") });
   *   return new Response("Welcome");
   * }, sessions);
   * ```
   */
  async bind(subject: string, details?: unknown, options: BindOptions = {}): Promise<void> {
    assertSubject(subject);
    await this.#life.load();
    this.#assertWritable();
    const text = details === undefined ? undefined : this.#used.values.encode("details", details);
    if (text !== undefined && byteLength(text) > MOST_DETAILS) {
      throw new SessionError(
        "ERR_VALUE",
        `Cannot bind the session: its details are ${byteLength(text)} bytes, the most is ${MOST_DETAILS}`,
      );
    }
    const known = await this.#life.epochFor(subject);
    this.#assertWritable();
    this.#draft.started ||= !this.#draft.origin;
    this.#draft.bind({ subject, details: text, epoch: options.epoch ?? known });
  }

  /**
   * Unties the session from its user: it lives on, and is no longer listed.
   *
   * @throws {SessionError} `ERR_COMMITTED` as for {@linkcode Session.set}
   */
  async unbind(): Promise<void> {
    await this.#life.load();
    this.#assertWritable();
    const { binding, origin } = this.#draft;
    if (binding || origin?.head.bound) this.#draft.bind(null);
  }

  /**
   * What names this session in `sessions.list`, so that a page can mark "this browser". It stays the same when the id
   * changes, and is no id. Null as long as no binding is stored.
   */
  async handle(): Promise<string | null> {
    await this.#life.load();
    const bound = this.#draft.origin?.head.bound;
    return bound === undefined ? null : handleOf(bound);
  }

  get #used(): SessionParts {
    if (this.#parts === undefined) {
      this.#parts = this.#open();
      this.#parts.life.draft.committed = this.#isClosed;
    }
    return this.#parts;
  }

  get #life(): Lifecycle {
    return this.#used.life;
  }

  get #draft(): Draft {
    return this.#used.life.draft;
  }

  async #begin(): Promise<void> {
    await this.#life.load();
    this.#assertWritable();
    if (this.#draft.origin === null) this.#draft.started = true;
  }

  #read(key: string): unknown {
    const { flash, values } = this.#used;
    const shown = flash.show(key);
    return shown === undefined ? values.get(key) : values.decode(shown);
  }

  #remove(key: string): void {
    const { flash, values } = this.#used;
    values.forget(key);
    flash.remove(key);
    this.#draft.edit(removeFields([dataField(key)]));
  }

  #forget(): void {
    this.#used.values.forget();
    this.#used.flash.forget();
  }

  #gather(): void {
    this.#used.values.noticeChanges();
    this.#used.flash.settle();
  }

  #assertWritable(): void {
    const { draft } = this.#life;
    if (!draft.committed || draft.origin) return;
    if (draft.origin === null || this.#life.presented === null) throw tooLate("begin");
  }

  static {
    usedParts = (session) => session.#parts;
    gatherChanges = (session) => session.#gather();
    closeSession = (session) => {
      session.#isClosed = true;
      if (session.#parts !== undefined) session.#parts.life.draft.committed = true;
    };
  }
}

function tooLate(action: string): SessionError {
  return new SessionError(
    "ERR_COMMITTED",
    `Cannot ${action} a session: the response is already on its way to the client; was every call awaited?`,
  );
}

function assertTimeouts({ idle, absolute, cookie }: OwnTimeouts): void {
  const isDuration = (value: unknown): boolean => Number.isFinite(value) && Number(value) > 0;
  const mistake =
    idle !== undefined && !isDuration(idle)
      ? "idle"
      : absolute !== undefined && absolute !== false && !isDuration(absolute)
        ? "absolute"
        : cookie !== undefined && cookie !== null && !isDuration(cookie)
          ? "cookie"
          : undefined;
  if (mistake !== undefined)
    throw new RangeError(`Cannot set timeouts: ${mistake} must be a positive number of seconds`);
}
