/**
 * The address of a request as a URL. It never throws: a client chooses the header `Host` and the address, and Bun and
 * Deno pass them on even if they make no URL. The host is then `invalid.invalid`. The path is kept, because options may
 * depend on it. A user name and a password are left out: Node's `Request` refuses them.
 */
export function urlOf(address: string): URL {
  try {
    const url = new URL(address);
    url.username = url.password = "";
    return url;
  } catch {
    return new URL(`http://invalid.invalid/${address.replace(/^(?:https?:\/\/[^/?#\\]*)?[/\\]?/i, "")}`);
  }
}

/** Whether a value is an origin: scheme, host and port, and nothing else. */
export function isOrigin(value: unknown): value is string {
  return typeof value === "string" && URL.canParse(value) && new URL(value).origin === value;
}
