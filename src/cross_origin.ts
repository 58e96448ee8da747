/**
 * Refuses requests that pages of other origins cause, by what browsers say of a request and no page can forge.
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
import { assertKnown } from "./core/known_options.ts";

/** What may come from elsewhere. */
export interface CrossOriginOptions {
  /** Origins whose pages may send any request, such as `https://app.example`; each with scheme, host and port. @default None */
  readonly trustedOrigins?: readonly string[];
}

/**
 * Wraps a handler so that a request which another origin's page caused, and which may change something, gets 403 and never reaches the handler.
 *
 * - `GET`, `HEAD` and `OPTIONS` pass (RFC 9110, 9.2.1): they must not change anything. A WebSocket's handshake is judged like a `POST`.
 * - `Sec-Fetch-Site` decides where it is there: `same-origin` and `none`, which is the user's own doing, pass; `same-site` and `cross-site` do not
 *   (https://www.w3.org/TR/fetch-metadata/).
 * - Otherwise `Origin` decides (RFC 6454, 7): its host must be that of the request, and it must not be `http` for a request over `https`.
 * - A request with neither header passes: all browsers send one of them with such a request since 2020 (the last was Firefox 70), so it comes
 *   from a program, which nobody can trick into sending a user's cookie.
 * - A request whose `Origin` is trusted passes.
 *
 * @param handler Any handler of a request, such as `withSession` returns
 * @param options Which other origins are trusted
 * @returns A handler of the same kind
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
): (request: Incoming, ...rest: Rest) => Answer | Response {
  if (typeof handler !== "function")
    throw new TypeError("crossOriginProtection needs a handler: a function of a request");
  assertKnown(options, ["trustedOrigins"], "crossOriginProtection");
  const { trustedOrigins = [] } = options;
  if (!Array.isArray(trustedOrigins))
    throw new TypeError("crossOriginProtection: trustedOrigins must be a list of origins");
  const trusted: ReadonlySet<string> = new Set(trustedOrigins.map(checkedOrigin));
  return (request, ...rest) => (isRefused(request, trusted) ? refusal() : handler(request, ...rest));
}

function checkedOrigin(origin: unknown): string {
  // An address may have an asterisk in its host. As an origin it would be that of no page.
  const isOrigin = typeof origin === "string" && URL.canParse(origin) && new URL(origin).origin === origin;
  if (isOrigin && !origin.includes("*")) return origin;
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

/** A proxy in front may speak http to a client's https, but an http page is never of an https origin. */
function isSameOrigin(origin: string, url: string): boolean {
  // A sandboxed page has the origin "null", which is no address.
  if (!URL.canParse(origin)) return false;
  const [from, to] = [new URL(origin), new URL(url)];
  return from.host === to.host && (from.protocol === to.protocol || from.protocol === "https:");
}

function refusal(): Response {
  return new Response("This request comes from another site.\n", {
    status: 403,
    headers: { "Cache-Control": "no-store", "Content-Type": "text/plain; charset=utf-8" },
  });
}
