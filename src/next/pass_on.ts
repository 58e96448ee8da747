/**
 * Passes the cookies that `proxy.ts` or an action has set on to the page: the request then carries them as the browser
 * will send them next time.
 *
 * @module
 */
import { cookieFrom } from "./set_cookie.ts";

/** The response header in which Next.js lists the headers with which a request continues. */
const OVERRIDDEN = "x-middleware-override-headers";

/**
 * The `Cache-Control` of a page that Next.js renders for one request. A header that the proxy sets replaces it, and
 * `private` alone would let browsers keep the page.
 */
const NOT_KEPT = "private, no-cache, no-store, max-age=0, must-revalidate";

/** The response of the proxy, which also tells Next.js with which headers the request continues. */
export function passOn(request: Request, response: Response): Response {
  const { headers } = response;
  if (!goesOn(response)) return response;
  if (headers.get("Cache-Control") === "private") headers.set("Cache-Control", NOT_KEPT);
  if (headers.getSetCookie().length === 0) return response;
  const passed = new Headers(headers);
  const names: string[] = [];
  for (const [name, value] of headersAfter(request, response)) {
    // As `NextResponse.next({ request: { headers } })` does it.
    passed.set(`x-middleware-request-${name}`, value);
    names.push(name);
  }
  passed.set(OVERRIDDEN, names.join(","));
  return new Response(response.body, { status: response.status, headers: passed });
}

/** Whether a response of the proxy lets the request continue to its page or to another one. */
export function goesOn({ headers }: Response): boolean {
  return headers.has("x-middleware-next") || headers.has("x-middleware-rewrite");
}

/**
 * The headers with which the request continues: the request's headers, or those that the proxy has chosen, with the
 * cookies of the response.
 */
export function headersAfter(request: Request, response: Response): Headers {
  const chosen = response.headers.get(OVERRIDDEN);
  const headers = new Headers(chosen === null ? request.headers : {});
  for (const name of chosen?.split(",") ?? []) {
    const value = response.headers.get(`x-middleware-request-${name.trim()}`);
    if (value !== null) headers.set(name.trim(), value);
  }
  return withCookies(headers, response.headers.getSetCookie());
}

/** Changes the headers of a request to those that the browser would send after a response with these lines of Set-Cookie. */
export function withCookies(headers: Headers, lines: readonly string[]): Headers {
  let kept = (headers.get("Cookie") ?? "").split(";").flatMap((pair) => pair.trim() || []);
  for (const line of lines) {
    const { name, value, maxAge } = cookieFrom(line);
    kept = kept.filter((pair) => pair.slice(0, Math.max(0, pair.indexOf("="))) !== name);
    if (maxAge !== 0) kept.push(`${name}=${value}`);
  }
  if (kept.length === 0) headers.delete("Cookie");
  else headers.set("Cookie", kept.join("; "));
  return headers;
}
