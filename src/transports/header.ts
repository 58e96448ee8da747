import { isToken } from "./token.ts";
import type { Transport } from "./transport.ts";

/** A header in which the id travels, for clients without cookies. */
export interface HeaderOptions {
  /** The header's name, such as `X-Session-Id`; the same in requests and responses. */
  readonly name: string;
  /** What stands before the id, as in `Authorization: Bearer …`. */
  readonly scheme?: "Bearer";
}

/**
 * Carries the id in a header. An empty value asks for a session whose id comes back in the same header.
 *
 * @throws {TypeError} If the name is no header name
 */
export function headerTransport({ name, scheme }: HeaderOptions): Transport {
  if (!isToken(name)) throw new TypeError("Cannot use the header: its name is not a token (RFC 9110, 5.6.2)");
  if (scheme !== undefined && scheme !== "Bearer") throw new TypeError('The scheme of a header can only be "Bearer"');
  const prefix = scheme === undefined ? "" : `${scheme} `;
  /** The value behind the scheme, which is matched in any letter case (RFC 9110, 11.1); null if it is not ours. */
  const valueOf = (request: Request): string | null => {
    const value = request.headers.get(name);
    if (!value) return value;
    return `${value} `.toLowerCase().startsWith(prefix.toLowerCase()) ? value.slice(prefix.length).trim() : null;
  };
  return {
    varyOn: name,
    exposes: name,
    read: (request) => valueOf(request) || null,
    asks: (request) => valueOf(request) !== null,
    write: (headers, id) => headers.set(name, prefix + id),
    clear: (headers) => headers.set(name, ""),
  };
}
