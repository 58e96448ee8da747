import type { PluginHost } from "../core/plugin.ts";
import { isCookieTransport } from "../core/transport.ts";

/** @throws {TypeError} If the manager keeps sessions in a place where a binding does not protect them */
export function assertHost({ repository, transports }: PluginHost): void {
  if (repository.tokenHoldsSession === true)
    throw new TypeError(
      "deviceBound() cannot work with cookieSessions(): an older copy of the cookie stays valid; keep the sessions in a store",
    );
  if (!transports.some(isCookieTransport))
    throw new TypeError("deviceBound() needs the session cookie; for header clients there is dpop()");
}

/**
 * @throws {TypeError} If browsers would not bind a session with this cookie, or would not send the cookie to the
 *   endpoints
 */
export function assertCookie(path: string, attributes: string): void {
  if (/; Partitioned\b/i.test(attributes))
    throw new TypeError("deviceBound() cannot work with a partitioned cookie: browsers refuse to bind it");
  const cookiePath = /(?:^|; )Path=([^;]*)/i.exec(attributes)?.[1] ?? "/";
  if (`${path}/`.startsWith(cookiePath.endsWith("/") ? cookiePath : `${cookiePath}/`)) return;
  throw new TypeError(`deviceBound() cannot use the path ${path}: the session cookie is sent under ${cookiePath} only`);
}
