import { describe, expect, test, vi } from "vitest";
import cors from "../examples/cors.ts";
import inThePage from "../examples/custom_transport.ts";
import hono from "../examples/hono.ts";
import rememberMe from "../examples/remember_me.ts";
import reports, { queue, work } from "../examples/websocket_or_queue.ts";

const HOUR = 3_600_000;
const DAY = 24 * HOUR;

function get(url: string, cookie: string = ""): Request {
  return new Request(url, { headers: { Cookie: cookie } });
}

function post(url: string, fields: Record<string, string> = {}, headers: Record<string, string> = {}): Request {
  return new Request(url, { method: "POST", headers, body: new URLSearchParams(fields) });
}

/** The cookie that a response sets, as a client would send it back. */
function cookieOf(response: Response): string {
  return response.headers.getSetCookie()[0]?.split(";")[0] ?? "";
}

describe("examples/hono.ts", () => {
  const own = { Origin: "https://shop.example" };

  test("hono.ts counts visits, and knows the user until logout, when a client keeps its cookie", async () => {
    const first = await hono.request("https://shop.example/");
    expect(await first.text()).toBe("Visit 1 of somebody\n");
    const login = await hono.request(
      post("https://shop.example/login", { user: "Ada" }, { ...own, Cookie: cookieOf(first) }),
    );
    expect([login.status, login.headers.get("Location")]).toEqual([303, "/"]);
    const cookie = cookieOf(login);
    expect(cookie).not.toBe(cookieOf(first));
    expect(await (await hono.request(get("https://shop.example/", cookie))).text()).toBe("Visit 2 of Ada\n");
    const logout = await hono.request(post("https://shop.example/logout", {}, { ...own, Cookie: cookie }));
    expect(logout.headers.getSetCookie()[0]).toMatch(/^__Host-session=; Max-Age=0/);
    expect(await (await hono.request(get("https://shop.example/", cookie))).text()).toBe("Visit 1 of somebody\n");
  });

  test("hono.ts keeps a user signed in for 30 days after the login, also when the session began before", async () => {
    vi.useFakeTimers({ toFake: ["Date"] });
    try {
      let cookie = cookieOf(await hono.request("https://shop.example/"));
      const visitDaily = async (days: number): Promise<string> => {
        let page = "";
        for (let day = 0; day < days; day++) {
          vi.setSystemTime(Date.now() + 86_000_000);
          page = await (await hono.request(get("https://shop.example/", cookie))).text();
        }
        return page;
      };
      await visitDaily(20);
      cookie = cookieOf(
        await hono.request(post("https://shop.example/login", { user: "Ada" }, { ...own, Cookie: cookie })),
      );
      expect(await visitDaily(20)).toBe("Visit 41 of Ada\n");
      expect(await visitDaily(20)).toContain("of somebody");
    } finally {
      vi.useRealTimers();
    }
  });

  test("hono.ts signs nobody in when the form is empty or from another site", async () => {
    expect((await hono.request(post("https://shop.example/login", {}, own))).status).toBe(400);
    const foreign = post("https://shop.example/login", { user: "Eve" }, { Origin: "https://evil.example" });
    expect((await hono.request(foreign)).status).toBe(403);
  });
});

describe("examples/custom_transport.ts", () => {
  const idIn = (page: string): string => /name="sid" value="([\w-]{22,})"/.exec(page)?.[1] ?? "";

  test("custom_transport.ts goes on with the session when the id is in the address", async () => {
    const first = await inThePage.fetch(new Request("https://shop.example/"));
    expect([first.headers.getSetCookie(), first.headers.get("Cache-Control")]).toEqual([[], "no-store"]);
    const id = idIn(await first.text());
    const second = await (await inThePage.fetch(new Request(`https://shop.example/?sid=${id}`))).text();
    expect(second).toContain("Visit 2.");
    expect(idIn(second)).toBe(id);
  });

  test("custom_transport.ts leaves the body to the handler when the id is in a hidden field", async () => {
    const id = idIn(await (await inThePage.fetch(new Request("https://shop.example/"))).text());
    const answer = await inThePage.fetch(post("https://shop.example/", { sid: id, note: "seven!!" }));
    expect(await answer.text()).toContain("Visit 2. Your note has 7 characters.");
  });

  test("custom_transport.ts begins a session of its own when the id is made up", async () => {
    const madeUp = "A".repeat(32);
    const page = await (await inThePage.fetch(new Request(`https://shop.example/?sid=${madeUp}`))).text();
    expect(page).toContain("Visit 1.");
    expect(idIn(page)).not.toBe(madeUp);
  });
});

