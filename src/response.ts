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
  for (const [name, value] of said) {
    if (name === "vary") addTo(copy.headers, name, value);
    else if (name === "cache-control") setCacheControl(copy.headers, value);
    else if (name === "access-control-expose-headers") expose(copy.headers, value);
    else if (name !== "set-cookie") copy.headers.set(name, value);
  }
  return copy;
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

/** A response that hands out an id must not be kept by any cache, whatever the handler said (RFC 9111, 7.3). */
function setCacheControl(headers: Headers, value: string): void {
  if (value === "no-store" || !headers.has("Cache-Control")) headers.set("Cache-Control", value);
}

/** Scripts of another origin may be shown the id only where the handler lets that origin in at all. */
function expose(headers: Headers, name: string): void {
  if (headers.has("Access-Control-Allow-Origin")) addTo(headers, "Access-Control-Expose-Headers", name);
}

function addTo(headers: Headers, name: string, value: string): void {
  const present = (headers.get(name) ?? "").split(",").map((item) => item.trim().toLowerCase());
  const missing = value.split(",").filter((item) => !present.includes(item.trim().toLowerCase()));
  if (missing.length > 0 && !present.includes("*")) headers.append(name, missing.join(",").trim());
}
