import { describe, expect, test } from "vitest";
import { memoryStore, type Session, SessionManager } from "../../mod.ts";
import { cookieSessions } from "../../src/cookie_sessions.ts";
import { csrfToken, verifyCsrfToken } from "../../src/csrf.ts";
import { type UserSessions, userSessions } from "../../src/user_sessions.ts";
import { visitor } from "../setup/sessions.ts";

const secret = "a secret of at least thirty-two bytes";

describe("caches", () => {
  const touches: Record<string, (session: Session) => unknown> = {
    "get()": (session) => session.get("n"),
    "has()": (session) => session.has("n"),
    "all()": (session) => session.all(),
    "keys()": (session) => session.keys(),
    "size()": (session) => session.size(),
    "id()": (session) => session.id(),
    "info()": (session) => session.info(),
    "set()": (session) => session.set("n", 2),
    "delete()": (session) => session.delete("n"),
    "clear()": (session) => session.clear(),
    "update()": (session) => session.update("n", (n = 0) => n + 1),
    "pull()": (session) => session.pull("n"),
    "flash()": (session) => session.flash("x", 1),
    "keepFlash()": (session) => session.keepFlash(),
    "create()": (session) => session.create(),
    "save()": (session) => session.save(),
    "touch()": (session) => session.touch(),
    "setTimeouts()": (session) => session.setTimeouts({ idle: 50 }),
    "regenerate()": (session) => session.regenerate(),
    "destroy()": (session) => session.destroy(),
  };
  const functions = (users: UserSessions<{ browser: string }>): Record<string, (session: Session) => unknown> => ({
    "csrfToken()": (session) => csrfToken(session),
    "verifyCsrfToken()": (session) => verifyCsrfToken(session, "x"),
    "users.bind()": (session) => users.bind(session, "ada", { browser: "Firefox" }),
    "users.unbind()": (session) => users.unbind(session),
    "users.handle()": (session) => users.handle(session),
  });

  test("the list of touches has every method that a session has", () => {
    const methods = Object.getOwnPropertyNames(Object.getPrototypeOf(new SessionManager().open("")));
    const calls = methods.filter((name) => name !== "constructor").map((name) => `${name}()`);
    expect(Object.keys(touches).toSorted()).toEqual(calls.toSorted());
  });

  test.each(Object.keys({ ...touches, ...functions(userSessions()) }))(
    "[ASVS 14.3.2] [OWASP: caching] %s keeps the response from shared caches",
    async (name) => {
      for (const through of ["withSession", "Hono"] as const) {
        const users = userSessions<{ browser: string }>();
        const use = { ...touches, ...functions(users) }[name]!;
        const options = { store: memoryStore(), plugins: [users] };
        const visit = visitor(options, { through });
        await visit((session) => session.set("n", 1));
        const live = await visit(use);
        const control = live.response.headers.get("Cache-Control");
        expect(control).toBe(live.cookies.length > 0 ? "no-store" : "private");
        // A response does not vary on a cookie that was not read.
        if (control === "private" && name !== "keepFlash()") expect(live.response.headers.get("Vary")).toBe("Cookie");
        // The same without a session, because the response could be different with one.
        const alone = await visitor(options, { through })(use);
        expect(alone.response.headers.get("Cache-Control")).toBe(alone.cookies.length > 0 ? "no-store" : "private");
      }
    },
  );

  test.each([
    "CDN-Cache-Control",
    "Cloudflare-CDN-Cache-Control",
    "Vercel-CDN-Cache-Control",
    "Surrogate-Control",
    "Edge-Control",
    "X-Accel-Expires",
    "X-LiteSpeed-Cache-Control",
  ])(
    "[ASVS 14.3.2] a response that hands out an id, or takes it back, says nothing else to the caches that heed %s",
    async (name) => {
      const headers = { [name]: "max-age=600", "X-CDN-Cache-Control-Info": "kept" };
      for (const through of ["withSession", "Hono"] as const) {
        const visit = visitor({}, { through });
        for (const use of [(session: Session) => session.set("n", 1), (session: Session) => session.destroy()]) {
          const { response } = await visit(async (session) => {
            await use(session);
            return new Response("Hello", { headers });
          });
          expect(response.headers.get("Cache-Control")).toBe("no-store");
          expect(response.headers.has(name)).toBe(false);
          expect(response.headers.has("X-CDN-Cache-Control-Info")).toBe(true);
        }
        // If the response contains nothing of a session, the handler decides how it is cached.
        const { response } = await visit(() => new Response("Hello", { headers }));
        expect(response.headers.get(name)).toBe("max-age=600");
      }
    },
  );

  test("[ASVS 14.3.2] a response that hands out an id is no-store when the handler wanted it kept", async () => {
    const cached = () => new Response("x", { headers: { "Cache-Control": "public, max-age=31536000" } });
    const visit = visitor({ store: cookieSessions({ secrets: [secret] }) });
    const { response } = await visit((session) => {
      session.set("n", 1);
      return cached();
    });
    expect(response.headers.get("Cache-Control")).toBe("no-store");
  });
});