describe("examples/websocket_or_queue.ts", () => {
  test("work() puts its result into the visitor's session when there is no request", async () => {
    const order = await reports.fetch(new Request("https://shop.example/", { method: "POST" }));
    expect(order.status).toBe(202);
    const job = queue.shift();
    expect(job && (await work(job))).toBe(true);
    const answer = await reports.fetch(get("https://shop.example/", cookieOf(order)));
    expect(await answer.json()).toEqual(["Report 1"]);
  });

  test("work() begins no session when the visitor's is over", async () => {
    expect(await work({ sessionId: "A".repeat(32), report: "Late" })).toBe(false);
  });
});

describe("examples/remember_me.ts", () => {
  test.for<[string, Record<string, string>, RegExp, number]>([
    ["the box is ticked", { user: "Ada", remember: "on" }, /; Max-Age=2592000;/, 30 * DAY],
    ["the box is not ticked", { user: "Ada" }, /^__Host-session=[\w-]+; Path/, HOUR],
  ])("remember_me.ts gives cookie and session their lifetimes when %s", async ([, fields, cookie, idle]) => {
    const before = Date.now();
    const login = await rememberMe.fetch(post("https://shop.example/", fields));
    expect(login.headers.getSetCookie()[0]).toMatch(cookie);
    const told: unknown = await (await rememberMe.fetch(get("https://shop.example/", cookieOf(login)))).json();
    expect(told).toEqual({ user: "Ada", expiresAt: expect.any(Number) });
    const expiresAt = typeof told === "object" && told !== null && "expiresAt" in told ? Number(told.expiresAt) : 0;
    expect(expiresAt).toBeGreaterThanOrEqual(before + idle);
    expect(expiresAt).toBeLessThanOrEqual(Date.now() + idle);
  });
});

describe("examples/cors.ts", () => {
  const send = (init: RequestInit): Promise<Response> => cors.fetch(new Request("https://api.example/", init));

  test("cors.ts answers a preflight without a session when a listed origin asks", async () => {
    const answer = await send({ method: "OPTIONS", headers: { Origin: "https://app.example" } });
    expect(answer.status).toBe(204);
    expect(Object.fromEntries(answer.headers)).toEqual({
      "vary": "Origin",
      "access-control-allow-origin": "https://app.example",
      "access-control-allow-credentials": "true",
      "access-control-allow-methods": "GET, POST",
      "access-control-allow-headers": "Content-Type, X-Session-Id",
    });
  });

  test("cors.ts sets a cookie that other sites may send, and keeps Vary, when a listed origin posts", async () => {
    const answer = await send({ method: "POST", headers: { Origin: "https://app.example" } });
    expect(await answer.json()).toEqual({ likes: 1 });
    expect(answer.headers.getSetCookie()[0]).toMatch(
      /^__Host-session=.*; Secure; HttpOnly; SameSite=None; Partitioned$/,
    );
    expect(answer.headers.get("Vary")).toContain("Origin");
  });

  test("cors.ts exposes the id header when a listed origin asks for the id", async () => {
    const answer = await send({ method: "POST", headers: { "Origin": "https://app.example", "X-Session-Id": "" } });
    expect(answer.headers.get("X-Session-Id")).toMatch(/^[\w-]{22,}$/);
    expect(answer.headers.get("Access-Control-Expose-Headers")).toBe("X-Session-Id");
    expect(answer.headers.getSetCookie()).toEqual([]);
  });

  test("cors.ts refuses, and begins no session, when an origin is not listed", async () => {
    const answer = await send({ method: "POST", headers: { Origin: "https://evil.example" } });
    expect([answer.status, answer.headers.get("Access-Control-Allow-Origin")]).toEqual([403, null]);
    expect(answer.headers.getSetCookie()).toEqual([]);
  });
});
