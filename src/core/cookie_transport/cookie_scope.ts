/** Where a browser keeps a cookie. Cookies of different scopes are different cookies, even if their names are the same. */
export interface CookieScope {
  readonly name: string;
  readonly domain: string | undefined;
  readonly path: string;
  readonly partitioned: boolean;
}

/** Whether browsers accept a cookie of this name for the host alone, with the path `/`. */
export function isHostName(name: string): boolean {
  return name.toLowerCase().startsWith("__host-");
}

/** How many domains, and how many paths, are tried for a stray cookie. Each costs a line in the response. */
const MAX_VARIANTS = 3;

/**
 * The previous scopes in which a client may still have a cookie for the session: those whose cookie the request
 * carries, and those whose path keeps browsers from sending the cookie with this request.
 */
export function previousStrays(
  own: CookieScope,
  previous: readonly CookieScope[],
  { pathname }: URL,
  carries: (name: string) => boolean,
): CookieScope[] {
  return distinct(
    own,
    previous.filter(({ name, path }) => carries(name) || (path !== own.path && !isSent(path, pathname))),
  );
}

/** The scopes to try if two cookies have the name of `own`: other domains, other paths, with or without partition. */
export function guessedStrays(own: CookieScope, { hostname, pathname }: URL, isSecure: boolean): CookieScope[] {
  // These are tried for a `__Host-` name as well, because an old WebKitGTK keeps
  // such a cookie in any scope. Other browsers ignore these lines.
  const partitions = isSecure ? [{ ...own, partitioned: !own.partitioned }] : [];
  // In `Set-Cookie`, a text after a semicolon would be read as attributes. The address is chosen by the client.
  if (hostname.includes(";")) return partitions;
  const labels = /^[\d.]+$|^\[/.test(hostname) ? [] : hostname.split(".");
  const domains = labels.slice(1).map((_, at) => labels.slice(at).join("."));
  const folders = pathname.split("/").slice(1, MAX_VARIANTS + 1);
  const paths = folders.map((_, at) => `/${folders.slice(0, at + 1).join("/")}`).filter((path) => !path.includes(";"));
  return distinct(own, [
    ...[undefined, ...domains.slice(-MAX_VARIANTS)].map((domain) => ({ ...own, domain })),
    ...["/", ...paths].map((path) => ({ ...own, path })),
    ...partitions,
  ]);
}

/** Whether browsers send a cookie of this path with a request (RFC 6265, 5.1.4). */
function isSent(path: string, pathname: string): boolean {
  return pathname === path || pathname.startsWith(path.endsWith("/") ? path : `${path}/`);
}

/** Each scope once, without `own`. */
export function distinct(own: CookieScope, scopes: readonly CookieScope[]): CookieScope[] {
  const byKey = new Map(scopes.map((scope) => [keyOf(scope), scope]));
  byKey.delete(keyOf(own));
  return [...byKey.values()];
}

function keyOf({ name, domain, path, partitioned }: CookieScope): string {
  return JSON.stringify([name, domain?.replace(/^\./, "").toLowerCase(), path, partitioned]);
}
