import type { CookieTransport, WriteContext } from "../transport.ts";
import { ageOf, assertCookieFits, EXPIRED } from "./cookie_line.ts";

/**
 * Sets a cookie with the session cookie's attributes, under another name; `maxAge` 0 expires it.
 *
 * @throws {SessionError} `ERR_COOKIE_TOO_LARGE`
 */
export function writeBeside(
  transport: CookieTransport,
  headers: Headers,
  name: string,
  value: string,
  { maxAge, request, runtimeArguments }: WriteContext,
): void {
  assertCookieFits(name, value);
  const age = maxAge === 0 ? EXPIRED : ageOf(maxAge);
  headers.append("Set-Cookie", `${name}=${value}${age}${transport.cookieAttributes(request, runtimeArguments)}`);
}
