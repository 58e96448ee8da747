/** Whether a text is a token (RFC 9110, 5.6.2): what names of headers and cookies are made of. */
export function isToken(text: unknown): text is string {
  return typeof text === "string" && /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(text);
}
