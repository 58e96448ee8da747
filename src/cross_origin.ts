/**
 * Rejects requests that pages of other origins cause. It relies on headers that browsers set and no page can forge.
 *
 * @example
 * ```ts
 * import { withSession } from "with-session";
 * import { crossOriginProtection } from "with-session/cross-origin";
 *
 * export default {
 *   fetch: crossOriginProtection(
 *     withSession(async (_request, session) => {
 *       session.set("seen", true);
 *       return new Response("Hello\n");
 *     }),
 *   ),
 * };
 * ```
 *
 * @module
 */
import { isOrigin, urlOf } from "./core/address.ts";
import { assertKnown } from "./core/known_options.ts";

/** Options of {@linkcode crossOriginProtection}. */
export interface CrossOriginOptions {
  /** Origins whose pages may send any request, such as `https://app.example`; each with scheme, host and port. @default None */
  readonly trustedOrigins?: readonly string[] | undefined;
}

/**
 * Wraps a handler. A request that a page of another origin caused, and that may change something, gets 403 and does not
 * reach the handler.
 *
 * - `GET`, `HEAD` and `OPTIONS` pass (RFC 9110, 9.2.1): they must not change anything. A WebSocket's handshake is
 *   treated like a `POST`.
 * - If the request has `Sec-Fetch-Site`, that decides: `same-origin` and `none` (an action of the user) pass;
 *   `same-site` and `cross-site` do not (https://www.w3.org/TR/fetch-metadata/).
 * - Otherwise `Origin` decides (RFC 6454, 7): its host must be the request's host, and it must not be `http` for a
 *   request over `https`.
 * - A request with neither header passes. All browsers send one of the two with such a request since 2020 (the last was
 *   Firefox 70), so this request comes from a program, and a program cannot be tricked into sending a user's cookie.
 * - A request whose `Origin` is trusted passes.
 *
 * @param handler Any handler of a request, such as `withSession` returns
 * @param options Which other origins are trusted
 * @returns A handler of the same kind. It returns a refusal as a promise
 * @throws {TypeError} If a trusted origin is not an origin, or an option is unknown
 *
 * @example
 * ```ts
 * import { withSession } from "with-session";
 * import { crossOriginProtection } from "with-session/cross-origin";
 *
 * const handle = crossOriginProtection(
 *   withSession(() => new Response("Hello\n")),
 *   { trustedOrigins: ["https://app.example"] },
 * );
 * ```
 */
export function crossOriginProtection<Incoming extends Request, Rest extends unknown[], Answer>(
  handler: (request: Incoming, ...rest: Rest) => Answer,
  options: CrossOriginOptions = {},
): (request: Incoming, ...rest: Rest) => Answer | Promise<Response> {
  if (typeof handler !== "function")
    throw new TypeError("crossOriginProtection needs a handler: a function of a request");
  assertKnown(options, ["trustedOrigins"], "crossOriginProtection");
  const { trustedOrigins = [] } = options;
  if (!Array.isArray(trustedOrigins))
    throw new TypeError("crossOriginProtection: trustedOrigins must be a list of origins");
  const trusted: ReadonlySet<string> = new Set(trustedOrigins.map(checkedOrigin));
  // Most handlers return a promise, so a refusal is one as well: callers may chain on it.
  return (request, ...rest) => (isRefused(request, trusted) ? Promise.resolve(refusal()) : handler(request, ...rest));
}

function checkedOrigin(origin: unknown): string {
  // A URL may have an asterisk in its host, but no page has such an origin.
  if (isOrigin(origin) && !origin.includes("*")) return origin;
  throw new TypeError(
    'Each of trustedOrigins must be an origin, such as "https://app.example": scheme, host and port, without a path or a wildcard',
  );
}

function isRefused({ method, url, headers }: Request, trusted: ReadonlySet<string>): boolean {
  if (/^(?:GET|HEAD|OPTIONS)$/.test(method) && !headers.has("Upgrade")) return false;
  const origin = headers.get("Origin");
  if (origin !== null && trusted.has(origin)) return false;
  const site = headers.get("Sec-Fetch-Site");
  if (site !== null) return site !== "same-origin" && site !== "none";
  return origin !== null && !isSameOrigin(origin, url);
}

/**
 * A proxy may forward an https page's request over http. The reverse does not occur: an http page never has the origin
 * of an https request.
 */
function isSameOrigin(origin: string, url: string): boolean {
  // A sandboxed page has the origin "null", which is not a URL.
  if (!URL.canParse(origin)) return false;
  const [from, to] = [new URL(origin), urlOf(url)];
  return from.host === to.host && (from.protocol === to.protocol || from.protocol === "https:");
}

function refusal(): Response {
  return new Response("This request comes from another site.\n", {
    status: 403,
    headers: { "Cache-Control": "no-store", "Content-Type": "text/plain; charset=utf-8" },
  });
}
