import { DEFAULT_NAME, withoutPrefix } from "../cookie_transport/cookie_options.ts";
import type { CookieSplitting } from "../cookie_transport/cookie_splitting.ts";
import { type CookieFunction, type CookieOptions, cookieTransport } from "../cookie_transport.ts";
import { headerTransport } from "../header_transport.ts";
import { assertMethods } from "./option_checks.ts";
import type { SessionOptions } from "../options.ts";
import type { NameClaim, Policy } from "../policy.ts";
import type { Transport } from "../transport.ts";
import { isObject } from "../kind_of.ts";

export function assertCookieAge(cookie: SessionOptions["cookie"], touchInterval: number): void {
  const { maxAge, refresh }: CookieOptions = Object(cookie);
  if (typeof maxAge !== "number" || maxAge >= touchInterval || refresh === "always") return;
  throw new RangeError(
    `cookie.maxAge is ${maxAge} s, shorter than touchInterval, ${touchInterval} s: the cookie of a session in use would end`,
  );
}

/**
 * The parts of the policy that decide how a token travels.
 *
 * @throws {TypeError} If there is neither a cookie nor a header nor a transport, or if a cookie or a header stands beside
 *   `transports`: its attributes would be ignored
 */
export function transportPolicy(
  { transports: own, cookie, header = false }: Pick<SessionOptions, "transports" | "cookie" | "header">,
  splitting?: CookieSplitting,
): Pick<Policy, "transports" | "varyHeaders" | "hasOwnTransports" | "name" | "headerName" | "claims"> {
  const hasOwnTransports = own !== undefined;
  if (hasOwnTransports && (cookie || header))
    throw new TypeError("transports take the place of cookie and header: leave those out");
  if (hasOwnTransports && !Array.isArray(own)) throw new TypeError("transports must be a list");
  if (header !== false && typeof header !== "string" && !isObject(header)) {
    throw new TypeError('header must be a name such as "X-Session-Id", an object with a name, or false');
  }
  for (const each of own ?? []) assertMethods("transports", each, ["read", "write", "clear"]);
  const [first, ...others]: readonly Transport[] = own ?? [
    ...(cookie === false ? [] : [cookieTransport(cookie as CookieOptions | CookieFunction | undefined, splitting)]),
    ...(header === false ? [] : [headerTransport(header)]),
  ];
  if (first === undefined)
    throw new TypeError("Without a cookie, a header or a transport no client can have a session");
  const transports = [first, ...others] as const;
  const headerName = typeof header === "object" ? header.name : header || undefined;
  // A function may give each request another name.
  const cookieName = cookie === false || typeof cookie === "function" ? undefined : (cookie?.name ?? DEFAULT_NAME);
  return {
    transports,
    varyHeaders: [[], ...transports.map((_, at) => varyHeadersOf(transports.slice(0, at + 1)))],
    hasOwnTransports,
    name: cookie === false && headerName !== undefined ? headerName : (cookieName ?? DEFAULT_NAME),
    headerName: cookie === false ? undefined : headerName,
    claims: hasOwnTransports ? [] : claimsOf(cookieName, headerName),
  };
}

function claimsOf(cookie: string | undefined, header: string | undefined): NameClaim[] {
  const claims: NameClaim[] = [];
  if (cookie !== undefined) claims.push({ kind: "cookie", name: cookie, id: `cookie ${withoutPrefix(cookie)}` });
  if (header !== undefined) claims.push({ kind: "header", name: header, id: `header ${header.toLowerCase()}` });
  return claims;
}

function varyHeadersOf(transports: readonly Transport[]): string[] {
  return transports.flatMap(({ requestHeader }) => requestHeader ?? []);
}
