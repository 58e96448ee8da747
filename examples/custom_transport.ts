/**
 * The session's id in a query parameter or a hidden form field, for clients that keep neither cookies nor headers.
 *
 * **Warning.** Anybody who has the id has the session, and an id in an address is copied with the address: into
 * histories, logs, bookmarks and messages, and to other sites as `Referer`. It also lets an attacker send a user a link
 * into the attacker's session. Do not use it for signed-in users if a cookie or a header is possible. If you must, call
 * `regenerate()` at login and keep `idleTimeout` short. The library has no such transport unless a program adds one.
 *
 * @module
 */
import { withSession } from "with-session";
import type { Transport } from "with-session";

const inThePage: Transport = {
  async read(request) {
    const inAddress = new URL(request.url).searchParams.get("sid");
    const type = request.headers.get("Content-Type") ?? "";
    if (inAddress !== null || !type.startsWith("application/x-www-form-urlencoded")) return inAddress;
    // This reads a copy, because the handler needs the body.
    return new URLSearchParams(await request.clone().text()).get("sid");
  },
  // The handler puts the id into the page, so the transport has no header to write and nothing to clear.
  write() {},
  clear() {},
};

const fetch = withSession<{ visits?: number }>(
  async (request, session) => {
    const visits = await session.update("visits", (n = 0) => n + 1);
    const note = request.method === "POST" ? String((await request.formData()).get("note")) : "";
    // An id contains only letters, digits, "-" and "_", so it needs no escaping.
    const id = await session.create();
    const page = `<p>Visit ${visits}. Your note has ${note.length} characters.</p>
      <p><a href="/?sid=${id}">Again</a></p>
      <form method="post"><input type="hidden" name="sid" value="${id}"><input name="note"><button>Send</button></form>`;
    const headers = { "Content-Type": "text/html", "Cache-Control": "no-store", "Referrer-Policy": "no-referrer" };
    return new Response(page, { headers });
  },
  // Eager, so that the transport reads the form before the handler does.
  { transports: [inThePage], load: "eager", idleTimeout: 900 },
);

export default { fetch };
