import type { ActiveSession, SessionSource } from "./active_session.ts";
import { ambiguousCookie, responseSent } from "../errors.ts";
import { isObject, kindOf } from "../kind_of.ts";
import { assertDuration } from "../options/simple_checks.ts";
import { infoOf } from "./session_info.ts";
import { chain, isPromise, type MaybePromise } from "../maybe_promise.ts";
import type { OwnTimeouts } from "../metadata.ts";
import { tokenOf } from "./session_token.ts";
import { assertCallOptions, assertTimeouts, assertValueGiven, clearingWords, endOfValue } from "./session_arguments.ts";
import type { DestroyOptions, KeyOf, RegenerateOptions, Session, SessionInfo, ValueOptions } from "../session.ts";
import { INTERNALS, type SessionInternals } from "../session_internals.ts";
import { begin } from "../commit/create.ts";
import { type Activate, LazySession } from "./lazy_session.ts";
import { protectPrototype } from "./session_prototype.ts";
import { keysOf, loadToRead, pull, read, remove, set, setAll } from "./session_values.ts";
import { updateKey } from "../commit/update_key.ts";
import { CLEAR } from "../values.ts";

/** The session that handlers get. It holds no state. */
export class SessionHandle<Data extends object> implements Session<Data> {
  readonly #lazy: LazySession;

  constructor(source: SessionSource, activate: Activate) {
    this.#lazy = new LazySession(this, source, activate);
  }

  get<Key extends KeyOf<Data>>(key: Key): Promise<Data[Key] | undefined>;
  get<Key extends KeyOf<Data>>(
    key: Key,
    fallback: Exclude<Data[Key], undefined>,
  ): Promise<Exclude<Data[Key], undefined>>;
  get<Key extends KeyOf<Data>, Fallback>(
    key: Key,
    fallback: Fallback,
  ): Promise<Exclude<Data[Key], undefined> | Fallback>;
  async get(key: string, fallback?: unknown): Promise<unknown> {
    const active = this.#lazy.activate();
    const loading = loadToRead(active);
    if (loading !== undefined) await loading;
    return read(active, key, fallback);
  }

  async has(key: KeyOf<Data>): Promise<boolean> {
    const active = await this.#loaded();
    active.values.detectChanges();
    return active.flash.peek(key) !== undefined || active.values.text(key) !== undefined;
  }

  async all(): Promise<Partial<Data>> {
    const active = await this.#loaded();
    const all: Record<string, unknown> = Object.create(null);
    for (const key of keysOf(active)) {
      const text = active.flash.show(key) ?? active.values.text(key);
      const value = text === undefined ? undefined : active.values.decode(text);
      if (value !== undefined) all[key] = value;
    }
    return all as Partial<Data>;
  }

