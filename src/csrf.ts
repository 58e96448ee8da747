/**
 * Tokens against cross-site request forgery, bound to a session.
 *
 * @example
 * ```ts
 * import { withSession } from "with-session";
 * import { csrfToken, verifyCsrfToken } from "with-session/csrf";
 *
 * export default {
 *   fetch: withSession(async (request, session) => {
 *     if (request.method === "POST") {
 *       if (!(await verifyCsrfToken(session, request))) return new Response("Please reload the form.\n", { status: 403 });
 *       return new Response("Saved.\n");
 *     }
 *     const token = await csrfToken(session);
 *     const form = `<form method="post"><input type="hidden" name="csrf-token" value="${token}"><button>Save</button></form>`;
 *     return new Response(form, { headers: { "Content-Type": "text/html; charset=utf-8" } });
 *   }),
 * };
 * ```
 *
 * @module
 */
import type { AnySession } from "./core/session.ts";
import { internalsOf } from "./core/session_internals.ts";
import { concat, fromBase64Url, toBase64Url } from "./core/base64url.ts";
import { isEqual } from "./crypto/hmac.ts";
import { deriveKey } from "./crypto/keys.ts";

const TOKEN_BYTES = 32;
/** 64 bytes in base64url. */
const SHAPE = /^[A-Za-z0-9_-]{86}$/;
const FORM = /^(?:application\/x-www-form-urlencoded|multipart\/form-data)\s*(?:;|$)/i;

/** The part of a request that {@linkcode verifyCsrfToken} reads. A `Request` of any implementation has it. */
export interface CsrfRequest {
  /** The headers, of which two are read. */
  readonly headers: { get(name: string): string | null };
  /** Whether the body was read before. */
  readonly bodyUsed: boolean;
  /** A copy, so that the form can be read again. */
  clone(): { formData(): Promise<{ get(name: string): unknown }> };
}

/**
 * A token for the forms of a session, 86 characters of `A-Z a-z 0-9 - _`. It begins the session if there is none. Each
 * call gives another text, so a compressed page does not disclose the token (BREACH). Each text is valid until the
 * session ends or is regenerated.
 *
 * @param session The session of the request
 * @returns The token, for the form field `csrf-token` or the header `X-CSRF-Token`
 * @throws {SessionError} `ERR_RESPONSE_SENT` if there is no session and the response was sent; `ERR_SESSION_GONE` if the client came with an id that was regenerated within the last minute; `ERR_STORE`, `ERR_STORE_TIMEOUT`
 *
 * @example
 * ```ts
 * import { withSession } from "with-session";
 * import { csrfToken } from "with-session/csrf";
 *
 * const handle = withSession(async (_request, session) => Response.json({ token: await csrfToken(session) }));
 * ```
 */
export function csrfToken(session: AnySession): Promise<string> {
  const internals = internalsOf(session);
  const make = async (): Promise<string> => {
    await internals.begin();
    const token = await deriveKey("csrf", await internals.discloseId());
    const mask = crypto.getRandomValues(new Uint8Array(TOKEN_BYTES));
    return toBase64Url(concat(mask, exclusiveOr(token, mask)));
  };
  return internals.track(make());
}

/**
 * Whether a request, or a token that was found in it, proves that the request comes from a page of this session. The
 * token is the header `X-CSRF-Token`, or without that header the field `csrf-token` of the form. The form is read from
 * a copy, which is kept in memory, so send a large upload with the header.
 *
 * @param session The session of the request
 * @param presented The request, or a token that was found in it
 * @returns Whether the token belongs to this session; false if there is no session or no token
 * @throws {TypeError} If the form must be read, and was read before; if `presented` is a promise or a request of Node
 * @throws {SessionError} `ERR_STORE`, `ERR_STORE_TIMEOUT`
 *
 * @example
 * ```ts
 * import { withSession } from "with-session";
 * import { verifyCsrfToken } from "with-session/csrf";
 *
 * const handle = withSession(async (request, session) => {
 *   return new Response(null, { status: (await verifyCsrfToken(session, request)) ? 204 : 403 });
 * });
 * ```
 */
export async function verifyCsrfToken(
  session: AnySession,
  presented: CsrfRequest | string | null | undefined,
): Promise<boolean> {
  const internals = internalsOf(session);
  await internals.load();
  // A session that begins or gets a new id in this request has tokens before it is stored, so both ids count. If the id was
  // renewed by age, the form may have a token of the old one.
  const ids = [internals.found?.id, internals.disclosedId, internals.renewedId].filter((id) => id !== undefined);
  if (ids.length === 0) return false;
  const text = isRequest(presented) ? await tokenIn(presented) : presented;
  if (typeof text !== "string" || !SHAPE.test(text)) return false;
  const bytes = fromBase64Url(text);
  const token = toBase64Url(exclusiveOr(bytes.subarray(TOKEN_BYTES), bytes));
  for (const id of ids) if (isEqual(token, toBase64Url(await deriveKey("csrf", id)))) return true;
  return false;
}

/**
 * Whether a value is a request. The value can be anything: a program may pass on what a client sent as JSON. JSON has
 * no functions.
 *
 * @throws {TypeError} If it is a promise, or a request of Node
 */
function isRequest(value: unknown): value is CsrfRequest {
  if (typeof value !== "object" || value === null) return false;
  if ("then" in value && typeof value.then === "function")
    throw new TypeError("verifyCsrfToken takes a request or a token, not a promise: await it");
  if ("pipe" in value && typeof value.pipe === "function")
    throw new TypeError(
      "verifyCsrfToken takes a Request or a token, not a request of Node: pass the token that it brought",
    );
  return "headers" in value && "clone" in value && typeof value.clone === "function";
}

async function tokenIn(request: CsrfRequest): Promise<unknown> {
  const header = request.headers.get("X-CSRF-Token");
  if (header !== null || !FORM.test(request.headers.get("Content-Type") ?? "")) return header;
  if (request.bodyUsed)
    throw new TypeError("Cannot find the CSRF token: the form was read before; verify first, or pass the token itself");
  try {
    return (await request.clone().formData()).get("csrf-token");
  } catch {
    // A client may send any body with the content type of a form.
    return null;
  }
}

function exclusiveOr(bytes: Uint8Array, mask: Uint8Array): Uint8Array {
  return bytes.map((byte, at) => byte ^ (mask[at] ?? 0));
}
