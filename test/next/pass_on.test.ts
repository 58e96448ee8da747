import { describe, expect, test } from "vitest";
import { SessionManager, withSession } from "../../mod.ts";
import { managerInternalsOf } from "../../src/core/session_manager.ts";
import { goesOn, headersAfter } from "../../src/next/pass_on.ts";
import { fakeClock } from "../../src/testing.ts";

/** A response as `NextResponse.next()` makes it. */
function next(cookies: readonly string[], headers: Record<string, string> = {}): Response {
  const response = new Response(null, { headers: { "x-middleware-next": "1", ...headers } });
  for (const line of cookies) response.headers.append("Set-Cookie", line);
  return response;
}

describe("goesOn()", () => {
  test("is true for next() and rewrite(), and for nothing else", () => {
    expect(goesOn(next([]))).toBe(true);
    expect(goesOn(new Response(null, { headers: { "x-middleware-rewrite": "http://localhost/a" } }))).toBe(true);
    expect(goesOn(new Response(null, { status: 307, headers: { Location: "/" } }))).toBe(false);
  });
});

describe("headersAfter()", () => {
  const request = new Request("http://localhost/", { headers: { Cookie: "a=1; session=old; b=2", Accept: "*/*" } });

  test.each([
    ["a new value", ["session=new; Path=/; Max-Age=60"], "a=1; b=2; session=new"],
    ["a cookie that was not there", ["c=3; Path=/"], "a=1; session=old; b=2; c=3"],
    ["an expired cookie", ["session=; Max-Age=0; Path=/"], "a=1; b=2"],
    [
      "a stray one that is expired before",
      ["session=; Max-Age=0; Path=/x", "session=new; Path=/"],
      "a=1; b=2; session=new",
    ],
  ])("carries %s", (_name, cookies, expected) => {
    const headers = headersAfter(request, next(cookies));
    expect(headers.get("Cookie")).toBe(expected);
    expect(headers.get("Accept")).toBe("*/*");
  });

  test("carries no Cookie header when the last cookie is expired", () => {
    const lonely = new Request("http://localhost/", { headers: { Cookie: "session=old" } });
    expect(headersAfter(lonely, next(["session=; Max-Age=0"])).has("Cookie")).toBe(false);
  });

  test("starts from the headers that the proxy has chosen", () => {
    const chosen = {
      "x-middleware-override-headers": "cookie, x-user ,x-gone",
      "x-middleware-request-cookie": "a=9; session=old",
      "x-middleware-request-x-user": "ada",
    };
    const headers = headersAfter(request, next(["session=new"], chosen));
    expect(Object.fromEntries(headers)).toEqual({ "cookie": "a=9; session=new", "x-user": "ada" });
  });
});

describe("a session whose response cannot be told anything, as in a Server Component", () => {
  test("is not renewed by reading, and a flash value is gone with pull() alone", async () => {
    const clock = fakeClock(1_800_000_000_000);
    const manager = new SessionManager<{ message: string; user: string }>({ now: clock.now, touchInterval: 60 });
    const begin = withSession<{ message: string; user: string }>(async (_request, session) => {
      session.set("user", "ada");
      session.flash("message", "Welcome");
      return new Response(null);
    }, manager);
    const [cookie = ""] = (await begin(new Request("http://localhost/"))).headers.getSetCookie()[0]!.split(";");
    const current = () => {
      const request = new Request("http://localhost/", { headers: { Cookie: cookie } });
      const internals = managerInternalsOf(manager);
      const { session } = internals.begin(request, [], true);
      internals.close(session);
      return session as ReturnType<typeof manager.open>;
    };
    clock.advance(3600);
    expect(await current().get("user")).toBe("ada");
    expect((await current().info()).lastSeenAt).toBe(1_800_000_000_000);
    for (let reads = 0; reads < 2; reads++) expect(await current().get("message")).toBe("Welcome");
    expect(await current().pull("message")).toBe("Welcome");
    expect(await current().get("message")).toBe(undefined);
  });
});
