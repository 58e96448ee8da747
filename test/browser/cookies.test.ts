import { createServer, type Server } from "node:http";
import type { Browser, BrowserContext } from "playwright-core";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { memoryStore, type SessionOptions, withSession } from "../../mod.ts";
import { cookieSessions } from "../../src/cookie_sessions.ts";
import { readYourWrites } from "../../src/read_your_writes.ts";
import { cloudflareKvStore } from "../../src/stores/cloudflare_kv.ts";
import { kvSimulator } from "../../src/testing.ts";
import { openChromium } from "./chromium.ts";

const secrets = ["a secret of at least thirty-two bytes"];

interface Data {
  readonly text: string;
  readonly visits: number;
}

let browser: Browser;
beforeAll(async () => {
  browser = await openChromium();
});
afterAll(() => browser.close());

/** Serves a Fetch handler on a free port, and answers its origin. */
async function serve(handle: (request: Request) => Promise<Response>): Promise<string> {
  const server: Server = createServer(async ({ headers, url = "/" }, outgoing) => {
    const pairs = Object.entries(headers).map(([name, value]) => [name, String(value)] as [string, string]);
    const response = await handle(new Request(`http://${headers.host}${url}`, { headers: pairs }));
    for (const [name, value] of response.headers) outgoing.appendHeader(name, value);
    outgoing.writeHead(response.status).end(await response.text());
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  onTestFinished(() => void server.close().closeAllConnections());
  const address = server.address();
  return `http://localhost:${typeof address === "object" ? address?.port : 0}`;
}

/** A site that keeps a text of so many letters, and a browser that visits it. */
async function openSite(...options: readonly SessionOptions<Data>[]) {
  const handlers = options.map((each) =>
    withSession<Data>(async (request, session) => {
      const { pathname, searchParams } = new URL(request.url);
      const size = searchParams.get("size");
      if (size !== null) session.set("text", "x".repeat(Number(size)));
      if (pathname === "/visit") await session.update("visits", (n = 0) => n + 1);
      if (pathname === "/logout") await session.destroy();
      return Response.json([await session.get("visits", 0), (await session.get("text", "")).length]);
    }, each),
  );
  let place = 0;
  const origin = await serve(async (request) => {
    // Browsers ask for an icon by themselves. Such a request races with the test's own.
    if (new URL(request.url).pathname === "/favicon.ico") return new Response(null, { status: 404 });
    try {
      return (await handlers[place]?.(request)) ?? new Response("No place", { status: 404 });
    } catch (error) {
      return new Response(String(Reflect.get(Object(error), "code")), { status: 500 });
    }
  });
  const context: BrowserContext = await browser.newContext();
  onTestFinished(() => context.close());
  const page = await context.newPage();
  const get = async (path: string): Promise<string> => (await (await page.goto(origin + path))?.text()) ?? "";
  const moveTo = (next: number): void => {
    place = next;
  };
  const names = async (): Promise<string[]> => (await context.cookies()).map(({ name }) => name).toSorted();
  return { get, moveTo, names };
}

describe("Chromium", () => {
  test("keeps a session of cookieSessions() as large as one cookie may be, and no larger one", async () => {
    const { get, names } = await openSite({ store: cookieSessions({ secrets, revocation: memoryStore() }) });
    let largest = 0;
    for (let size = 2700; size < 3200; size += 20) {
      const answer = await get(`/?size=${size}`);
      if (answer === "ERR_COOKIE_TOO_LARGE") break;
      expect(answer).toBe(`[0,${size}]`);
      expect(await get("/")).toBe(`[0,${size}]`);
      largest = size;
    }
    expect(largest).toBeGreaterThan(2800);
    expect(await get("/")).toBe(`[0,${largest}]`);
    expect(await names()).toEqual(["session"]);
    await get("/logout");
    expect(await names()).toEqual([]);
  });

  test("keeps one that is split over several cookies, and drops those that it no longer needs", async () => {
    const { get, names } = await openSite({ store: cookieSessions({ secrets, chunks: 3 }) });
    let visits = 0;
    for (const [size, cookies] of [
      [8500, ["session", "session.1", "session.2"]],
      [3500, ["session", "session.1"]],
      [5, ["session"]],
      [8000, ["session", "session.1", "session.2"]],
    ] as const) {
      expect(await get(`/?size=${size}`)).toBe(`[${visits},${size}]`);
      expect(await get("/visit")).toBe(`[${++visits},${size}]`);
      expect(await names()).toEqual(cookies);
    }
    expect(await get("/?size=9500")).toBe("ERR_COOKIE_TOO_LARGE");
    expect(await get("/")).toContain(",8000]");
    await get("/logout");
    expect(await names()).toEqual([]);
  });

  test("sees its own writes with readYourWrites() when its requests go from place to place", async () => {
    const kv = kvSimulator({ writeInterval: 0, delay: 60 });
    const optionsIn = (place: string): SessionOptions<Data> => ({
      store: cloudflareKvStore(kv.at(place)),
      plugins: [readYourWrites({ secrets })],
    });
    const { get, moveTo, names } = await openSite(optionsIn("Paris"), optionsIn("Tokyo"));
    for (let visit = 1; visit < 6; visit++) {
      moveTo(visit % 2);
      expect(await get("/visit")).toBe(`[${visit},0]`);
    }
    expect(await names()).toEqual(["session", expect.stringMatching(/^session~[\w-]{16}$/)]);
    await get("/logout");
    for (const place of [0, 1]) {
      moveTo(place);
      expect(await get("/")).toBe("[0,0]");
    }
  });
});
