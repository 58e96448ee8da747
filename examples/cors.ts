/**
 * An API that pages of another site call, with sessions.
 *
 * - The cookie is `SameSite=None; Secure; Partitioned`: browsers send it from another site only so, only over
 *   https, and `Partitioned` (CHIPS) also where third-party cookies are blocked. The page says
 *   `fetch(url, { credentials: "include" })`.
 * - A client that gets no cookie through sends `X-Session-Id: ` and keeps the id that comes back in that header;
 *   the library exposes it to the page's script.
 * - With SameSite gone, nothing but the list of origins stands between this API and everybody's pages. So the
 *   list is exact, requests from elsewhere are refused, and a GET changes nothing, because an `<img>` sends one
 *   with the cookie and without an `Origin`.
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
