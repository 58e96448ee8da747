import { SessionError } from "../errors.ts";

/** The largest cookie that browsers keep, in octets of name and value (RFC 6265bis, 5.7). */
export const MAX_OCTETS = 4096;
/** 400 days, in seconds (RFC 6265bis, 5.5). */
const MAX_COOKIE_AGE = 400 * 24 * 60 * 60;
/** What makes a browser drop a cookie. */
export const EXPIRED = "; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT";

/** The lifetime of a cookie, for `Set-Cookie`: in seconds, or null for as long as the client runs. */
export function ageOf(maxAge: number | null): string {
  return maxAge === null ? "" : `; Max-Age=${Math.min(MAX_COOKIE_AGE, Math.ceil(maxAge))}`;
}

/** @throws {SessionError} `ERR_COOKIE_TOO_LARGE` if browsers would silently drop the cookie */
export function assertCookieFits(name: string, value: string): void {
  const octets = name.length + value.length;
  if (octets > MAX_OCTETS) throw cookieTooLarge(octets);
}

/** The error of a token for which the cookies have too little room; `hint` says what to do. */
export function cookieTooLarge(octets: number, hint = ""): SessionError {
  return new SessionError(
    "ERR_COOKIE_TOO_LARGE",
    `Cannot send the cookie: it has ${octets} octets, browsers keep ${MAX_OCTETS}${hint}`,
  );
}
