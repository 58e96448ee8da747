/**
 * Adds the headers of a session to a response. A response is recognised by its shape, because servers, test runners and
 * bundlers bring their own classes.
 *
 * @module
 */
import { isObject } from "./kind_of.ts";

/**
 * A copy of a response with the session's headers. Null for a response that cannot carry headers: an upgrade, or a network
 * error, with immutable headers.
 *
 * It is a copy for two reasons. Headers may be immutable (a redirect, a fetched response). And a handler may return one
 * object to two clients: writing to it would give one client's token to the other. The body is passed on, not read.
 *
 * - A `Set-Cookie` that is added replaces those of the same name that the handler set.
 * - `Cache-Control: no-store` also removes the headers that the handler set for particular caches, because those caches
 *   ignore `Cache-Control` (RFC 9213, 2.2).
 * - `Cache-Control: private` is only a default: the handler's own `Cache-Control` stays. `no-cache` alone becomes `no-cache, private`.
 * - `Access-Control-Expose-Headers` is extended only if the handler allows another origin.
 */
export function applyHeaders(response: Response, added: Headers): Response | null {
  const copy = copyOf(response);
  if (copy !== null) {
    mergeHeaders(copy.headers, added);
    return copy;
  }
  try {
    mergeHeaders(response.headers, added);
    return response;
  } catch {
    return null;
  }
}

/**
 * Marks a response as private to one client. The response itself is changed, because the mark is right for every
 * client; it is copied only if its headers are immutable.
 */
export function applyPrivacy(response: Response, varyOn: readonly string[]): Response {
  try {
    keepPrivate(response.headers, varyOn);
    return response;
  } catch {
    const copy = copyOf(response);
    if (copy === null) return response;
    keepPrivate(copy.headers, varyOn);
    return copy;
  }
}

/** Sets the headers for caches: the response is private to one client, and depends on these request headers. */
export function keepPrivate(headers: Headers, varyOn: readonly string[]): void {
  for (const name of varyOn) addTo(headers, "Vary", name);
  if (!headers.has("Cache-Control")) headers.set("Cache-Control", PRIVATE);
}

/** The `Cache-Control` of a response whose session was only used. */
const PRIVATE = "private";

/** Whether a value is a response, of any implementation. */
export function isResponse(value: unknown): value is Response {
  return isObject(value) && "status" in value && "headers" in value;
}

/** The part of `Headers` that is needed to add to them. Adapters have headers of other kinds. */
export type HeaderTarget = Pick<Headers, "get" | "set" | "append" | "delete" | "has" | "getSetCookie"> & {
  keys(): Iterable<string>;
};

/** Adds the session's headers to those of a response, by the rules of {@linkcode applyHeaders}. */
export function mergeHeaders(headers: HeaderTarget, added: Headers): void {
  const ours = added.getSetCookie();
  const theirs = ours.length > 0 ? headers.getSetCookie() : [];
  if (theirs.length > 0) {
    const names = new Set(ours.map(cookieName));
    headers.delete("Set-Cookie");
    for (const cookie of theirs) if (!names.has(cookieName(cookie))) headers.append("Set-Cookie", cookie);
  }
  if (added.get("Cache-Control")?.includes("no-store"))
    for (const name of [...headers.keys()].filter((each) => TARGETED.test(each))) headers.delete(name);
  for (const [name, value] of added) {
    if (name === "set-cookie") headers.append("Set-Cookie", value);
    else if (name === "vary") for (const item of value.split(",")) addTo(headers, name, item.trim());
    else if (name === "cache-control" && value === PRIVATE) keepFromSharedCaches(headers);
    else if (name !== "access-control-expose-headers") headers.set(name, value);
    else if (headers.has("Access-Control-Allow-Origin")) addTo(headers, name, value);
  }
}

