import type { Codec } from "./codec.ts";
import { Companion } from "./companion.ts";
import { CompanionVault } from "./companion_vault.ts";
import { withoutSecrets } from "./deadline.ts";
import { SessionError } from "./errors.ts";
import { Flash } from "./flash.ts";
import { forbidden, isCrossOrigin } from "./guard.ts";
import { Lifecycle, type Rules, type Surroundings, unlisted } from "./lifecycle.ts";
import { quiet } from "./observe.ts";
import {
  assertSealable,
  type Place,
  resolveOptions,
  type SessionOptions,
  type Settings,
  timeoutsFor,
} from "./options.ts";
import type { Head } from "./record.ts";
import { assertSubject, markOf, Roster } from "./roster.ts";
import { admit, approve } from "./schema.ts";
import { keepPrivate, withHeaders, withPrivacy } from "./response.ts";
import { closeSession, gatherChanges, Session, type SessionParts, type UntypedData, usedParts } from "./session.ts";
import type { SessionStore } from "./store.ts";
import { StoreVault } from "./store_vault.ts";
import { Exchange } from "./transports/exchange.ts";
import { Values } from "./values.ts";
import { SealedSessions, type Vault, vaultOf } from "./vault.ts";

/** Keeps the process alive until a promise is settled, as the platforms' `waitUntil` does. */
export type WaitUntil = (promise: Promise<unknown>) => void;

/**
 * The session of a request that begins anew, whatever this very Request was used for before. Who shares the manager finds
 * it by the request.
 */
export let beginSession: <Data extends object>(
  sessions: SessionManager<Data>,
  request: Request,
  rest: readonly unknown[],
  isShared: boolean,
) => Session<Data>;

/** Stores the session of a request that is done, and lets its response say so: the very same one if nobody used it. */
export let finishSession: <Data extends object>(
  sessions: SessionManager<Data>,
  session: Session<Data>,
  response: Response,
  waitUntil: WaitUntil | undefined,
) => Promise<Response>;

/**
 * The cookies of sessions that meet in one request, those of these sessions among them.
 *
 * @throws {TypeError} If other sessions have the very cookie: both would be one and the same, or overwrite each other's id
 */
export let claimCookie: <Data extends object>(
  sessions: SessionManager<Data>,
  claimed: readonly string[] | undefined,
) => readonly string[];

/** Whether requests of other sites may be turned away. */
export let isGuarded: <Data extends object>(sessions: SessionManager<Data>) => boolean;

/** The answer to a request that the guard turns away, in place of the handler's. */
export let refusalOf: <Data extends object>(
  sessions: SessionManager<Data>,
  request: Request,
) => Promise<Response | undefined>;

/** One session of a user, as {@linkcode SessionManager.list} shows it; instants in epoch milliseconds. */
export interface ListedSession {
  /** Names the session, however often its id changes, and is no id: it can be shown on a page. */
  readonly handle: string;
  /** When the session began. */
  readonly createdAt: number;
  /** When it was last used, exact to the touch interval. */
  readonly lastSeenAt: number;
  /** What `bind` was told beside the user; undefined if that was nothing. */
  // oxlint-disable-next-line no-explicit-any -- as for untyped data: only the caller of `bind` knows
  readonly details: any;
}

/** What {@linkcode SessionManager.revokeAll} is to leave alone. */
export interface RevokeAllOptions<Data extends object = UntypedData> {
  /** A session that stays. */
  readonly except?: Session<Data> | undefined;
}

/** Whether sessions are to be loaded before the handler runs. */
export let isEager: <Data extends object>(sessions: SessionManager<Data>) => boolean;

/**
 * The sessions of one application, without a wrapper: for a WebSocket, a queue or a cron job, where there is no
 * request, and for frameworks that answer in another way. One manager serves a whole process.
 *
 * @example A session by hand: start, modify, persist
 * ```ts
 * import { SessionManager } from "with-session";
 *
 * const sessions = new SessionManager<{ user?: string }>();
 *
 * export async function handler(request: Request): Promise<Response> {
 *   const session = sessions.start(request);
 *   session.set("user", "ada");
 *   await session.save();
 *   return new Response("Hello", { headers: await sessions.commit(session) });
 * }
 * ```
 */
export class SessionManager<Data extends object = UntypedData> {
  readonly #settings: Settings;
  readonly #rules: Rules;
  readonly #sessions: WeakMap<Request, Session<Data>> = new WeakMap();
  /** The vault of all sessions, unless what a runtime passes beside the request decides on the store. */
  readonly #vault: StoreVault | undefined;

