/**
 * What a request carries after `proxy.ts` has answered: the cookies that the proxy has set, as the browser will send them next time.
 *
 * @module
 */
import { cookieFrom } from "./control_flow.ts";

/** How Next.js marks the request headers with which a request goes on. */
export const OVERRIDDEN: string = "x-middleware-override-headers";

/** Whether a response of the proxy sends the request on, to the page that it is for or to another one. */
export function goesOn({ headers }: Response): boolean {
  return headers.has("x-middleware-next") || headers.has("x-middleware-rewrite");
}

/** The headers with which the request goes on: its own, or those that the proxy has chosen, with the cookies of the response. */
export function headersAfter(request: Request, response: Response): Headers {
  const chosen = response.headers.get(OVERRIDDEN);
  const headers = new Headers(chosen === null ? request.headers : {});
  for (const name of chosen?.split(",") ?? []) {
    const value = response.headers.get(`x-middleware-request-${name.trim()}`);
    if (value !== null) headers.set(name.trim(), value);
  }
  const pairs = (headers.get("Cookie") ?? "").split(";").flatMap((pair) => pair.trim() || []);
  let kept = pairs;
  for (const line of response.headers.getSetCookie()) {
    const { name, value, maxAge } = cookieFrom(line);
    kept = kept.filter((pair) => pair.slice(0, Math.max(0, pair.indexOf("="))) !== name);
    if (maxAge !== 0) kept.push(`${name}=${value}`);
  }
  if (kept.length === 0) headers.delete("Cookie");
  else headers.set("Cookie", kept.join("; "));
  return headers;
}
