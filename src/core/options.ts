import type { Codec } from "./codec.ts";
import type { CookieOptions } from "./cookie_transport.ts";
import type { SessionEvent } from "./events.ts";
import type { TimeoutLimits } from "./expiry.ts";
import type { HeaderOptions } from "./header_transport.ts";
import type { MaybePromise } from "./maybe_promise.ts";
import type { Plugin } from "./plugin.ts";
import type { RecordCodec } from "./record_codec.ts";
import type { RepositorySource } from "./repository/repository_source.ts";
import type { Schema } from "./schema.ts";
import type { DefaultData } from "./session.ts";
import type { SessionStore } from "./store.ts";
import type { TokenFormat } from "./token_format.ts";
import type { Transport } from "./transport.ts";

/** The options for the sessions of one wrapper, manager or middleware. All durations are in seconds. */
export interface SessionOptions<
  Data extends object = DefaultData,
  // oxlint-disable-next-line no-explicit-any -- the handler declares what a runtime passes beside the request
  Rest extends unknown[] = any[],
> {
  /**
   * Where sessions are kept: a store, or a function that returns one. The function gets the arguments that the runtime
   * passes beside the request, such as a Worker's `env`. It is called once if it takes no argument, otherwise once for
   * each distinct first argument. `cookieSessions()` keeps sessions in the cookie.
   *
   * @default {memoryStore()}
   */
  readonly store?: SessionStore | RepositorySource | ((...rest: Rest) => MaybePromise<SessionStore>) | undefined;
  /**
   * The cookie's attributes, `false` for no cookie, or a function that gives the attributes for a request.
   *
   * @default A cookie with the defaults of `CookieOptions`
   */
  readonly cookie?: CookieOptions | false | ((request: Request, ...rest: Rest) => CookieOptions) | undefined;
  /** A header for clients without cookies. @default {false} */
  readonly header?: string | HeaderOptions | false | undefined;
  /**
   * How the token travels, in place of cookie and header, which must not be given as well. The first transport that
   * finds a token is used.
   *
   * @default The cookie, then the header
   */
  readonly transports?: readonly Transport[] | undefined;
  /** The session ends after this many seconds without a request: by default after a day. @default {86_400} */
  readonly idleTimeout?: number | undefined;
  /**
   * The session ends this many seconds after it began, or after the last `regenerate({ reauthenticated: true })`: by
   * default after 30 days; `false` for never.
   *
   * @default {2_592_000}
   */
  readonly absoluteTimeout?: number | false | undefined;
  /** The longest that `setTimeouts` can make the timeouts of one session. @default No limits */
  readonly timeoutLimits?: TimeoutLimits | undefined;
  /** How old, in seconds, "last seen" may grow before a request writes it anew. @default A tenth of the idle timeout */
  readonly touchInterval?: number | undefined;
  /** Whether a request counts as use of the session; not async. @default Each request but a prefetch */
  readonly touch?: ((request: Request) => boolean) | undefined;
  /**
   * Seconds after which a request that uses the session renews its id. The old id opens the session until a
   * minute after the client first used the new one. Afterwards the old id is rejected with the reason `"reuse"`, a sign of theft. With
   * `onReuse: "destroy"`, the session ends then.
   *
   * @default Never
   */
  readonly rotateEvery?:
    | number
    | { readonly seconds: number; readonly onReuse?: "reject" | "destroy" | undefined }
    | undefined;
  /** How an id becomes the token that the client holds: `signedIds()`. @default The token is the id */
  readonly ids?: TokenFormat | undefined;
  /** How a record is encoded for the store: `encryption()`. @default The store gets the record as it is */
  readonly encryption?: RecordCodec | undefined;
  /** Capabilities such as `userSessions()` and `readYourWrites()`. The first one is nearest to the store. @default None */
  readonly plugins?: readonly Plugin[] | undefined;
  /**
   * A Standard Schema. It checks data when it is loaded, and before it is stored; it must accept its own output.
   *
   * @default No check
   */
  readonly schema?: Schema<Data> | undefined;
  /** How one value becomes a text, and back. @default Structured values */
  readonly codec?: Codec | undefined;
  /** Whether the session is loaded when it is first read, or before the handler runs. @default {"lazy"} */
  readonly load?: "lazy" | "eager" | undefined;
  /**
   * Whether a response waits until its session is stored. With `"after-response"` it does not wait if there
   * is a `waitUntil`. It waits nevertheless if the session is new, has a new id, has other timeouts or has
   * ended, if "last seen" must be written, if a plugin has recorded something, and if the response is a redirect. With
   * `cookieSessions()`, or with a plugin that adds headers to responses, it always waits.
   *
   * @default {"before-response"}
   */
  readonly persist?: "before-response" | "after-response" | undefined;
  /** Keeps the process alive until a promise settles. @default The `waitUntil` of the first argument beside the request that has one */
  readonly waitUntil?: ((promise: Promise<unknown>, ...rest: Rest) => void) | undefined;
  /**
   * Whether a failure of the store is an error, or the request goes on without
   * a session and does not change the cookie.
   *
   * @default {"throw"}
   */
  readonly onStoreError?: "throw" | "anonymous" | undefined;
  /**
   * How many seconds a store may take for one load or one commit, retries included. If the id of a session could not be
   * renewed, or no response carries the new one, undoing that may take as long again.
   *
   * @default {5}
   */
  readonly storeTimeout?: number | undefined;
  /** Called with each event. An error that it throws or rejects with is dropped. @default No function is called */
  readonly onEvent?: ((event: SessionEvent) => unknown) | undefined;
  /**
   * Makes an unguessable id of 22 to 4 096 characters of `A-Z a-z 0-9 - _`. It gets the request, if there is one.
   *
   * @default 192 random bits
   */
  readonly generateId?: ((request?: Request) => MaybePromise<string>) | undefined;
  /** The clock, in epoch milliseconds. @default {Date.now} */
  readonly now?: (() => number) | undefined;
}
