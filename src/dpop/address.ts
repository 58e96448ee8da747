/**
 * The address of a request without query and fragment, in one spelling: two spellings of one address are equal afterwards (RFC 3986, 6.2.2
 * and 6.2.3; RFC 9449, 4.3). Null for anything but an http or https address.
 */
export function normalizeAddress(address: string): string | null {
  let url: URL;
  try {
    url = new URL(address);
  } catch {
    return null;
  }
  if (!/^https?:$/.test(url.protocol) || url.username !== "" || url.password !== "") return null;
  return url.origin + url.pathname.replace(/%[0-9a-f]{2}/gi, normalizeEscape);
}

/** An escaped letter, digit, `-`, `.`, `_` or `~` is the character itself; other escapes have capital digits. */
function normalizeEscape(escape: string): string {
  const character = String.fromCharCode(Number.parseInt(escape.slice(1), 16));
  return /[\w.~-]/.test(character) ? character : escape.toUpperCase();
}
