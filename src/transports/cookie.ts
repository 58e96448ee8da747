import { SessionError } from "../errors.ts";
import { isToken } from "./token.ts";
import type { Transport } from "./transport.ts";

/** The attributes of the session cookie. */
export interface CookieOptions {
  /**
   * The name. `__Host-` binds the cookie to this host and to https; with a `domain` take another.
   *
   * @default {"__Host-session"}
   */
  readonly name?: string;
  /** The domain whose hosts all get the cookie; absent for this host alone. */
  readonly domain?: string;
  /** The path under which the cookie is sent. @default {"/"} */
  readonly path?: string;
  /** Whether the cookie is sent over https only. @default {true} */
  readonly secure?: boolean;
  /** Whether scripts in the page are kept from the cookie. @default {true} */
  readonly httpOnly?: boolean;
  /** Whether the cookie goes with requests that other sites cause. @default {"Lax"} */
  readonly sameSite?: "Lax" | "Strict" | "None";
  /** Whether the cookie is kept apart for each site that embeds this one (CHIPS). @default {false} */
  readonly partitioned?: boolean;
  /**
   * How long the browser keeps the cookie, in seconds, at most 400 days (RFC 6265bis, 5.5); `null` for a cookie
   * that goes with the browser.
   *
   * @default The idle timeout
   */
  readonly maxAge?: number | null;
  /**
   * When the cookie is sent: `"changed"` when something about it did, or `"always"`, with every response
   * whose session was used.
   *
   * @default {"changed"}
   */
  readonly refresh?: "changed" | "always";
}

/** What browsers keep of one cookie, in octets of name and value (RFC 6265bis, 5.7). */
const MOST_OCTETS = 4096;
/** RFC 6265bis, 5.5. */
const LONGEST_AGE = 400 * 24 * 60 * 60;
/** The cookie's name, if it is given no other. */
export const DEFAULT_NAME = "__Host-session";

/**
 * Carries the id in a cookie.
 *
 * @throws {TypeError} If an attribute is malformed, or contradicts another one or the name's prefix
 */
export function cookieTransport(options: CookieOptions = {}): Transport {
  const { name = DEFAULT_NAME, path = "/", domain, sameSite = "Lax", secure = true } = options;
  const { httpOnly = true, partitioned = false } = options;
  assertConsistent({ name, path, domain, sameSite, secure, httpOnly, partitioned });
  const loopbackName = withoutPrefix(name);

  const nameFor = (request: Request): string => (isPlainLoopback(request) ? loopbackName : name);

  const serialize = (value: string, age: string, request: Request, suffix = ""): string => {
    const isLoopback = isPlainLoopback(request);
    const sentName = nameFor(request) + suffix;
    assertFits(sentName, value);
    // SameSite=None and Partitioned need Secure, which plain http has not.
    const site = isLoopback && sameSite === "None" ? "Lax" : sameSite;
    let cookie = `${sentName}=${value}${age}; Path=${path}`;
    if (domain !== undefined) cookie += `; Domain=${domain}`;
    if (secure && !isLoopback) cookie += "; Secure";
    if (httpOnly) cookie += "; HttpOnly";
    cookie += `; SameSite=${site}`;
    if (partitioned && !isLoopback) cookie += "; Partitioned";
    return cookie;
  };

  return {
    varyOn: "Cookie",
    read(request) {
      const header = request.headers.get("Cookie");
      return header === null ? null : valueOf(header, nameFor(request));
    },
    write(headers, id, { maxAge, request }) {
      headers.append("Set-Cookie", serialize(id, ageOf(maxAge), request));
    },
    clear(headers, { request }) {
      const age = "; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT";
      headers.append("Set-Cookie", serialize("", age, request));
    },
    beside: {
      read(request) {
        const header = request.headers.get("Cookie");
        return header?.includes(BESIDE) ? valuesBeside(header, nameFor(request) + BESIDE) : NOTHING;
      },
      write(headers, suffix, text, { maxAge, request }) {
        headers.append("Set-Cookie", serialize(text, ageOf(maxAge), request, BESIDE + suffix));
      },
    },
  };
}

/** The name of a cookie on plain http to this very machine, where browsers take none with a prefix. */
export function withoutPrefix(name: string): string {
  return name.replace(PREFIX, "");
}

/** What stands between a cookie's name and that of a text beside it: no prefix of another session's cookie ends so. */
const BESIDE = "~";
const NOTHING: ReadonlyMap<string, string> = new Map();

