import { assertKnown } from "../core/known_options.ts";

/** Who caused a request, which decides about SameSite. A navigation here is a link or a GET form at the top level. */
export type SiteContext = "same-site" | "cross-site" | "cross-site-navigation";

/** A cookie as the jar keeps it. */
export interface JarCookie {
  /** Its name; empty if it was set without one. */
  readonly name: string;
  /** Its value, as it was sent. */
  readonly value: string;
  /** The host that set it, or the Domain that it gave. */
  readonly domain: string;
  /** Whether it is sent only to that host, because it was set without Domain. */
  readonly hostOnly: boolean;
  /** The Path; without one, the folder of the address that set the cookie. */
  readonly path: string;
  /** Whether it is sent only over https. */
  readonly secure: boolean;
  /** Whether scripts of a page cannot read it. */
  readonly httpOnly: boolean;
  /** Whether each top-level site has a separate cookie. */
  readonly partitioned: boolean;
  /** `"Default"`, without the attribute, is treated as `"Lax"`. */
  readonly sameSite: "Strict" | "Lax" | "None" | "Default";
  /** When it ends, in epoch milliseconds; null for a cookie that ends with the browser. */
  readonly expiresAt: number | null;
}

/** Options of {@linkcode cookieJar}. */
export interface CookieJarOptions {
  /** The time in epoch milliseconds, such as that of a fake clock. @default `Date.now` */
  readonly now?: (() => number) | undefined;
}

/** Options of {@linkcode CookieJar.fetch}, beside the address. */
export interface JarRequestInit extends RequestInit {
  /** Who causes the request. @default `"same-site"` */
  readonly context?: SiteContext | undefined;
}

/** The client's side of cookies. */
export interface CookieJar {
  /** Keeps the cookies of a response's Set-Cookie headers, except those that a browser ignores. */
  store(url: string | URL, response: { readonly headers: Headers }, context?: SiteContext): void;
  /** The Cookie header of a request, or `null` if no cookie goes with it. */
  header(url: string | URL, context?: SiteContext): string | null;
  /** Sends a request with its cookies to a handler, or to a server with the global `fetch`, and keeps the cookies of the answer. Follows no redirect. */
  fetch(
    handler: (request: Request) => Response | Promise<Response>,
    url: string | URL,
    init?: JarRequestInit,
  ): Promise<Response>;
  /** All cookies that have not expired, the oldest first. */
  cookies(): JarCookie[];
  /** Removes the cookies without Max-Age and Expires, as a browser does when it is closed. */
  closeBrowser(): void;
}

/**
 * A cookie jar for tests. It refuses the cookies that browsers refuse, by the rules of RFC 6265bis, sections 5.6 to 5.8
 * (https://datatracker.ietf.org/doc/html/draft-ietf-httpbis-rfc6265bis).
 *
 * It implements the prefixes `__Host-` and `__Secure-`, Secure, Domain, Path, SameSite, Max-Age, Expires and
 * Partitioned, the limit of 4 096 octets for name and value, and the limit of 400 days. It is simpler than a browser:
 * - A public suffix is any domain of one label.
 * - Secure needs https on loopback too, as in Safari.
 * - All pages have one top-level site.
 *
 * @param options The clock
 * @returns The jar
 *
 * @example
 * ```ts
 * import { cookieJar } from "with-session/testing";
 *
 * const handler = (request: Request) =>
 *   new Response(request.headers.get("Cookie"), { headers: { "Set-Cookie": "__Host-a=1; Path=/; Secure" } });
 *
 * const jar = cookieJar();
 * await jar.fetch(handler, "https://shop.example/");
 * const response = await jar.fetch(handler, "https://shop.example/basket");
 * await response.text(); // "__Host-a=1"
 * ```
 */
export function cookieJar(options: CookieJarOptions = {}): CookieJar {
  assertKnown(options, ["now"], "cookieJar");
  const { now = () => Date.now() } = options;
  // In the order of creation: a cookie that is replaced keeps its place in a Map.
  const kept = new Map<string, JarCookie>();

  const isAlive = ({ expiresAt }: JarCookie) => expiresAt === null || expiresAt > now();

  const jar: CookieJar = {
    store(url, response, context = "same-site") {
      for (const line of response.headers.getSetCookie()) {
        const cookie = parseSetCookie(line, new URL(url), now());
        if (cookie === null || !maySet(cookie, new URL(url), context, jar.cookies())) continue;
        const key = JSON.stringify([cookie.name, cookie.domain, cookie.hostOnly, cookie.path, cookie.partitioned]);
        if (isAlive(cookie)) kept.set(key, cookie);
        else kept.delete(key);
      }
    },

    header(url, context = "same-site") {
      const pairs = jar
        .cookies()
        .filter((cookie) => goesWith(cookie, new URL(url), context))
        .sort((one, two) => two.path.length - one.path.length)
        .map(({ name, value }) => (name === "" ? value : `${name}=${value}`));
      return pairs.length === 0 ? null : pairs.join("; ");
    },

    async fetch(handler, url, init = {}) {
      const { context, ...rest } = init;
      // A handler such as the global `fetch` would follow a redirect itself, and keep its cookies from the jar.
      const request = new Request(url, { redirect: "manual", ...rest });
      const cookies = jar.header(url, context);
      if (cookies !== null) request.headers.set("Cookie", cookies);
      const response = await handler(request);
      jar.store(url, response, context);
      return response;
    },

    cookies: () => [...kept.values()].filter(isAlive),

    closeBrowser() {
      for (const [key, { expiresAt }] of kept) {
        if (expiresAt === null) kept.delete(key);
      }
    },
  };
  return jar;
}

