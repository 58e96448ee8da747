/** Whether a text is a token (RFC 9110, 5.6.2), as methods and the names of headers and cookies must be. */
export function isToken(text: unknown): text is string {
  return typeof text === "string" && /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(text);
}

/**
 * A text without the spaces and tabs around it. No other character is trimmed: a
 * proxy may have read it as part of the value.
 */
export function trimBlanks(text: string): string {
  let start = 0;
  let end = text.length;
  // A regular expression for the end of a text would begin anew at each space: quadratic time for a hostile header.
  while (isBlank(text.charCodeAt(start))) start++;
  while (end > start && isBlank(text.charCodeAt(end - 1))) end--;
  return text.slice(start, end);
}

/** Whether a character is a space or a tab. */
export function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x09;
}
