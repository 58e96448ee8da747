/**
 * The seam for how a token travels. Cookie and header are built in; the option `transports` takes others.
 *
 * @module
 */
import type { MaybePromise } from "./maybe_promise.ts";

/** The context in which a transport writes or clears a token. */
export interface WriteContext {
  /** How long the client keeps the token, in seconds; null for as long as it runs. */
  readonly maxAge: number | null;
  /** The request that is answered. Its URL and headers can be read even after its connection was closed. */
  readonly request: Request;
  /** The arguments that the runtime passes beside the request. */
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
   * The token that the client presented, or null for none. The core does not trust it. The method may be async, to read a form:
   * read the form from `request.clone()` then, and set `load: "eager"`, so that it is read before the handler takes the body.
   *
   * @param runtimeArguments The arguments that the runtime passes beside the request
   */
  read(request: Request, runtimeArguments?: readonly unknown[]): MaybePromise<string | null>;
  /** Writes the token into the headers of the response. */
  write(headers: Headers, token: string, context: WriteContext): void;
  /** Makes the client drop its token. */
  clear(headers: Headers, context: WriteContext): void;
  /** Whether a client that presented no token asks for a new one through this transport. */
  wants?(request: Request): boolean;
  /**
   * Whether the request carries several tokens, so that the client's own cannot be found. In that case `read` returns
   * null, and `write` and `clear` also expire the stray tokens.
   */
  isAmbiguous?(request: Request, runtimeArguments: readonly unknown[]): boolean;
  /**
   * Expires the stray tokens of an ambiguous request whose response writes and clears no token. It keeps the token that
   * is where `write` puts it: the next request carries only that one. It also keeps a token that `read` found.
   */
  expireStrays?(headers: Headers, context: WriteContext): void;
  /**
   * Whether the client holds a token under a previous name that differs from the one that `read` found. The token of a
   * session that was found is then written again even if nothing changed, and `write` expires the stray ones. If
   * the token opens no session any more, a cookie is left out of `clear` if `expireStrays` writes all its lines: it may
   * hold the other token, which may open a session.
   */
  isStale?(request: Request, runtimeArguments: readonly unknown[]): boolean;
  /**
   * The name under which `read` found the token; if it found none, the name under which `write` writes. Signatures and
   * sealed values are bound to it: a stale token is opened under this name, and written under `name`.
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
  /** The request header that holds the token, for `Vary`. */
  readonly requestHeader?: string;
  /** The response header that scripts of other origins must be allowed to read. */
  readonly responseHeader?: string;
}

/**
 * A cookie transport. Beyond a transport, it tells the name and the attributes of its cookie, for capabilities that set
 * further cookies beside it: see `writeBeside`.
 */
export interface CookieTransport extends Transport {
  /** The name of the cookie in this request and its response, without a prefix on plain-http loopback. */
  cookieName(request: Request, runtimeArguments: readonly unknown[]): string;
  /** The attributes of the cookie in this request and its response, as `Set-Cookie` has them; the lifetime is not among them. */
  cookieAttributes(request: Request, runtimeArguments: readonly unknown[]): string;
}

/** Whether a transport carries the token in a cookie. Others cannot carry a cookie beside the token. */
export function isCookieTransport(transport: Transport | undefined): transport is CookieTransport {
  return transport !== undefined && "cookieAttributes" in transport;
}
