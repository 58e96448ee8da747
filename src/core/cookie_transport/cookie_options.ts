import { type CookieScope, isHostName } from "./cookie_scope.ts";
import { isToken } from "../http_token.ts";
import { assertKnown } from "../known_options.ts";
import { assertDuration, oneOf } from "../options/simple_checks.ts";

/** A scope that the session cookie had before: its name, domain, path and partition as they were in the options. */
export interface PreviousCookie {
  /** The name that the cookie had. @default The present name */
  readonly name?: string | undefined;
  /** The domain that it had; absent if it was for the host alone. */
  readonly domain?: string | undefined;
  /** The path that it had. @default {"/"} */
  readonly path?: string | undefined;
  /** Whether it was partitioned. @default {false} */
  readonly partitioned?: boolean | undefined;
}

/** The attributes of the session cookie. */
export interface CookieOptions {
  /**
   * The name. `__Host-` binds the cookie to this host and to https; with a `domain`, use another name.
   *
   * @default {"__Host-session"}
   */
  readonly name?: string | undefined;
  /** The domain whose hosts all get the cookie; absent for this host alone. Left out on plain-http loopback. */
  readonly domain?: string | undefined;
  /** The path under which the cookie is sent. @default {"/"} */
  readonly path?: string | undefined;
  /**
   * Whether the cookie is sent over https only. On plain http with a loopback address, the cookie has no `Secure` and
   * its name no prefix, unless `true` is given.
   *
   * @default {true}
   */
  readonly secure?: boolean | undefined;
  /** Whether scripts in the page cannot read the cookie. @default {true} */
  readonly httpOnly?: boolean | undefined;
  /** Whether the cookie is sent with requests that other sites cause. @default {"Lax"} */
  readonly sameSite?: "Lax" | "Strict" | "None" | undefined;
  /** Whether the cookie is kept apart for each site that embeds this one (CHIPS). @default {false} */
  readonly partitioned?: boolean | undefined;
  /**
   * How long the browser keeps the cookie, in seconds; `null` for a cookie that ends with the browser. A longer time is
   * sent as 400 days, the longest that browsers accept (RFC 6265bis, 5.5).
   *
   * @default The idle timeout
   */
  readonly maxAge?: number | null | undefined;
  /**
   * When the cookie is sent: `"changed"` when something about it changed, or `"always"`, with every response whose session was used.
   *
   * @default {"changed"}
   */
  readonly refresh?: "changed" | "always" | undefined;
  /**
   * Scopes that were used before. They are expired when the session cookie is written or cleared. A client that presents only a cookie of a
   * previous name keeps its session.
   *
   * @default None
   */
  readonly previous?: readonly PreviousCookie[] | undefined;
}

/** Cookie options with all defaults. */
export interface CookieSettings {
  readonly scope: CookieScope;
  readonly secure: boolean;
  /** Whether `secure: true` was given, so that the cookie is `Secure` on loopback as well. */
  readonly alwaysSecure: boolean;
  readonly httpOnly: boolean;
  readonly sameSite: "Lax" | "Strict" | "None";
  readonly maxAge: number | null | undefined;
  readonly refresh: "changed" | "always" | undefined;
  readonly previous: readonly CookieScope[];
}

/** The cookie's name, unless another one is given. */
export const DEFAULT_NAME = "__Host-session";
const PREFIX = /^__(?:Host-Http|Host|Secure|Http)-/i;

/** The name of a cookie on plain-http loopback, where browsers accept no name with a prefix. */
export function withoutPrefix(name: string): string {
  return name.replace(PREFIX, "");
}

const OPTIONS = [
  "name",
  "domain",
  "path",
  "secure",
  "httpOnly",
  "sameSite",
  "partitioned",
  "maxAge",
  "refresh",
  "previous",
];

/**
 * Cookie options with all defaults.
 *
 * @throws {TypeError} If an attribute is malformed or unknown, or contradicts another one or the name's prefix
 * @throws {RangeError} If `maxAge` is not a positive number
 */
export function resolveCookieOptions(options: CookieOptions): CookieSettings {
  assertKnown(options, OPTIONS, "cookie");
  const { sameSite = "Lax", secure = true, httpOnly = true, maxAge, refresh, previous = [] } = options;
  assertBoolean("secure", secure);
  assertBoolean("httpOnly", httpOnly);
  oneOf("cookie.sameSite", sameSite, ["Lax", "Strict", "None"]);
  oneOf("cookie.refresh", refresh, ["changed", "always"]);
  if (maxAge !== undefined) assertDuration("cookie.maxAge", maxAge, null);
  if (!Array.isArray(previous)) refuse("previous is not a list");
  const scope = scopeOf(options, DEFAULT_NAME);
  const prefix = PREFIX.exec(scope.name)?.[0];
  if (!secure && prefix !== undefined) refuse(`a name that begins with ${prefix} needs secure`);
  if (!httpOnly && /http-$/i.test(prefix ?? "")) refuse(`a name that begins with ${prefix} needs httpOnly`);
  if (!secure && sameSite === "None") refuse("SameSite=None needs secure");
  if (!secure && scope.partitioned) refuse("partitioned needs secure");
  return {
    scope,
    secure,
    alwaysSecure: options.secure === true,
    httpOnly,
    sameSite,
    maxAge,
    refresh,
    previous: previous.map((each) => {
      assertKnown(each, ["name", "domain", "path", "partitioned"], "cookie.previous");
      return scopeOf(each, scope.name);
    }),
  };
}

/** The scope among options, checked. */
function scopeOf(options: PreviousCookie, usualName: string): CookieScope {
  const { name = usualName, domain, path = "/", partitioned = false } = options;
  assertBoolean("partitioned", partitioned);
  if (typeof name !== "string" || !isToken(withoutPrefix(name))) refuse("its name is not a token (RFC 9110, 5.6.2)");
  if (typeof path !== "string" || !/^\/[\x20-\x3a\x3c-\x7e]*$/.test(path))
    refuse("its path does not begin with / or has a character that no path may have");
  if (domain !== undefined && !(typeof domain === "string" && /^\.?[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*$/.test(domain)))
    refuse("its domain is not a host name");
  if (isHostName(name)) {
    if (domain !== undefined) refuse("a name that begins with __Host- cannot have a domain: give it another name");
    if (path !== "/") refuse("a name that begins with __Host- must have the path /: give it another name");
  }
  return { name, domain, path, partitioned };
}

function assertBoolean(option: string, value: unknown): void {
  if (typeof value !== "boolean") refuse(`${option} is not true or false`);
}

function refuse(mistake: string): never {
  throw new TypeError(`Cannot use the cookie: ${mistake}`);
}