  async keys(): Promise<KeyOf<Data>[]> {
    return [...keysOf(await this.#loaded())] as KeyOf<Data>[];
  }

  async size(): Promise<number> {
    return keysOf(await this.#loaded()).size;
  }

  set<Key extends KeyOf<Data>>(key: Key, value: Data[Key] | undefined, options?: ValueOptions): void;
  set(values: Partial<Data>, options?: ValueOptions): void;
  set(keyOrValues: string | Partial<Data>, valueOrOptions?: unknown, options?: ValueOptions): void {
    const active = this.#writable;
    const isOne = typeof keyOrValues === "string";
    // For a list, a Map or a promise, `Object.entries` gives indices or nothing.
    if (!isOne && Object.prototype.toString.call(keyOrValues) !== "[object Object]") {
      throw new TypeError(
        `session.set takes a key and a value, or an object of values; it was given ${kindOf(keyOrValues)}`,
      );
    }
    if (isOne) assertValueGiven(arguments.length, "session.set");
    const endsAt = endOfValue(isOne ? options : valueOrOptions, "session.set", active.policy);
    if (isOne) set(active, keyOrValues, valueOrOptions, endsAt);
    else setAll(active, keyOrValues, endsAt);
    active.storeIfLate();
  }

  delete(...keys: KeyOf<Data>[]): void {
    const active = this.#writable;
    for (const key of keys) remove(active, key);
    active.storeIfLate();
  }

  clear(): void {
    const active = this.#writable;
    active.values.untrack();
    active.flash.reset();
    active.copy.record(CLEAR);
    active.storeIfLate();
  }

  update<Key extends KeyOf<Data>, Next extends Data[Key] | undefined>(
    key: Key,
    change: (value: Data[Key] | undefined) => Next | Promise<Next>,
    options?: undefined,
  ): Promise<Next> {
    return this.#call((active) => {
      if (typeof change !== "function") throw new TypeError("session.update takes a key and a function of its value");
      // A `ttl`, as `set` takes it, would be lost silently.
      if (options !== undefined)
        throw new TypeError("session.update takes no options: a ttl that session.set has given is kept");
      return chain(active.load(), () => {
        active.assertWritable();
        return updateKey(active, key, change as (value: unknown) => unknown) as MaybePromise<Next>;
      });
    });
  }

  pull<Key extends KeyOf<Data>>(key: Key): Promise<Data[Key] | undefined> {
    return this.#call((active) => pull(active, key) as Promise<Data[Key] | undefined>);
  }

  flash<Key extends KeyOf<Data>>(key: Key, value: Data[Key], options?: ValueOptions): void {
    const active = this.#writable;
    assertValueGiven(arguments.length, "session.flash");
    const endsAt = endOfValue(options, "session.flash", active.policy);
    active.flash.set(key, active.values.encode(key, value), endsAt);
    active.storeIfLate();
  }

  keepFlash(...keys: KeyOf<Data>[]): void {
    const active = this.#writable;
    active.flash.keep(keys);
    active.storeIfLate();
  }

  create(): Promise<string | null> {
    return this.#call(async (active) => {
      if (active.isSent) throw responseSent("begin");
      await begin(active);
      return await tokenOf(active);
    });
  }

  async id(): Promise<string | null> {
    return await tokenOf(await this.#loaded());
  }

  save(callback?: never): Promise<void> {
    return this.#call((active) => {
      if (callback !== undefined) throw new TypeError("session.save takes no callback: await it");
      active.detectChanges();
      return chain(active.save(), () => active.values.dropStale());
    });
  }

  regenerate(options: RegenerateOptions = {}): Promise<void> {
    return this.#call((active) => {
      assertCallOptions(options, ["grace", "reauthenticated"], "session.regenerate");
      const { grace = 0, reauthenticated = false } = options;
      assertDuration("session.regenerate: grace", grace, 0);
      return active.betweenCommits(() => {
        if (active.isSent) throw responseSent("regenerate");
        active.isAuthenticated = true;
        if (active.copy.base) return active.copy.rotate({ grace, reauthenticated, untilUsed: false });
        // A session that begins in this request gets a new id anyway.
        const now = active.policy.now();
        if (reauthenticated) active.copy.recordMetadata((metadata) => ({ ...metadata, authenticatedAt: now }));
      });
    });
  }

  destroy(options: DestroyOptions = {}): Promise<void> {
    return this.#call((active) => {
      assertCallOptions(options, ["clearSiteData"], "session.destroy");
      const words = clearingWords(options.clearSiteData ?? false);
      // A save that is still under way would make the ended session the base again.
      const ending = active.betweenCommits(() => {
        if (active.isSent) throw responseSent("end");
        if (active.rejected === "ambiguous") throw ambiguousCookie();
        active.destroy();
        active.clearSiteData = words;
      });
      // Without a request, nothing else stores the logout.
      return active.request === undefined ? chain(ending, () => active.save()) : ending;
    });
  }

  touch(): void {
    const active = this.#writable;
    active.copy.touch();
    active.storeIfLate();
  }

  async info(): Promise<SessionInfo> {
    return infoOf(await this.#loaded());
  }

  setTimeouts(timeouts: OwnTimeouts): void {
    const active = this.#writable;
    assertTimeouts(timeouts);
    active.copy.setTimeouts(timeouts);
    active.storeIfLate();
  }

  /** The state behind a session. A session that another copy of this package made belongs to a manager of that copy. */
  static lazyOf(session: object): LazySession {
    if (isObject(session) && #lazy in session) return session.#lazy;
    throw new TypeError("Expected a Session that this SessionManager has made");
  }

  static {
    Object.defineProperty(this.prototype, INTERNALS, {
      get(this: SessionHandle<object>): SessionInternals {
        return this.#lazy.activate();
      },
    });
    protectPrototype(this.prototype);
  }

  get #writable(): ActiveSession {
    const active = this.#lazy.activate();
    active.assertWritable();
    return active;
  }

  async #loaded(): Promise<ActiveSession> {
    const active = this.#lazy.activate();
    const loading = loadToRead(active);
    if (loading !== undefined) await loading;
    return active;
  }

  /** Runs a call. The end of the request waits for it, even if the handler does not await it. */
  #call<T>(task: (active: ActiveSession) => MaybePromise<T>): Promise<T> {
    const active = this.#lazy.activate();
    try {
      const result = task(active);
      return isPromise(result) ? active.calls.track(Promise.resolve(result)) : Promise.resolve(result);
    } catch (error) {
      return Promise.reject(error);
    }
  }
}
