import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { memoryStore, SessionError, type SessionOptions, withSession } from "../../mod.ts";
import { cookieSessions } from "../../src/cookie_sessions.ts";
import { readYourWrites } from "../../src/read_your_writes.ts";
import { cloudflareKvStore } from "../../src/stores/cloudflare_kv.ts";
import { fakeClock, kvSimulator } from "../../src/testing.ts";
import { html, newHost, serve } from "./serve.ts";
import { type BrowserName, eachBrowser, type OpenBrowser } from "./tabs.ts";
import { serveTls } from "./tls.ts";

const secrets = ["a secret of at least thirty-two bytes"];

interface Data {
  readonly text: string;
  readonly visits: number;
}

/** The browsers, and WebKitGTK that knows no prefixes of names: that of Debian 12, with libsoup 3.2. That of Debian 13 knows them. */
type Keeper = BrowserName | "old WebKitGTK";

const EVERY: readonly Keeper[] = ["Chromium", "Firefox", "WebKitGTK", "old WebKitGTK"];
const OLD: readonly Keeper[] = ["old WebKitGTK"];

/** Lines of Set-Cookie that a site sends, and the browsers that keep the cookie. `HOST` stands for the site's host. */
const lines: Readonly<Record<"http" | "https", Readonly<Record<string, readonly Keeper[]>>>> = {
  http: {
    "a=1; Path=/; HttpOnly; SameSite=Lax; Max-Age=600": EVERY,
    // Chromium and Firefox treat loopback as secure, WebKitGTK does not. Therefore the library uses neither Secure nor
    // a prefix there.
    "a=1; Path=/; Secure": ["Chromium", "Firefox"],
    "__Host-a=1; Path=/; Secure": ["Chromium", "Firefox"],
    // A test below shows what follows from that.
    "__Host-a=1; Path=/": OLD,
    "__Secure-a=1; Path=/": OLD,
  },
  https: {
    "__Host-a=1; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=600": EVERY,
    "__Host-a=1; Path=/; Secure; SameSite=None; Partitioned": EVERY,
    "__Host-a=1; Path=/": OLD,
    "__Host-a=1; Path=/x; Secure": OLD,
    "__Host-a=1; Path=/; Secure; Domain=HOST": OLD,
    "__Secure-a=1; Path=/; Secure; Domain=HOST": EVERY,
    "__Secure-a=1; Path=/": OLD,
    "a=1; Path=/; SameSite=None; Partitioned": OLD,
    [`${"a".repeat(96)}=${"1".repeat(4000)}`]: EVERY,
    // RFC 6265bis, 5.7: 4 096 octets. An old WebKitGTK also keeps larger cookies; the library does not send any.
    [`${"a".repeat(97)}=${"1".repeat(4000)}`]: OLD,
  },
};

/** How the name of a test shows a line. */
const shorten = (line: string): string => (line.length < 100 ? line : `a cookie of ${line.length - 1} octets`);

const kept = Object.entries(lines).flatMap(([scheme, byLine]) =>
  Object.entries(byLine).map(([line, names]) => ({ scheme, line, names, called: shorten(line) })),
);

