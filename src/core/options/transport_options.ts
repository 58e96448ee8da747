import { DEFAULT_NAME } from "./cookie_options.ts";
import { type CookieFunction, type CookieOptions, cookieTransport } from "../cookie_transport.ts";
import { headerTransport } from "../header_transport.ts";
import { assertMethods } from "./option_checks.ts";
import type { SessionOptions } from "../options.ts";
import type { Transport } from "../transport.ts";

export function assertCookieAge(cookie: SessionOptions["cookie"], touchInterval: number): void {
  const { maxAge, refresh }: CookieOptions = Object(cookie);
  if (typeof maxAge !== "number" || maxAge >= touchInterval || refresh === "always") return;
  throw new RangeError(
    `cookie.maxAge is ${maxAge} s, shorter than touchInterval, ${touchInterval} s: the cookie of a session in use would end; set touchInterval below it`,
  );
}

/** The name to which signatures and sealed values are bound. */
export function nameOf(cookie: SessionOptions["cookie"], header: SessionOptions["header"]): string {
  if (typeof cookie === "object") return cookie.name ?? DEFAULT_NAME;
  if (typeof cookie === "function") return DEFAULT_NAME;
  return typeof header === "object" ? header.name : String(header);
}

/** The name of the header, where {@linkcode nameOf} gives that of the cookie. */
export function headerNameOf(
  cookie: SessionOptions["cookie"],
  header: SessionOptions["header"] = false,
): string | undefined {
  if (cookie === false || header === false) return undefined;
  return typeof header === "object" ? header.name : header;
}

export function transportsOf(
  transports: readonly Transport[] | undefined,
  cookie: SessionOptions["cookie"],
  header: SessionOptions["header"],
  chunks: number,
): readonly [Transport, ...Transport[]] {
  if (transports !== undefined && !Array.isArray(transports)) throw new TypeError("transports must be a list");
  if (header !== false && typeof header !== "string" && (typeof header !== "object" || header === null)) {
    throw new TypeError('header must be a name such as "X-Session-Id", an object with a name, or false');
  }
  for (const each of transports ?? []) assertMethods("transports", each, ["read", "write", "clear"]);
  const chosen: readonly Transport[] = transports ?? [
    ...(cookie === false || cookie === undefined
      ? []
      : [cookieTransport(cookie as CookieOptions | CookieFunction, { chunks })]),
    ...(header === false ? [] : [headerTransport(header)]),
  ];
  if (!hasFirst(chosen)) throw new TypeError("Without a cookie, a header or a transport no client can have a session");
  return chosen;
}

function hasFirst(transports: readonly Transport[]): transports is readonly [Transport, ...Transport[]] {
  return transports.length > 0;
}
