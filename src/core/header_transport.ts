import { isToken, trimBlanks } from "./http_token.ts";
import { assertKnown } from "./known_options.ts";
import { oneOf } from "./options/simple_checks.ts";
import type { Transport } from "./transport.ts";

/** A header in which the token travels, for clients without cookies. */
export interface HeaderOptions {
  /** The header's name, such as `X-Session-Id`; the same in requests and responses. */
  readonly name: string;
  /** What stands before the token, as in `Authorization: Bearer …`. @default Nothing */
  readonly scheme?: "Bearer" | undefined;
}

// Headers that carry something else, so that the token would replace it or be lost. Some belong to other modules of this package.
const TAKEN: readonly RegExp[] = [
  /^(?:cookie|host|origin|referer|user-agent|forwarded|via|range|te|expect|upgrade|connection|accept|dpop|x-csrf-token)$/i,
  /^(?:set-cookie|date|age|expires|etag|last-modified|location|vary|server|link|allow|refresh|retry-after|www-authenticate)$/i,
  /^(?:(?:(?:cdn-)?cache|surrogate)-control|clear-site-data|strict-transport-security|dpop-nonce|trailer|transfer-encoding)$/i,
  /^(?:content|sec|secure-session|proxy|access-control|accept|if|x-forwarded)-/i,
];

/**
 * Carries the token in a header. A request with an empty value asks for a session whose token comes back in the same header.
 *
 * @param options The header's name, or its name and scheme
 * @throws {TypeError} If the name is not a token (RFC 9110, 5.6.2) or has another use in HTTP, or the scheme is not
 * `"Bearer"`
 */
export function headerTransport(options: string | HeaderOptions): Transport {
  const given: HeaderOptions = typeof options === "string" ? { name: options } : options;
  assertKnown(given, ["name", "scheme"], "header");
  const { name, scheme } = given;
  if (!isToken(name)) throw new TypeError("Cannot use the header: its name is not a token (RFC 9110, 5.6.2)");
  if (TAKEN.some((each) => each.test(name)))
    throw new TypeError(`Cannot use the header ${name}: HTTP uses it for something else`);
  oneOf("header.scheme", scheme, ["Bearer"]);
  const prefix = scheme === undefined ? "" : `${scheme} `;
  /** The value after the scheme, whose letter case is ignored (RFC 9110, 11.1); null without the header or the scheme. */
  const valueOf = (request: Request): string | null => {
    const header = request.headers.get(name);
    if (header === null) return null;
    const value = trimBlanks(header);
    if (value === "") return value;
    return `${value} `.toLowerCase().startsWith(prefix.toLowerCase()) ? trimBlanks(value.slice(prefix.length)) : null;
  };
  return {
    requestHeader: name,
    responseHeader: name,
    name: () => name,
    read: (request) => valueOf(request) || null,
    wants: (request) => valueOf(request) !== null,
    write: (headers, token) => headers.set(name, prefix + token),
    clear: (headers) => headers.set(name, ""),
  };
}