  /**
   * Takes the options once, for all requests.
   *
   * @throws {TypeError} If an option is of the wrong kind, or contradicts another one
   * @throws {RangeError} If a duration is not one
   */
  constructor(options: SessionOptions<Data> = {}) {
    this.#settings = resolveOptions(options);
    this.#rules = rulesOf(this.#settings);
    const { store } = this.#settings;
    if (typeof store !== "function" && !(store instanceof SealedSessions)) this.#vault = this.#storeVault(store);
  }

  /**
   * The session of an id, as `await session.id()` gave it. What is recorded takes effect at `save()`.
   *
   * @param rest What the store's function is to be called with, if the store is one
   */
  open(id: string, ...rest: unknown[]): Session<Data> {
    return new Session(() => this.#parts(() => id, undefined, undefined, rest));
  }

  /**
   * The session of a request: always the same for the same `Request`, and the handler's own within `withSession`.
   *
   * @param rest What the store's function is to be called with, if the store is one
   */
  start(request: Request, ...rest: unknown[]): Session<Data> {
    return this.#sessions.get(request) ?? this.#begin(request, rest, true);
  }

  /**
   * Stores what is still to be stored, and answers the headers that the response must carry: `Set-Cookie` or
   * the id header, and what caches are to be told. There are none if the session was not used.
   *
   * @param waitUntil What keeps the process alive until the session is stored, for `persist: "after-response"`
   * @throws {SessionError} As {@linkcode Session.save} does, but for `ERR_SESSION_GONE`: if another request has ended
   * the session, what was to be stored is dropped, and the headers touch no cookie
   */
  async commit(session: Session<Data>, waitUntil?: WaitUntil): Promise<Headers> {
    const said = await this.#settle(session, waitUntil);
    if (said instanceof Headers) return said;
    const headers = new Headers();
    if (said !== undefined) keepPrivate(headers, said);
    return headers;
  }

  /**
   * The live sessions that are bound to a user, the last seen first.
   *
   * @param subject The user, as `session.bind` was told
   * @param rest What the store's function and `epochOf` are to be called with, if there are such
   * @throws {TypeError} If `subject` is no text, or sessions are kept by `cookieStore()`
   * @throws {SessionError} `ERR_STORE`, `ERR_STORE_TIMEOUT`
   */
  async list(subject: string, ...rest: unknown[]): Promise<ListedSession[]> {
    assertSubject(subject);
    const { codec } = this.#settings;
    const roster = await this.#roster("list", rest);
    const epochOf = this.#epochOf(rest);
    const epoch = await epochOf?.(subject);
    const listings = await roster.list(subject, ({ token, epoch: mark }) => !epochOf || mark === markOf(token, epoch));
    return listings.map((listing) => ({ ...listing, details: decoded(codec, listing.details) }));
  }

  /**
   * Ends one session: that of a lost telephone, say. Who may end whose, the caller decides: a handle that comes from a client
   * is to be looked for in the list of that client's user first.
   *
   * @param handle As `list` gave it
   * @param rest What the store's function is to be called with, if the store is one
   * @returns Whether there was such a session
   * @throws {TypeError} If sessions are kept by `cookieStore()`
   * @throws {SessionError} `ERR_STORE`, `ERR_STORE_TIMEOUT`, `ERR_CONFLICT`
   */
  async revoke(handle: string, ...rest: unknown[]): Promise<boolean> {
    const roster = await this.#roster("revoke", rest);
    return this.#revoked(await roster.end(typeof handle === "string" ? handle : "")) > 0;
  }

  /**
   * Ends every session that is bound to a user: "sign out everywhere". A login that is stored after the call has read the
   * list counts as a later one, and stays.
   *
   * @param options `except` is a session that stays, such as the caller's own
   * @param rest What the store's function is to be called with, if the store is one
   * @returns How many sessions have ended
   * @throws {TypeError} If `subject` is no text, or sessions are kept by `cookieStore()`
   * @throws {SessionError} `ERR_STORE`, `ERR_STORE_TIMEOUT`, `ERR_CONFLICT`: then some may live on, and it is to be called again
   */
  async revokeAll(subject: string, options: RevokeAllOptions<Data> = {}, ...rest: unknown[]): Promise<number> {
    assertSubject(subject);
    const roster = await this.#roster("revoke", rest);
    const spared = (await options.except?.handle()) ?? null;
    return this.#revoked(await roster.endAll(subject, spared));
  }

  /**
   * Removes the records that have expired, from a store that does not do it by itself.
   *
   * @param rest What the store's function is to be called with, if the store is one
   * @returns How many were removed; 0 where the engine removes them
   * @throws {SessionError} `ERR_STORE`
   */
  async prune(...rest: unknown[]): Promise<number> {
    const prune = async (): Promise<number> => {
      const { store, now } = this.#settings;
      const place = await opened(store, rest);
      const swept =
        place instanceof SealedSessions ? place.revocation && (await opened(place.revocation, rest)) : place;
      return (await swept?.prune?.(now())) ?? 0;
    };
    return await withoutSecrets("prune the sessions", prune);
  }

  #begin(request: Request, rest: readonly unknown[], isShared: boolean): Session<Data> {
    const session = new Session<Data>(() => {
      const exchange = new Exchange(this.#settings.transports, request);
      return this.#parts(() => exchange.presented(), exchange, request, rest);
    });
    if (isShared) this.#sessions.set(request, session);
    return session;
  }

  #parts(
    presented: () => string | null | Promise<string | null>,
    exchange: Exchange | undefined,
    request: Request | undefined,
    rest: readonly unknown[],
  ): SessionParts {
    const { codec, mint } = this.#settings;
    const rules = this.#rules;
    const vault = (): Vault | Promise<Vault> =>
      this.#vault === undefined ? this.#openVault(rest, exchange) : this.#mended(this.#vault, exchange);
    const epochOf = this.#epochOf(rest);
    const life = new Lifecycle({ rules, presented, mint: () => mint(request), vault, epochOf });
    const onCorrupt = (): void => rules.emit({ type: "rejected", reason: "corrupt" });
    return { exchange, rules, life, values: new Values(life.draft, codec, onCorrupt), flash: new Flash(life.draft) };
  }

