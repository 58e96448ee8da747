import { type Codec, structuredCodec } from "./codec.ts";
import { OPEN, type RecordLock, sealedRecords } from "./encryption.ts";
import type { Timeouts } from "./expiry.ts";
import type { SessionEvent } from "./observe.ts";
import type { Head } from "./record.ts";
import { isId, mintId } from "./session_id.ts";
import { PLAIN, signedForm, type WireForm } from "./signing.ts";
import type { Schema } from "./schema.ts";
import type { UntypedData } from "./session.ts";
import type { SessionStore } from "./store.ts";
import { memoryStore } from "./stores/memory.ts";
import { type CookieOptions, cookieTransport } from "./transports/cookie.ts";
import { type HeaderOptions, headerTransport } from "./transports/header.ts";
import type { Transport } from "./transports/transport.ts";

/** What can be chosen for the sessions of one wrapper, manager or middleware. All durations are in seconds. */
export interface SessionOptions<
  Data extends object = UntypedData,
  // oxlint-disable-next-line no-explicit-any -- what a runtime passes beside the request is the handler's to say
  Rest extends unknown[] = any[],
> {
  /**
   * Where sessions are kept, or a function of what the handler gets beside the request, such as a Worker's `env`. It
   * is called when a request first uses its session.
   *
   * @default {memoryStore()}
   */
  readonly store?: SessionStore | ((...rest: Rest) => SessionStore | Promise<SessionStore>);
  /** The cookie's attributes, or `false` for no cookie. */
  readonly cookie?: CookieOptions | false;
  /** A header for clients without cookies. @default {false} */
  readonly header?: string | HeaderOptions | false;
  /** Where the id travels, in place of cookie and header; the first that presents one is believed. */
  readonly transports?: readonly Transport[];
  /** Without a request for so long, the session is over. @default {86_400} */
  readonly idleTimeout?: number;
  /** So long after it began, the session is over; `false` for never. @default {2_592_000} */
  readonly absoluteTimeout?: number | false;
  /** How old "last seen" may grow before a request writes it anew. @default A tenth of the idle timeout */
  readonly touchInterval?: number;
  /**
   * Secrets of at least 32 bytes each, the current one first: ids are signed with it, and those that none of them
   * signed are turned away before the store is asked. To change secrets, put the new one in front, and take the old
   * one out when its sessions are over.
   */
  readonly secrets?: readonly string[];
  /**
   * Whether records are encrypted (AES-256-GCM) under a key that only the id yields, and the current secret if there
   * is one: whoever has the store alone learns when sessions began and were used, but none of their data or keys.
   * Records that were stored before it was turned on, or off, are no sessions.
   *
   * @default {false}
   */
  readonly encrypt?: boolean;
  /** Whether the session is loaded when it is first used, or before the handler runs. @default {"lazy"} */
  readonly load?: "lazy" | "eager";
  /** A Standard Schema, checked on load and before data are stored. It must accept what it gives out. */
  readonly schema?: Schema<Data>;
  /** How one value becomes a text, and back. @default Structured values */
  readonly codec?: Codec;
  /**
   * Whether a response waits until its session is stored, or the storing of an existing session is left to the
   * runtime's `waitUntil`. Where there is none, it waits.
   *
   * @default {"before-response"}
   */
  readonly persist?: "before-response" | "after-response";
  /** Whether a failing store is an error, or the request goes on without a session. @default {"throw"} */
  readonly onStoreError?: "throw" | "anonymous";
  /** How long a store may take for one load or one commit, retries included. @default {5} */
  readonly storeTimeout?: number;
  /** Hears what happens to sessions. What it throws is dropped. */
  readonly observe?: (event: SessionEvent) => void;
  /**
   * Makes an id: at least 22 characters of `A-Z a-z 0-9 - _`, and unguessable. It is told the request, where there
   * is one.
   *
   * @default 192 bits from the cryptographic generator
   */
  readonly generateId?: (request?: Request) => string | Promise<string>;
  /** The clock, in epoch milliseconds. @default {Date.now} */
  readonly now?: () => number;
}

/** Every option with its value. */
export interface Settings {
  readonly store: SessionStore | ((...rest: unknown[]) => SessionStore | Promise<SessionStore>);
  readonly transports: readonly Transport[];
  readonly maxAge: number | null | undefined;
  readonly refreshes: boolean;
  readonly timeouts: Timeouts;
  readonly isEager: boolean;
  readonly schema: Schema<unknown> | undefined;
  readonly codec: Codec;
  readonly persistsAfterResponse: boolean;
  readonly toleratesFailure: boolean;
  readonly storeTimeout: number;
  readonly observe: ((event: SessionEvent) => void) | undefined;
  readonly ids: WireForm;
  readonly lock: RecordLock;
  readonly mint: (request?: Request) => string | Promise<string>;
  readonly now: () => number;
}

/**
 * Fills in the defaults, and refuses what cannot be meant.
 *
 * @throws {TypeError} If an option is of the wrong kind, or contradicts another one
 * @throws {RangeError} If a duration is not one
 */
