/**
 * The seam to how a token travels. Cookie and header are built in; the option `transports` takes others.
 *
 * @module
 */
import type { MaybePromise } from "./maybe_promise.ts";

/** What a transport gets when it writes or clears a token. */
export interface WriteContext {
  /** How long the client keeps the token, in seconds; null for as long as it runs. */
  readonly maxAge: number | null;
  /** The request that is answered. Its address and headers can be read, even after its connection was closed. */
  readonly request: Request;
  /** What the runtime passes beside the request. */
  readonly runtimeArguments: readonly unknown[];
}

/** How long the client keeps a token, and when it is written again. */
export interface TokenLifetime {
  /** In seconds; null for as long as the client runs; undefined for the idle timeout. */
  readonly maxAge?: number | null | undefined;
  /** `"always"`: with every response whose session was used. `"changed"`: when something about the token changed. */
  readonly refresh?: "changed" | "always" | undefined;
}

/** How a token travels between client and server. */
export interface Transport {
  /**
   * What the client presented, or null for nothing. Nothing is believed about it. It may be async, to read a form: read it from
   * `request.clone()` then, and set `load: "eager"`, so that it is read before the handler takes the body.
   *
   * @param runtimeArguments What the runtime passes beside the request
   */
  read(request: Request, runtimeArguments?: readonly unknown[]): MaybePromise<string | null>;
  /** Writes the token into the headers of the response. */
  write(headers: Headers, token: string, context: WriteContext): void;
  /** Makes the client drop its token. */
  clear(headers: Headers, context: WriteContext): void;
  /** Whether a client that presented nothing asks for a new token in this way. */
  wants?(request: Request): boolean;
  /**
   * Whether the request carries several tokens, so that the client's own cannot be found. `read` answers null then. `write` and
   * `clear` on such a request also expire the stray ones.
   */
  isAmbiguous?(request: Request, runtimeArguments: readonly unknown[]): boolean;
  /**
   * On an ambiguous or a stale request to which nothing is written or cleared: expires the stray tokens, and leaves the one that is where `write` puts it. The
   * next request carries that one alone.
   */
  expireStrays?(headers: Headers, context: WriteContext): void;
  /**
   * Whether the client holds something under a name that was used before. Its token is written anew if it came under that name, or if there is no
   * `expireStrays` or no `presentedName`, even if nothing changed. Otherwise `expireStrays` is called.
   */
  isStale?(request: Request, runtimeArguments: readonly unknown[]): boolean;
  /**
   * The name under which `read` found the token, or under which `write` writes it if it found none. What is signed or sealed is bound to it: a stale token is opened
   * under this name, and written under `name`.
   */
  presentedName?(request: Request, runtimeArguments: readonly unknown[]): string;
  /** The name under which `write` writes. It is the same on plain-http loopback, where the cookie travels without its prefix. */
  name?(request: Request, runtimeArguments: readonly unknown[]): string;
  /** How long the client keeps the token, and when it is written; absent members follow the options of the core. */
  lifetime?(request: Request, runtimeArguments: readonly unknown[]): TokenLifetime;
  /**
   * Checks a token before the session is stored, so that no session is stored whose token the client cannot keep.
   *
   * @throws {SessionError} `ERR_COOKIE_TOO_LARGE`
   */
  assertFits?(token: string, context: WriteContext): void;
  /** The request header that `read` looks at, for `Vary`. */
  readonly requestHeader?: string;
  /** The response header that scripts of other origins must be allowed to read. */
  readonly responseHeader?: string;
}

/** What the cookie transport offers beyond a transport, to those who store more in cookies: read-your-writes and cookie sessions. */
export interface CookieTransport extends Transport {
  /** The name under which the cookie travels in this exchange, without a prefix on plain-http loopback. */
  cookieName(request: Request, runtimeArguments: readonly unknown[]): string;
  /** The cookies of a request whose names begin with `prefix`, by the rest of the name. */
  readBeside(request: Request, runtimeArguments: readonly unknown[], prefix: string): ReadonlyMap<string, string>;
  /** Sets a cookie with the session cookie's attributes, under another name; `maxAge` 0 expires it. */
  writeBeside(headers: Headers, name: string, value: string, context: WriteContext): void;
}

/** Whether a transport carries the token in a cookie. Others cannot carry a cookie beside the token. */
export function isCookieTransport(transport: Transport | undefined): transport is CookieTransport {
  return transport !== undefined && "writeBeside" in transport;
}