  /** The vault in which a session lies: one on a store, or the one that the option brings. */
  async #openVault(rest: readonly unknown[], exchange: Exchange | undefined): Promise<Vault> {
    const { store, secrets, name, assertFits, now } = this.#settings;
    const { timeoutsOf } = this.#rules;
    const place = await opened(store, passed(rest));
    if (!(place instanceof SealedSessions)) return this.#mended(this.#storeVault(place), exchange);
    assertSealable(place, secrets);
    const { revocation } = place;
    const openRevocation = revocation && (() => opened(revocation, passed(rest)));
    return vaultOf(place, { secrets, name, assertFits, now, timeoutsOf, revocation: openRevocation });
  }

  #storeVault(store: SessionStore): StoreVault {
    const { ids, lock, now, storeTimeout, sealing, perSubject: limit, epochOf } = this.#settings;
    const { timeoutsOf } = this.#rules;
    const roster = new Roster({
      store,
      now,
      storeTimeout,
      timeoutsOf,
      sealing,
      limit,
      hasEpochs: epochOf !== undefined,
    });
    return new StoreVault(store, ids, lock, timeoutsOf, roster);
  }

  /** The vault as it is, or one that mends what an eventually consistent store shows this client. */
  #mended(vault: StoreVault, exchange: Exchange | undefined): Vault {
    const { companions, ids, now } = this.#settings;
    if (!companions?.areFor(vault.traits)) return vault;
    const companion = new Companion(exchange, companions.sealer, now);
    return new CompanionVault(vault, companion, { ids, now, onStale: () => this.#rules.emit({ type: "stale" }) });
  }

  async #roster(action: string, rest: readonly unknown[]): Promise<Roster> {
    const { roster } = this.#vault ?? (await this.#openVault(rest, undefined));
    if (roster === null) throw unlisted(action);
    return roster;
  }

  #revoked(sessions: number): number {
    if (sessions > 0) this.#rules.emit({ type: "revoked", sessions });
    return sessions;
  }

  #epochOf(rest: readonly unknown[]): Surroundings["epochOf"] {
    const { epochOf } = this.#settings;
    return epochOf && ((subject) => epochOf(subject, ...passed(rest)));
  }

  async #refusal(request: Request): Promise<Response | undefined> {
    if (!isCrossOrigin(request)) return undefined;
    const exchange = new Exchange(this.#settings.transports, request);
    await exchange.presented();
    if (!exchange.isAmbient) return undefined;
    this.#rules.emit({ type: "rejected", reason: "cross-site" });
    return forbidden();
  }

  async #finish(session: Session<Data>, response: Response, waitUntil: WaitUntil | undefined): Promise<Response> {
    const said = await this.#settle(session, waitUntil);
    if (said === undefined) return response;
    return said instanceof Headers ? withHeaders(response, said) : withPrivacy(response, said);
  }

  /**
   * Stores a session at the end of its request. Answers what the client is to be told or, if it is told nothing, the
   * request headers on which the response depends; nothing if the session was not used.
   */
  async #settle(session: Session<Data>, waitUntil: WaitUntil | undefined): Promise<Headers | string[] | undefined> {
    const parts = usedParts(session);
    if (parts === undefined) {
      closeSession(session);
      return undefined;
    }
    const { life, exchange } = parts;
    const defers = this.#settings.persistsAfterResponse && waitUntil !== undefined && (await life.isRoutine());
    gatherChanges(session);
    const storing = life.needsStoring ? this.#store(life) : undefined;
    if (defers && storing !== undefined) waitUntil(storing.catch(() => {}));
    else await storing;
    closeSession(session);
    const isCertain = defers || ((await storing) ?? !life.draft.gone);
    const said = exchange && this.#said(life, exchange, isCertain);
    const { companion } = life;
    if (companion === undefined || !companion.hasNews || !(isCertain || said instanceof Headers)) return said;
    const headers = said instanceof Headers ? said : new Headers();
    await companion.tell(headers);
    return headers;
  }

  /** Stores what waits. Answers false if that failed in a way that lets the response go out all the same. */
  async #store(life: Lifecycle): Promise<boolean> {
    try {
      await life.store();
      return !life.draft.gone;
    } catch (error) {
      if (error instanceof SessionError && this.#mayGoOn(error)) return false;
      throw error;
    }
  }

  #mayGoOn({ code }: SessionError): boolean {
    if (code === "ERR_SESSION_GONE") return true;
    const isOutage = code === "ERR_STORE" || code === "ERR_STORE_TIMEOUT" || code === "ERR_CONFLICT";
    return isOutage && this.#rules.toleratesFailure;
  }

  /** What is to be said of what has become of the session. */
  #said(life: Lifecycle, exchange: Exchange, isCertain: boolean): Headers | string[] {
    const { origin, ended, renewed, gone } = life.draft;
    const headers = new Headers();
    // Whatever failed later: an id that is stored must reach the client, for the one that it holds may be retired.
    const isNews = origin && !gone && origin.wire !== life.presented;
    if (origin && (isNews || (isCertain && (renewed || this.#settings.refreshes)))) {
      exchange.tell(headers, origin.wire, this.#maxAge(origin.head));
    } else if (isCertain && ended && !origin) {
      exchange.forget(headers);
    } else {
      return exchange.lookedAt;
    }
    return headers;
  }

  #maxAge(head: Head): number | null {
    const { cookie, idle } = head.timeouts ?? {};
    if (cookie !== undefined) return cookie;
    const { maxAge } = this.#settings;
    return idle === undefined && maxAge !== undefined ? maxAge : this.#rules.timeoutsOf(head).idle;
  }

  static {
    beginSession = (sessions, request, rest, isShared) => sessions.#begin(request, rest, isShared);
    finishSession = (sessions, session, response, waitUntil) => sessions.#finish(session, response, waitUntil);
    claimCookie = (sessions, claimed = []) => {
      const { cookieName } = sessions.#settings;
      if (cookieName === undefined) return claimed;
      if (!claimed.includes(cookieName)) return [...claimed, cookieName];
      throw new TypeError(
        `Two sessions of one request cannot have one cookie, ${cookieName}: give each a name and a place of its own`,
      );
    };
    isGuarded = (sessions) => sessions.#settings.isGuarded;
    refusalOf = (sessions, request) => sessions.#refusal(request);
    isEager = (sessions) => sessions.#settings.isEager;
  }
}

function rulesOf(settings: Settings): Rules {
  const { codec, schema } = settings;
  return {
    storeTimeout: settings.storeTimeout,
    now: settings.now,
    emit: quiet(settings.observe),
    toleratesFailure: settings.toleratesFailure,
    timeoutsOf: (head) => timeoutsFor(settings, head),
    admit: (found) => (schema === undefined ? found : admit(schema, codec, found)),
    approve: (fields) => (schema === undefined ? undefined : approve(schema, codec, fields)),
  };
}

async function opened<Opened extends Place>(
  source: Opened | ((...rest: unknown[]) => Opened | Promise<Opened>),
  rest: readonly unknown[],
): Promise<Opened> {
  if (typeof source !== "function") return source;
  return await withoutSecrets("open the store", async () => await source(...rest));
}

/** What other wrappers have put in between is not the runtime's. */
function passed(rest: readonly unknown[]): readonly unknown[] {
  return rest.filter((each) => !(each instanceof Session));
}

function decoded(codec: Codec, text: string | undefined): unknown {
  try {
    return text === undefined ? undefined : codec.decode(text);
  } catch {
    // Another codec's: what cannot be shown does not keep the session from being ended.
    return undefined;
  }
}