export function resolveOptions<Data extends object, Rest extends unknown[]>(
  options: SessionOptions<Data, Rest>,
): Settings {
  const { cookie = {}, header = false, idleTimeout = 86_400, absoluteTimeout = 2_592_000 } = options;
  const { touchInterval = idleTimeout / 10, storeTimeout = 5, generateId = mintId } = options;
  assertDuration("idleTimeout", idleTimeout);
  if (absoluteTimeout !== false) assertDuration("absoluteTimeout", absoluteTimeout);
  assertDuration("storeTimeout", storeTimeout);
  if (touchInterval !== 0) assertDuration("touchInterval", touchInterval);
  if (touchInterval >= idleTimeout) {
    throw new RangeError("touchInterval must be shorter than idleTimeout, or sessions in use would end");
  }
  const maxAge = cookie === false ? undefined : cookie.maxAge;
  if (maxAge !== undefined && maxAge !== null) assertDuration("cookie.maxAge", maxAge);
  const store = options.store ?? memoryStore();
  if (typeof store !== "function" && typeof store?.load !== "function") {
    throw new TypeError("store must be a session store, or a function that returns one");
  }
  assertFunction("observe", options.observe);
  assertFunction("generateId", options.generateId);
  assertFunction("now", options.now);
  const refresh = oneOf("cookie.refresh", cookie === false ? undefined : cookie.refresh, ["changed", "always"]);
  return {
    // What the handler's type says of the rest, the caller of the wrapped handler keeps.
    store: store as Settings["store"],
    transports: transportsOf(options.transports, cookie, header),
    maxAge,
    refreshes: refresh === "always",
    timeouts: { idle: idleTimeout, absolute: absoluteTimeout, touchInterval },
    isEager: oneOf("load", options.load, ["lazy", "eager"]) === "eager",
    schema: options.schema,
    codec: options.codec ?? structuredCodec,
    persistsAfterResponse: oneOf("persist", options.persist, ["before-response", "after-response"]) ===
      "after-response",
    toleratesFailure: oneOf("onStoreError", options.onStoreError, ["throw", "anonymous"]) === "anonymous",
    storeTimeout,
    observe: options.observe,
    ids: options.secrets === undefined ? PLAIN : signedForm(checkedSecrets(options.secrets)),
    lock: options.encrypt === true ? sealedRecords(options.secrets) : OPEN,
    mint: (request) => checked(generateId(request)),
    now: options.now ?? Date.now,
  };
}

/** The timeouts in force for one session: its own where it has some. */
export function timeoutsFor(timeouts: Timeouts, head: Head): Timeouts {
  const own = head.timeouts;
  if (own === undefined) return timeouts;
  const { idle = timeouts.idle, absolute = timeouts.absolute } = own;
  return { idle, absolute, touchInterval: own.idle === undefined ? timeouts.touchInterval : idle / 10 };
}

function transportsOf(
  transports: readonly Transport[] | undefined,
  cookie: CookieOptions | false,
  header: string | HeaderOptions | false,
): readonly Transport[] {
  const chosen = transports ?? [
    ...(cookie === false ? [] : [cookieTransport(cookie)]),
    ...(header === false ? [] : [headerTransport(typeof header === "string" ? { name: header } : header)]),
  ];
  if (chosen.length === 0) throw new TypeError("Without a cookie, a header or a transport no client could have a session");
  return chosen;
}

/** 32 bytes are the 256 bits that HMAC-SHA-256 can use at most (RFC 2104, 3). */
const LEAST_SECRET = 32;

function checkedSecrets(secrets: readonly string[]): readonly string[] {
  if (!Array.isArray(secrets) || secrets.length === 0) {
    throw new TypeError("secrets must be a list of at least one secret, the current one first");
  }
  for (const secret of secrets) {
    if (typeof secret !== "string") throw new TypeError("secrets must be texts");
    if (new TextEncoder().encode(secret).length < LEAST_SECRET) {
      throw new RangeError(`secrets must have at least ${LEAST_SECRET} bytes each`);
    }
  }
  return secrets;
}

function assertDuration(name: string, value: unknown): void {
  if (!(typeof value === "number" && Number.isFinite(value) && value > 0)) {
    throw new RangeError(`${name} must be a positive number of seconds`);
  }
}

function assertFunction(name: string, value: unknown): void {
  if (value !== undefined && typeof value !== "function") throw new TypeError(`${name} must be a function`);
}

/** The chosen word, or the first one, which is the default. */
function oneOf<const Word extends string>(name: string, value: Word | undefined, words: readonly Word[]): Word | undefined {
  if (value !== undefined && !words.includes(value)) {
    throw new TypeError(`${name} must be one of ${words.map((word) => `"${word}"`).join(", ")}`);
  }
  return value ?? words[0];
}

function checked(id: string | Promise<string>): string | Promise<string> {
  if (id instanceof Promise) return id.then(checked);
  if (typeof id === "string" && isId(id)) return id;
  throw new TypeError("generateId must give 22 to 256 characters of A-Z, a-z, 0-9, - and _");
}
