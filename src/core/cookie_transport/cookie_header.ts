import { isBlank, trimBlanks } from "../http_token.ts";

/** What a `Cookie` header holds for one name. */
export interface CookieValue {
  /** The value; null if it is absent or empty, or if two values differ. */
  readonly value: string | null;
  /** Whether the header has a cookie of the name. */
  readonly isPresent: boolean;
  /**
   * Whether two cookies of the name have different values. An
   * attacker may have planted one, and the server cannot tell which.
   */
  readonly isAmbiguous: boolean;
}

/** The result for a request without the cookie. */
export const ABSENT: CookieValue = { value: null, isPresent: false, isAmbiguous: false };

/**
 * Reads one cookie. Names are compared exactly, and only spaces and tabs are trimmed. If a reader decodes or trims
 * more, an attacker can make it see a `__Host-` name that no browser would send.
 */
export function readCookie(header: string | null, name: string): CookieValue {
  if (header === null) return ABSENT;
  let found: string | undefined;
  for (let start = 0, end = 0; end < header.length; start = end + 1) {
    end = header.indexOf(";", start);
    if (end < 0) end = header.length;
    while (isBlank(header.charCodeAt(start))) start++;
    if (!header.startsWith(name, start)) continue;
    let equals = start + name.length;
    while (isBlank(header.charCodeAt(equals))) equals++;
    if (header[equals] !== "=") continue;
    const value = unquote(trimBlanks(header.slice(equals + 1, end)));
    if (found !== undefined && found !== value) return { value: null, isPresent: true, isAmbiguous: true };
    found = value;
  }
  return found === undefined ? ABSENT : { value: found === "" ? null : found, isPresent: true, isAmbiguous: false };
}

/** The values of the cookies whose names begin with `prefix`, by the rest of the name. */
export function readCookies(header: string | null, prefix: string): Map<string, string> {
  const values = new Map<string, string>();
  if (!header?.includes(prefix)) return values;
  for (const pair of header.split(";")) {
    const equals = pair.indexOf("=");
    const name = trimBlanks(pair.slice(0, Math.max(0, equals)));
    const value = unquote(trimBlanks(pair.slice(equals + 1)));
    if (name.startsWith(prefix) && value !== "") values.set(name.slice(prefix.length), value);
  }
  return values;
}

function unquote(text: string): string {
  return text.length > 1 && text.startsWith('"') && text.endsWith('"') ? text.slice(1, -1) : text;
}
