/**
 * The session's id in a query parameter or a hidden form field, for clients that keep neither cookies nor headers.
 *
 * **Warning.** Whoever has the id has the session, and an id in an address goes wherever the address goes: into
 * histories, logs, bookmarks, messages, and to other sites as `Referer`. It also lets anybody send somebody a
 * link into a session of their own making. Never do this for signed-in users if a cookie or a header will do;
 * if you must, call `regenerate()` at login and keep `idleTimeout` short. Without such a transport it is off.
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
    // It is a copy that is read here: the body is still the handler's.
    return new URLSearchParams(await request.clone().text()).get("sid");
  },
  // The handler puts the id into the page, so there is no header to write, and nothing that could be cleared.
  write() {},
  clear() {},
};

const fetch = withSession<{ visits?: number }>(
  async (request, session) => {
    const visits = await session.update("visits", (n = 0) => n + 1);
    const note = request.method === "POST" ? String((await request.formData()).get("note")) : "";
    // An id has only letters, digits, "-" and "_": it needs no escaping.
    const id = await session.create();
    const page = `<p>Visit ${visits}. Your note has ${note.length} characters.</p>
      <p><a href="/?sid=${id}">Again</a></p>
      <form method="post"><input type="hidden" name="sid" value="${id}"><input name="note"><button>Send</button></form>`;
    const headers = { "Content-Type": "text/html", "Cache-Control": "no-store", "Referrer-Policy": "no-referrer" };
    return new Response(page, { headers });
  },
  // Eager, so that the form is read before the handler takes the body.
  { transports: [inThePage], load: "eager", idleTimeout: 900 },
);

export default { fetch };
