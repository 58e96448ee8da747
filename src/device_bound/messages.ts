/**
 * The messages between server and browser: Device Bound Session Credentials (W3C Working Draft).
 *
 * @module
 */
import { urlOf } from "../core/address.ts";
import { boundCookieAttributes, boundCookieName, type CookieExchange } from "./bound_cookie.ts";

/** Algorithms that browsers may use (the draft names these two). */
export const ALGORITHMS: readonly string[] = ["ES256", "RS256"];

/** The settings that the browser gets beside the facts of the session. */
export interface SessionScope {
  /** The path under which registration and refresh are served. */
  readonly path: string;
  /** Hosts other than the session's own whose pages may make the browser refresh. */
  readonly refreshInitiators: readonly string[];
  /** Paths whose requests the browser does not hold back. */
  readonly exclude: readonly string[];
}

/** Asks the browser to register a key. */
export function offerRegistration(headers: Headers, challenge: string, path: string): void {
  headers.append(
    "Secure-Session-Registration",
    `(${ALGORITHMS.join(" ")});path="${path}/start";challenge="${challenge}"`,
  );
}

/** The challenge for the next proof. Browsers keep it, so that the next refresh takes one round trip. */
export function writeChallenge(headers: Headers, challenge: string, id: string): void {
  headers.append("Secure-Session-Challenge", `"${challenge}";id="${id}"`);
}

/** The proof of a registration or a refresh. The draft makes it a string in quotes, and Chromium 156 sends it without them. */
export function readProof(request: Request): string | null {
  const field = request.headers.get("Secure-Session-Response");
  return field === null ? null : textOf(field);
}

/** The browser's name for the session that it refreshes. */
export function readSessionId(request: Request): string {
  return textOf(request.headers.get("Sec-Secure-Session-Id") ?? "");
}

/** The string of a structured field without its parameters (RFC 9651, 3.3.3), or a text that is not in quotes. */
function textOf(field: string): string {
  return /^"([^"\\]*)" *(?:;.*)?$/.exec(field)?.[1] ?? field;
}

/** Whether the browser says that it could not refresh now. */
export function isSkipped(request: Request): boolean {
  return request.headers.has("Secure-Session-Skipped");
}

/** The answer to a registration: from now on the browser holds back requests that have no bound cookie, and refreshes it first. */
export function sessionConfiguration(
  id: string,
  exchange: CookieExchange,
  { path, refreshInitiators, exclude }: SessionScope,
): string {
  const attributes = boundCookieAttributes(exchange);
  const domain = /; Domain=\.?([^;]+)/i.exec(`; ${attributes}`)?.[1]?.toLowerCase();
  return JSON.stringify({
    session_identifier: id,
    refresh_url: `${path}/refresh`,
    scope: {
      // Browsers accept a scope for the whole site only from the host that has the site's name.
      include_site: domain === urlOf(exchange.request.url).hostname,
      scope_specification: exclude.map((each) => ({ type: "exclude", domain: "*", path: each })),
    },
    credentials: [{ type: "cookie", name: boundCookieName(exchange), attributes }],
    ...(refreshInitiators.length === 0 ? {} : { allowed_refresh_initiators: refreshInitiators }),
  });
}

/** The answer that makes the browser end its part of a session. */
export function sessionEnd(id: string): string {
  return JSON.stringify({ session_identifier: id, continue: false });
}