/** Reads one Set-Cookie line (section 5.6); `null` if browsers ignore it. Characters of a header are octets. */
function parseSetCookie(line: string, url: URL, now: number): JarCookie | null {
  if (hasControls(line)) return null;
  const [pair = "", ...attributes] = line.split(";");
  const [name, value] = pair.includes("=") ? splitAtEquals(pair) : ["", trim(pair)];
  if (name + value === "" || name.length + value.length > 4096) return null;

  // The last attribute of a name counts. An attribute with more than 1 024 octets is ignored.
  const given = new Map(
    attributes
      .map(splitAtEquals)
      .filter(([, text]) => text.length <= 1024)
      .map(([attribute, text]) => [attribute.toLowerCase(), text]),
  );
  const domain = (given.get("domain") ?? "").replace(/^\./, "").toLowerCase();
  const path = given.get("path") ?? "";
  const cookie: JarCookie = {
    name,
    value,
    domain: domain === "" ? url.hostname : domain,
    // A host that is a public suffix may give itself as Domain. The cookie is then for that host only.
    hostOnly: domain === "" || (domain === url.hostname && !domain.includes(".")),
    path: path.startsWith("/") ? path : defaultPath(url),
    secure: given.has("secure"),
    httpOnly: given.has("httponly"),
    partitioned: given.has("partitioned"),
    sameSite: sameSiteFrom(given.get("samesite")),
    expiresAt: expiryFrom(given.get("max-age"), given.get("expires"), now),
  };
  return keepsPrefix(cookie, path) ? cookie : null;
}

/** Whether a cookie satisfies the prefix of its name. The prefix may be in letters of either case. */
function keepsPrefix({ name, value, secure, hostOnly }: JarCookie, givenPath: string): boolean {
  const prefix = /^__(host|secure)-/i.exec(name === "" ? value : name)?.[1]?.toLowerCase();
  if (prefix === undefined) return true;
  // A cookie without a name is sent as its value alone, and would look like one with the prefix.
  if (name === "" || !secure) return false;
  return prefix === "secure" || (hostOnly && givenPath === "/");
}

/** Whether a response may set this cookie (section 5.7). */
function maySet(cookie: JarCookie, url: URL, context: SiteContext, others: JarCookie[]): boolean {
  const { secure, domain, hostOnly, path } = cookie;
  if (!hostOnly && (!domainMatches(url.hostname, domain) || !domain.includes("."))) return false;
  if (secure && !isSecure(url)) return false;
  if ((cookie.sameSite === "None" || cookie.partitioned) && !secure) return false;
  if (context === "cross-site" && cookie.sameSite !== "None") return false;

  // Plain http must not set a cookie that hides a Secure one.
  return (
    isSecure(url) ||
    !others.some(
      (other) =>
        other.secure &&
        other.name === cookie.name &&
        (domainMatches(other.domain, domain) || domainMatches(domain, other.domain)) &&
        pathMatches(path, other.path),
    )
  );
}

/** Whether a request carries this cookie (section 5.8.3). */
function goesWith(cookie: JarCookie, url: URL, context: SiteContext): boolean {
  const { hostname, pathname } = url;
  return (
    (cookie.hostOnly ? hostname === cookie.domain : domainMatches(hostname, cookie.domain)) &&
    pathMatches(pathname, cookie.path) &&
    (!cookie.secure || isSecure(url)) &&
    (context === "same-site" ||
      cookie.sameSite === "None" ||
      (context === "cross-site-navigation" && cookie.sameSite !== "Strict"))
  );
}

function isSecure({ protocol }: URL): boolean {
  return protocol === "https:" || protocol === "wss:";
}

function domainMatches(host: string, domain: string): boolean {
  // An IPv6 address has no dots.
  const isAddress = /^[\d.]+$/.test(host);
  return host === domain || (!isAddress && host.endsWith(`.${domain}`));
}

function pathMatches(path: string, cookiePath: string): boolean {
  return path === cookiePath || path.startsWith(cookiePath.endsWith("/") ? cookiePath : `${cookiePath}/`);
}

function defaultPath({ pathname }: URL): string {
  return pathname.slice(0, Math.max(1, pathname.lastIndexOf("/")));
}

function sameSiteFrom(text: string | undefined): JarCookie["sameSite"] {
  switch (text?.toLowerCase()) {
    case "strict":
      return "Strict";
    case "lax":
      return "Lax";
    case "none":
      return "None";
    default:
      return "Default";
  }
}

function expiryFrom(maxAge: string | undefined, expires: string | undefined, now: number): number | null {
  const latest = now + 400 * 86_400_000;
  if (maxAge !== undefined && /^-?\d+$/.test(maxAge)) return Math.min(now + Number(maxAge) * 1000, latest);
  const date = Date.parse(expires ?? "");
  return Number.isNaN(date) ? null : Math.min(date, latest);
}

function splitAtEquals(text: string): [string, string] {
  const at = text.indexOf("=");
  return at < 0 ? [trim(text), ""] : [trim(text.slice(0, at)), trim(text.slice(at + 1))];
}

/** Removes only spaces and tabs. Other blanks are part of a name; otherwise prefixes could be forged. */
function trim(text: string): string {
  return text.replace(/^[ \t]+|[ \t]+$/g, "");
}

function hasControls(text: string): boolean {
  return [...text].some((char) => (char < " " && char !== "\t") || char === "\u007f");
}
