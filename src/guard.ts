/**
 * Whether a request was caused by a page of another origin and could change something: by what browsers say themselves, which
 * no page can forge (Fetch Metadata, https://www.w3.org/TR/fetch-metadata/; Origin, RFC 6454, 7).
 *
 * A request with neither header does not come from a browser of the last years, and nobody can be tricked into sending it.
 */
export function isCrossOrigin(request: Request): boolean {
  if (isSafe(request)) return false;
  const site = request.headers.get("Sec-Fetch-Site");
  // "none" is what the user does by hand, in the address bar or the history.
  if (site !== null) return site !== "same-origin" && site !== "none";
  const origin = request.headers.get("Origin");
  return origin !== null && origin !== new URL(request.url).origin;
}

/** The answer to such a request. */
export function forbidden(): Response {
  return new Response("This request comes from another site.\n", {
    status: 403,
    headers: { "Cache-Control": "no-store", "Content-Type": "text/plain; charset=utf-8" },
  });
}

/** Safe methods (RFC 9110, 9.2.1) change nothing; a WebSocket begins with a GET, and can do anything afterwards. */
function isSafe(request: Request): boolean {
  return /^(?:GET|HEAD|OPTIONS)$/.test(request.method) && !request.headers.has("Upgrade");
}
