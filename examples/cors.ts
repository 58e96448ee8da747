/**
 * An API with sessions, for pages of other sites.
 *
 * - The cookie is `SameSite=None; Secure; Partitioned`. Without `SameSite=None`, browsers do not send it with requests
 *   of other sites' pages; with it, they require `Secure`, and so https. With `Partitioned` (CHIPS) it also works where
 *   third-party cookies are blocked. The page calls `fetch(url, { credentials: "include" })`.
 * - A client that cannot use cookies sends an empty `X-Session-Id`, and keeps the id that comes back in that header.
 *   The library exposes the header to the page's script.
 * - Without SameSite, only the list of origins protects this API from the pages of all sites. So the list is exact,
 *   requests of other origins are rejected, and a GET changes nothing, because an `<img>` sends a GET with the cookie
 *   and without an `Origin`.
 *
 * @module
 */
import { withSession } from "with-session";

/** The API, for pages of these origins, such as `https://app.example`. */
export function api(origins: readonly string[]): (request: Request) => Promise<Response> {
  return withSession<{ likes?: number }>(
    async (request, session) => {
      const origin = request.headers.get("Origin");
      const headers = new Headers({ Vary: "Origin" });
      if (origin !== null) {
        if (!origins.includes(origin)) return new Response("Not for this origin\n", { status: 403, headers });
        headers.set("Access-Control-Allow-Origin", origin);
        headers.set("Access-Control-Allow-Credentials", "true");
      }
      if (request.method === "OPTIONS") {
        headers.set("Access-Control-Allow-Methods", "GET, POST");
        headers.set("Access-Control-Allow-Headers", "Content-Type, X-Session-Id");
        return new Response(null, { status: 204, headers });
      }
      if (request.method === "POST") await session.update("likes", (n = 0) => n + 1);
      return Response.json({ likes: await session.get("likes", 0) }, { headers });
    },
    { header: "X-Session-Id", cookie: { sameSite: "None", partitioned: true } },
  );
}

export default { fetch: api(["https://app.example"]) };