/** Makes a response private, unless its handler says how long caches may keep it. */
function keepFromSharedCaches(headers: HeaderTarget): void {
  const own = headers.get("Cache-Control");
  if (own === null) headers.set("Cache-Control", PRIVATE);
  // Some frameworks of Node set this for each response. Shared caches may keep such a response (RFC 9111, 5.2.2.4).
  else if (own === "no-cache") headers.set("Cache-Control", `${own}, ${PRIVATE}`);
}

/** The headers that particular caches read in place of `Cache-Control`. */
const TARGETED = /-cache-control$|^(?:surrogate-control|edge-control|x-accel-expires)$/;

/** The name of the cookie in a line of `Set-Cookie`. */
export function cookieName(line: string): string {
  return line.slice(0, line.indexOf("=")).trim();
}

function addTo(headers: HeaderTarget, name: string, item: string): void {
  const items = headers.get(name);
  if (items === null) return headers.set(name, item);
  const present = items.split(",").map((each) => each.trim().toLowerCase());
  if (!present.includes(item.toLowerCase()) && !present.includes("*")) headers.append(name, item);
}

let typeIsLate: boolean | undefined;

/**
 * Whether the runtime names the type of a text response only when it sends the response, as Bun does. It is tested on
 * first use, because workerd cannot make a Response while a module starts.
 */
function namesTypeLate(): boolean {
  return (typeIsLate ??= !new Response("").headers.has("Content-Type"));
}

/**
 * A copy of a response; null if no constructor can make it: an upgrade to another protocol outside of workerd, or a network error.
 */
function copyOf(response: Response): Response | null {
  try {
    // A clone keeps the type. The body of the original is cancelled, so that it does not buffer what is read from the clone.
    if (namesTypeLate() && !response.headers.has("Content-Type")) {
      const clone = response.clone();
      void response.body?.cancel().catch(() => {});
      return clone;
    }
    return isOfThisRealm(Response.prototype, "status", response)
      ? new Response(response.body, response)
      : adopt(response);
  } catch (error) {
    if (response.status === 101 || response.type === "error") return null;
    throw error;
  }
}

/**
 * Whether an object is of the runtime's own class. A getter of the class throws for a foreign object, while
 * `instanceof` can be deceived.
 */
function isOfThisRealm(prototype: object, getter: string, value: object): boolean {
  try {
    Reflect.get(prototype, getter, value);
    return true;
  } catch {
    return false;
  }
}

/**
 * Makes a response of this runtime from one of another implementation. Passed a foreign stream, the constructor would
 * convert it to a string.
 */
function adopt({ body, status, statusText, headers }: Response): Response {
  const copy = new Response(body === null || body === undefined ? null : ownStream(body), {
    status,
    statusText,
    headers: [...headers],
  });
  copy.headers.delete("Set-Cookie");
  for (const cookie of setCookiesOf(headers)) copy.headers.append("Set-Cookie", cookie);
  return copy;
}

/**
 * The lines of `Set-Cookie` of a response.
 *
 * @throws {TypeError} If the headers are of an implementation that cannot tell them apart
 */
export function setCookiesOf(headers: Headers): string[] {
  if (typeof headers.getSetCookie === "function") return headers.getSetCookie();
  if (headers.get("Set-Cookie") === null) return [];
  throw unusable("its headers join several lines of Set-Cookie");
}

/** The error for a response of an implementation that lacks what a copy needs, such as that of node-fetch. */
function unusable(reason: string): TypeError {
  return new TypeError(
    `Cannot add the session's headers to a Response of another implementation: ${reason}; return a Response of the runtime`,
  );
}

function ownStream(body: ReadableStream<Uint8Array>): ReadableStream<Uint8Array> {
  if (isOfThisRealm(ReadableStream.prototype, "locked", body)) return body;
  if (typeof body.getReader !== "function") throw unusable("its body is not a ReadableStream");
  const reader = body.getReader();
  return new ReadableStream({
    async pull(controller) {
      const { done, value } = await reader.read();
      if (done) controller.close();
      else controller.enqueue(value);
    },
    cancel: (reason) => reader.cancel(reason),
  });
}