describe.each(eachBrowser)("%s", (browserName, open) => {
  let browser: OpenBrowser;
  beforeAll(async () => {
    browser = await open();
  });
  afterAll(() => browser.close());

  const textOf = async (path: string): Promise<unknown> =>
    await browser.tab.evaluate(`fetch(${JSON.stringify(path)}).then((response) => response.text())`);
  const names = async (): Promise<string[]> => (await browser.tab.cookies()).map(({ name }) => name).toSorted();

  /** A site that keeps a text of the requested length. `moveTo` switches between handlers with the given options. */
  async function openSite(
    options: SessionOptions<Data> | readonly SessionOptions<Data>[],
    { isTls = false, host = newHost() }: { readonly isTls?: boolean; readonly host?: string } = {},
  ) {
    const handlers = [options].flat().map((each: SessionOptions<Data>) =>
      withSession<Data>(async (request, session) => {
        const { pathname, searchParams } = new URL(request.url);
        const size = searchParams.get("size");
        if (size !== null) session.set("text", "x".repeat(Number(size)));
        if (pathname === "/visit") await session.update("visits", (n = 0) => n + 1);
        if (pathname === "/login") await session.regenerate();
        if (pathname === "/logout") await session.destroy();
        return Response.json([await session.get("visits", 0), (await session.get("text", "")).length]);
      }, each),
    );
    let place = 0;
    const handle = async (request: Request): Promise<Response> => {
      if (new URL(request.url).pathname === "/page") return html("A page");
      try {
        return (await handlers[place]?.(request)) ?? new Response("No place", { status: 404 });
      } catch (error) {
        return new Response(error instanceof SessionError ? error.code : String(error), { status: 500 });
      }
    };
    const origin = isTls ? `https://${host}:${await serveTls(handle)}` : await serve(handle, host);
    await browser.tab.goto(`${origin}/page`);
    const moveTo = (next: number): void => {
      place = next;
    };
    return { origin, moveTo };
  }

  /** The names of the cookies that the browser has kept after a site has sent a line. */
  async function namesKept(scheme: string, line: string): Promise<string[]> {
    const host = newHost();
    const handle = async (): Promise<Response> => html("", { "Set-Cookie": line.replace("HOST", host) });
    const origin = scheme === "https" ? `https://${host}:${await serveTls(handle)}` : await serve(handle, host);
    await browser.tab.goto(`${origin}/x/page`);
    return await names();
  }

  let isKnownAsOld: boolean | undefined;
  async function isOldWebKit(): Promise<boolean> {
    if (browserName !== "WebKitGTK") return false;
    return (isKnownAsOld ??= (await namesKept("http", "__Secure-a=1; Path=/")).length > 0);
  }

  test.each(kept)("keeps as expected over $scheme: $called", async ({ scheme, line, names: keepers }) => {
    const [name = ""] = line.split("=");
    const isKept = keepers.includes((await isOldWebKit()) ? "old WebKitGTK" : browserName);
    expect(await namesKept(scheme, line)).toEqual(isKept ? [name] : []);
  });

  test.each([
    ["http", "session"],
    ["https", "__Host-session"],
  ])(
    "keeps the default cookie over %s as %s, hides it from scripts, and drops it at the logout",
    async (scheme, name) => {
      await openSite({}, { isTls: scheme === "https" });
      expect(await textOf("/visit")).toBe("[1,0]");
      expect(await textOf("/visit")).toBe("[2,0]");
      expect(await browser.tab.cookies()).toEqual([
        expect.objectContaining({ name, path: "/", httpOnly: true, secure: scheme === "https" }),
      ]);
      expect(await browser.tab.evaluate("document.cookie")).toBe("");
      await textOf("/logout");
      expect(await names()).toEqual([]);
      expect(await textOf("/")).toBe("[0,0]");
    },
  );

  test("keeps a Secure cookie on loopback as its own rules say, when the cookie is Secure all the same", async () => {
    await openSite({ cookie: { secure: true } });
    expect(await textOf("/visit")).toBe("[1,0]");
    // WebKitGTK drops the cookie, and reports nothing: each request starts a new session.
    expect(await textOf("/visit")).toBe(browserName === "WebKitGTK" ? "[1,0]" : "[2,0]");
    expect(await names()).toEqual(browserName === "WebKitGTK" ? [] : ["__Host-session"]);
  });

  test("gives a sister host's planted cookie no session, and the visitor is in after the second write at most", async () => {
    const isOld = await isOldWebKit();
    const host = newHost();
    const planted = await serveTls(async () =>
      html("", { "Set-Cookie": `__Host-session=${"A".repeat(32)}; Path=/; Secure; Domain=${host}` }),
    );
    await browser.tab.goto(`https://evil.${host}:${planted}/`);
    await openSite({}, { isTls: true, host: `www.${host}` });
    expect(await textOf("/visit")).toBe("[1,0]");
    // Only an old WebKitGTK has kept the planted cookie. It then keeps the visitor's own cookie beside it, until the library
    // expires the planted one.
    expect((await names()).length).toBe(isOld ? 2 : 1);
    expect(await textOf("/visit")).toBe(isOld ? "[1,0]" : "[2,0]");
    expect(await names()).toEqual(["__Host-session"]);
    expect(await textOf("/visit")).toBe(isOld ? "[2,0]" : "[3,0]");
  });

  test("keeps a session of cookieSessions() as large as one cookie may be, and no larger one", async () => {
    await openSite({ store: cookieSessions({ secrets, revocation: memoryStore() }) });
    let largest = 0;
    for (let size = 2700; size < 3200; size += 20) {
      const answer = await textOf(`/?size=${size}`);
      if (answer === "ERR_COOKIE_TOO_LARGE") break;
      expect(answer).toBe(`[0,${size}]`);
      expect(await textOf("/")).toBe(`[0,${size}]`);
      largest = size;
    }
    expect(largest).toBeGreaterThan(2800);
    expect(await textOf("/")).toBe(`[0,${largest}]`);
    expect(await names()).toEqual(["session"]);
    await textOf("/logout");
    expect(await names()).toEqual([]);
  });

  test("keeps one that is split over several cookies, and drops those that it no longer needs", async () => {
    await openSite({ store: cookieSessions({ secrets, chunks: 3 }) });
    let visits = 0;
    for (const [size, cookies] of [
      [8500, ["session", "session.1", "session.2"]],
      [3500, ["session", "session.1"]],
      [5, ["session"]],
      [8000, ["session", "session.1", "session.2"]],
    ] as const) {
      expect(await textOf(`/?size=${size}`)).toBe(`[${visits},${size}]`);
      expect(await textOf("/visit")).toBe(`[${++visits},${size}]`);
      expect(await names()).toEqual(cookies);
    }
    expect(await textOf("/?size=9500")).toBe("ERR_COOKIE_TOO_LARGE");
    expect(await textOf("/")).toContain(",8000]");
    await textOf("/logout");
    expect(await names()).toEqual([]);
  });

  test("sees its own writes with readYourWrites() when its requests go from place to place", async () => {
    // The simulated KV never copies a write to the other place during this test. Only the presented cookie makes it visible there.
    const { now } = fakeClock(Date.now());
    const kv = kvSimulator({ now, writeInterval: 0, delay: 60 });
    const optionsIn = (place: string): SessionOptions<Data> => ({
      store: cloudflareKvStore(kv.at(place)),
      plugins: [readYourWrites({ secrets })],
      now,
    });
    const { moveTo } = await openSite([optionsIn("Paris"), optionsIn("Tokyo")]);
    for (let visit = 1; visit < 6; visit++) {
      moveTo(visit % 2);
      expect(await textOf("/visit")).toBe(`[${visit},0]`);
    }
    expect(await names()).toEqual(["session", expect.stringMatching(/^session~[\w-]{16}$/)]);
    await textOf("/logout");
    for (const place of [0, 1]) {
      moveTo(place);
      expect(await textOf("/")).toBe("[0,0]");
    }
  });
});
