/**
 * A response with what the session has to say, or the very same one if it has nothing to say. It is always a
 * copy: headers may be immutable (a redirect, a fetched response), and a handler may answer two requests with one
 * and the same object, so that writing into it would hand one client's cookie to another. The body is passed on,
 * not read.
 */
export function withHeaders(response: Response, said: Headers): Response {
  if (said.keys().next().done) return response;
  const copy = copyOf(response);
  if (copy === null) return response;
  for (const cookie of said.getSetCookie()) copy.headers.append("Set-Cookie", cookie);
  // Who tells or takes back an id says no-store, which caches with a header of their own would not look at (RFC 9213, 2.2).
  for (const name of [...copy.headers.keys()].filter(isTargeted)) copy.headers.delete(name);
  for (const [name, value] of said) {
    if (name === "access-control-expose-headers") expose(copy.headers, value);
    else if (name !== "set-cookie") copy.headers.set(name, value);
  }
  return copy;
}

/** Whether a header tells some caches what `Cache-Control` tells the others. */
function isTargeted(name: string): boolean {
  return name.endsWith("cdn-cache-control") || /^(?:surrogate-control|edge-control|x-accel-expires)$/.test(name);
}

/** A response that tells no id, but would be another for another client: the same, with what caches are to be told. */
export function withPrivacy(response: Response, varyOn: readonly string[]): Response {
  const copy = copyOf(response);
  if (copy === null) return response;
  keepPrivate(copy.headers, varyOn);
  return copy;
}

/** Tells caches that the response is for one client alone, and depends on these request headers. */
export function keepPrivate(headers: Headers, varyOn: readonly string[]): void {
  for (const name of varyOn) addTo(headers, "Vary", name);
  if (!headers.has("Cache-Control")) headers.set("Cache-Control", "private");
}

let typeIsLate: boolean | undefined;

/** Bun finds out the type of a text's response when it sends it. Asked late, as workerd makes no Response at the start. */
function namesTypeLate(): boolean {
  return (typeIsLate ??= !new Response("").headers.has("Content-Type"));
}

/** Null for what cannot be made by hand: an upgrade to another protocol outside of workerd, a network error. */
function copyOf(response: Response): Response | null {
  try {
    // What is cloned keeps its type; the other half of its body is given up, so that nothing gathers there.
    if (namesTypeLate() && !response.headers.has("Content-Type")) {
      const clone = response.clone();
      void response.body?.cancel().catch(() => {});
      return clone;
    }
    return new Response(response.body, response);
  } catch (error) {
    if (response.status === 101 || response.type === "error") return null;
    throw error;
  }
}

/** Scripts of another origin may be shown the id only where the handler lets that origin in at all. */
function expose(headers: Headers, name: string): void {
  if (headers.has("Access-Control-Allow-Origin")) addTo(headers, "Access-Control-Expose-Headers", name);
}

function addTo(headers: Headers, name: string, item: string): void {
  const items = headers.get(name);
  if (items === null) return headers.set(name, item);
  const present = items.split(",").map((each) => each.trim().toLowerCase());
  if (!present.includes(item.toLowerCase()) && !present.includes("*")) headers.append(name, item);
}
