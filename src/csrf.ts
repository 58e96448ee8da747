import { isEqual, keyFor, toBase64Url } from "./signing.ts";

/**
 * A token that belongs to one session: HMAC-SHA-256 of its id, so that nothing is stored and whoever knows the token does not
 * know the id. It goes out behind a random mask, another one each time: in a compressed page a constant text could be
 * guessed piece by piece (BREACH).
 */
export function maskedToken(id: string): string {
  const mask = crypto.getRandomValues(new Uint8Array(TOKEN_BYTES));
  const token = keyFor("csrf", id);
  return toBase64Url(Uint8Array.from([...mask, ...token.map((byte, at) => byte ^ mask[at]!)]));
}

/** Whether a text is a token of the session with this id; whatever it is, this does not throw. */
export function isTokenOf(id: string, presented: unknown): boolean {
  if (typeof presented !== "string" || !MASKED_SHAPE.test(presented)) return false;
  const bytes = Uint8Array.from(atob(fromUrlSafe(presented)), (character) => character.charCodeAt(0));
  const token = bytes.slice(TOKEN_BYTES).map((byte, at) => byte ^ bytes[at]!);
  return isEqual(toBase64Url(token), toBase64Url(keyFor("csrf", id)));
}

/**
 * The token that a request brings, in a header or a field of a form.
 *
 * @throws {TypeError} If the form was read before
 */
export async function tokenIn(request: Request): Promise<unknown> {
  const header = request.headers.get("X-CSRF-Token");
  if (header !== null || !FORM.test(request.headers.get("Content-Type") ?? "")) return header;
  if (request.bodyUsed)
    throw new TypeError("Cannot look for the token: the form was read; verify before, or give the token");
  // The handler reads the form after this, so it is a copy that is read here.
  const form = await request
    .clone()
    .formData()
    .catch(() => null);
  return form?.get("csrf-token") ?? null;
}

const TOKEN_BYTES = 32;
/** 64 bytes in base64url. */
const MASKED_SHAPE = /^[A-Za-z0-9_-]{86}$/;
const FORM = /^(?:application\/x-www-form-urlencoded|multipart\/form-data)\s*(?:;|$)/i;

function fromUrlSafe(text: string): string {
  return text.replaceAll("-", "+").replaceAll("_", "/");
}