function ageOf(maxAge: number | null): string {
  return maxAge === null ? "" : `; Max-Age=${Math.min(LONGEST_AGE, Math.ceil(maxAge))}`;
}

/** @throws {SessionError} `ERR_COOKIE_TOO_LARGE` if browsers would drop the cookie, which they do without a word */
export function assertFits(name: string, value: string): void {
  const octets = name.length + value.length;
  if (octets <= MOST_OCTETS) return;
  throw new SessionError(
    "ERR_COOKIE_TOO_LARGE",
    `Cannot send the cookie: it has ${octets} octets, browsers keep ${MOST_OCTETS}`,
  );
}

/**
 * The value of one cookie. Names are compared as they are, and only space and tab are trimmed: whoever decodes
 * or trims more can be made to see a `__Host-` that no browser would have sent. Two cookies of the name with
 * different values are nobody's: one of them was planted, and nothing tells which.
 */
function valueOf(header: string, name: string): string | null {
  let found: string | null = null;
  for (const pair of header.split(";")) {
    const equals = pair.indexOf("=");
    if (equals === -1 || trim(pair.slice(0, equals)) !== name) continue;
    const value = unquote(trim(pair.slice(equals + 1)));
    if (found !== null && found !== value) return null;
    found = value;
  }
  return found === "" ? null : found;
}

/** The values of the cookies whose names begin with `prefix`, by the rest of the name. */
function valuesBeside(header: string, prefix: string): Map<string, string> {
  const values = new Map<string, string>();
  for (const pair of header.split(";")) {
    const [name = "", value = ""] = trim(pair).split(/=(.*)/s);
    if (name.startsWith(prefix) && value !== "") values.set(name.slice(prefix.length), value);
  }
  return values;
}

/** Without a pattern: one for the end of a text begins anew at each space of a hostile header, which takes a square of its length. */
function trim(text: string): string {
  let start = 0;
  let end = text.length;
  while (isBlank(text[start])) start++;
  while (isBlank(text[end - 1])) end--;
  return text.slice(start, end);
}

function isBlank(character: string | undefined): boolean {
  return character === " " || character === "\t";
}

function unquote(text: string): string {
  return text.length > 1 && text.startsWith('"') && text.endsWith('"') ? text.slice(1, -1) : text;
}

const PREFIX = /^__(?:Host-Http|Host|Secure|Http)-/i;

/** Plain http to this very machine, where a browser may refuse `Secure` cookies: only there it is left out. */
function isPlainLoopback(request: Request): boolean {
  return /^http:\/\/(?:localhost|[^/?#:@]+\.localhost|127\.\d+\.\d+\.\d+|\[::1\])(?:[:/?#]|$)/.test(request.url);
}

function assertConsistent(cookie: {
  name: string;
  path: string;
  domain: string | undefined;
  sameSite: string;
  secure: boolean;
  httpOnly: boolean;
  partitioned: boolean;
}): void {
  const { name, path, domain, sameSite, secure, httpOnly, partitioned } = cookie;
  const isAttribute = (value: string): boolean => /^[\x20-\x3a\x3c-\x7e]*$/.test(value);
  const prefix = PREFIX.exec(name)?.[0].toLowerCase() ?? "";
  const isHost = prefix.startsWith("__host-");
  const isHttp = prefix.endsWith("http-");
  const mistake = !isToken(withoutPrefix(name))
    ? "its name is not a token (RFC 9110, 5.6.2)"
    : !(path.startsWith("/") && isAttribute(path))
      ? "its path does not begin with / or has a character that no path may have"
      : domain !== undefined && !/^\.?[A-Za-z0-9.-]+$/.test(domain)
        ? "its domain is not a host name"
        : !["Lax", "Strict", "None"].includes(sameSite)
          ? 'sameSite is not "Lax", "Strict" or "None"'
          : !secure && prefix !== ""
            ? `a name that begins with ${name.slice(0, prefix.length)} needs secure`
            : !httpOnly && isHttp
              ? `a name that begins with ${name.slice(0, prefix.length)} needs httpOnly`
              : isHost && domain !== undefined
                ? "a name that begins with __Host- cannot have a domain: give it another name"
                : isHost && path !== "/"
                  ? "a name that begins with __Host- must have the path /: give it another name"
                  : !secure && sameSite === "None"
                    ? "SameSite=None needs secure"
                    : !secure && partitioned
                      ? "partitioned needs secure"
                      : undefined;
  if (mistake !== undefined) throw new TypeError(`Cannot use the cookie: ${mistake}`);
}
