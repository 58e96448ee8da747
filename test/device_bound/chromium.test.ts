import { rmSync } from "node:fs";
import { get } from "node:https";
import { afterEach, expect, onTestFinished, test } from "vitest";
import { memoryStore, type SessionOptions, withSession } from "../../mod.ts";
import { deviceBound, type DeviceBoundOptions } from "../../src/device_bound.ts";
import { faultyStore } from "../../src/testing/faulty_store.ts";
import { BoundChromium, type SecureServer, serve } from "./bound_chromium.ts";

interface Data {
  user?: string;
}

interface World {
  readonly server: SecureServer;
  readonly browser: BoundChromium;
  /** Advances the server's clock, in seconds. */
  advance(seconds: number): void;
  /** How often the browser has proved its key. */
  refreshes(): number;
}

/** Programs that a test has started. */
const running: { close(): unknown }[] = [];

afterEach(async () => {
  for (const each of running.splice(0)) await each.close();
});

async function open(options: { readonly profile?: string; readonly isCapable?: boolean } = {}): Promise<BoundChromium> {
  const browser = await BoundChromium.open(options);
  running.push(browser);
  onTestFinished(() => rmSync(browser.profile, { recursive: true, force: true }));
  return browser;
}

function page(text: string): Response {
  const body = `<!doctype html><link rel="icon" href="data:,"><body>${text}`;
  return new Response(body, { headers: { "Content-Type": "text/html; charset=utf-8" } });
}

/** A program with a login that redirects, and pages that show who is signed in. */
async function world(bound: DeviceBoundOptions = {}, more: SessionOptions<Data> = {}): Promise<World> {
  let ahead = 0;
  const handler = withSession<Data>(
    async (request, session) => {
      const { pathname, hostname } = new URL(request.url);
      if (hostname === "mail.test") return page(`<a href="${server.url("/linked?from=mail")}">A link</a>`);
      if (pathname === "/form") return page(`<form method="post" action="/login"><button>Sign in</button></form>`);
      if (pathname === "/login") {
        await session.regenerate({ reauthenticated: true });
        session.set("user", "ada");
        return new Response(null, { status: 303, headers: { Location: "/" } });
      }
      if (pathname === "/renew") await session.regenerate();
      if (pathname === "/logout")
        await session.destroy(request.url.endsWith("clear") ? { clearSiteData: ["cookies"] } : {});
      const user = await session.get("user");
      return page(`${user ?? "nobody"} ${(await session.info()).ended ?? ""}`.trim());
    },
    { plugins: [deviceBound(bound)], now: () => Date.now() + ahead * 1000, ...more },
  );
  const server = await serve(async (request) => await handler(request));
  running.push(server);
  return {
    server,
    browser: await open(),
    advance: (seconds) => void (ahead += seconds),
    refreshes: () =>
      server.seen.filter(({ path, headers }) => path === "/dbsc/refresh" && headers.has("Secure-Session-Response"))
        .length,
  };
}

async function signIn({ browser, server }: World, times = 1): Promise<void> {
  await browser.page.goto(server.url("/form"));
  await browser.page.click("button");
  await browser.page.waitForURL(server.url("/"));
  await browser.registered(times);
}

/** What a program sees that sends the cookies but cannot send proofs. */
async function lookWith(cookie: string, { server }: World): Promise<string> {
  const options = {
    port: server.port,
    headers: { host: `shop.test:${server.port}`, cookie },
    rejectUnauthorized: false,
  };
  return await new Promise((done, failed) => {
    const request = get("https://127.0.0.1/", options, (answer) => {
      let body = "";
      answer.on("data", (part) => (body += String(part))).on("end", () => done(body.replace(/^.*<body>/s, "")));
    });
    request.on("error", failed);
  });
}

test("Chromium registers a key on the redirect after a login, and proves it before a page when the cookie is over", async () => {
  const all = await world();
  const { browser, server } = all;
  await signIn(all);
  expect(server.seen.filter(({ path }) => path.startsWith("/dbsc")).map(({ path, status }) => [path, status])).toEqual([
    ["/dbsc/start", 200],
  ]);
  expect(await browser.load(server.url("/"))).toBe("ada");
  expect(all.refreshes()).toBe(0);
  for (let round = 1; round <= 3; round++) {
    await browser.expire();
    expect(await browser.load(server.url("/"))).toBe("ada");
    // One proof for each round. The browser does not need to fetch a challenge first.
    expect(all.refreshes()).toBe(round);
    expect(server.seen.filter(({ path }) => path === "/dbsc/refresh")).toHaveLength(round);
  }
  expect(
    browser.events.filter(({ refreshEventDetails }) => refreshEventDetails?.refreshResult === "Refreshed"),
  ).toHaveLength(3);
});

test("Chromium holds back the requests of scripts as well, and proves once for all of them", async () => {
  const all = await world();
  const { browser } = all;
  await signIn(all);
  await browser.expire();
  const call = `Promise.all([1, 2, 3, 4].map((n) => fetch("/api?" + n).then((response) => response.text())))`;
  expect(await browser.page.evaluate(call)).toEqual(
    Array.from({ length: 4 }, () => expect.stringContaining("<body>ada")),
  );
  expect(all.refreshes()).toBe(1);
});

const requests: Readonly<Record<string, string>> = {
  "a frame": `new Promise((done) => {
    const frame = document.createElement("iframe");
    frame.onload = () => done(frame.contentDocument.body.innerText);
    frame.src = "/";
    document.body.append(frame);
  })`,
  "a worker": `new Promise((done) => {
    const code = "fetch('" + location.origin + "/').then((response) => response.text()).then(postMessage)";
    new Worker(URL.createObjectURL(new Blob([code]))).onmessage = ({ data }) => done(data.replace(/^.*<body>/s, ""));
  })`,
};

test.each(Object.entries(requests))("Chromium proves it for the requests of %s", async (_, request) => {
  const all = await world();
  const { browser } = all;
  await signIn(all);
  await browser.expire();
  expect(await browser.page.evaluate(request)).toBe("ada");
  expect(all.refreshes()).toBe(1);
});

test("Chromium proves it before it opens a WebSocket", async () => {
  const all = await world();
  const { browser, server } = all;
  await signIn(all);
  await browser.expire();
  const socket = `new Promise((done) => (new WebSocket("wss://" + location.host + "/socket").onerror = () => done(1)))`;
  await browser.page.evaluate(socket);
  expect(all.refreshes()).toBe(1);
  const handshake = server.seen.find(({ path }) => path === "/socket");
  expect(handshake?.headers.get("Cookie")).toContain("__Host-session-bound=");
});

test("cookies that are copied to a second profile or to another program are refused after a proof's life, and for ever after logout", async () => {
  const all = await world({ lifetime: 60 });
  const { browser, server } = all;
  await signIn(all);
  const cookies = await browser.context.cookies(server.url("/"));
  const header = cookies.map(({ name, value }) => `${name}=${value}`).join("; ");
  const thief = await open();
  await thief.context.addCookies(cookies);
  expect(await thief.load(server.url("/"))).toBe("ada");
  expect(await lookWith(header, all)).toBe("ada");
  all.advance(61);
  expect(await thief.load(server.url("/"))).toBe("nobody proof");
  expect(await lookWith(header, all)).toBe("nobody proof");
  await browser.expire();
  expect(await browser.load(server.url("/"))).toBe("ada");
  const fresh = await browser.context.cookies(server.url("/"));
  await thief.context.addCookies(fresh);
  expect(await thief.load(server.url("/"))).toBe("ada");
  await browser.load(server.url("/logout"));
  await thief.context.addCookies(fresh);
  expect(await thief.load(server.url("/"))).toBe("nobody unknown");
});

test("Chromium waits out a server that fails, and the user stays signed in", async () => {
  const store = faultyStore(memoryStore());
  const all = await world({}, { store });
  const { browser, server } = all;
  await signIn(all);
  await browser.expire();
  store.plan({ load: ["rejects"] });
  const page = await browser.page.goto(server.url("/"));
  expect(page?.status()).toBe(503);
  expect(server.seen.at(-1)?.headers.get("Secure-Session-Skipped")).toMatch(/^server_error;session_identifier="/);
  expect(await browser.load(server.url("/"))).toBe("ada");
});

test("Chromium keeps session and key when it is closed and opened again", async () => {
  const all = await world();
  const { browser, server } = all;
  await signIn(all);
  await browser.close();
  all.advance(1000);
  const again = await open({ profile: browser.profile });
  await again.expire();
  expect(await again.load(server.url("/"))).toBe("ada");
  expect(all.refreshes()).toBe(1);
});

test("Chromium gives up its part of a session after logout, and binds the next one", async () => {
  for (const path of ["/logout", "/logout?clear"]) {
    const all = await world();
    const { browser, server } = all;
    await signIn(all);
    await browser.load(server.url(path));
    expect(await browser.context.cookies(server.url("/"))).toEqual([]);
    expect(await browser.load(server.url("/"))).toBe("nobody");
    await browser.ended();
    const before = all.refreshes();
    await browser.load(server.url("/"));
    expect(all.refreshes()).toBe(before);
    await signIn(all, 2);
    await browser.expire();
    expect(await browser.load(server.url("/"))).toBe("ada");
  }
});

test("Chromium replaces its key when somebody signs in again, and keeps it when the id is renewed", async () => {
  const all = await world({}, { rotateEvery: 1 });
  const { browser, server } = all;
  await signIn(all);
  all.advance(10);
  expect(await browser.load(server.url("/renew"))).toBe("ada");
  all.advance(10);
  await browser.expire();
  expect(await browser.load(server.url("/"))).toBe("ada");
  await signIn(all, 2);
  const before = all.refreshes();
  await browser.expire();
  expect(await browser.load(server.url("/"))).toBe("ada");
  expect(all.refreshes()).toBe(before + 1);
});

test("a link on another site leads to a page that knows the user", async () => {
  const all = await world();
  const { browser, server } = all;
  await signIn(all);
  await browser.page.goto(server.url("/", "mail.test"));
  await browser.expire();
  await browser.page.click("a");
  await expect.poll(() => browser.page.innerText("body").catch(() => "")).toBe("ada");
  expect(browser.page.url()).toBe(server.url("/linked?from=mail"));
  await browser.page.goBack();
  expect(browser.page.url()).toBe(server.url("/", "mail.test"));
});

test('a browser that binds no sessions is served by "offer", and by "require" as long as the login counts', async () => {
  for (const mode of ["offer", "require"] as const) {
    const all = await world({ mode, lifetime: 60 });
    const { server } = all;
    const browser = await open({ isCapable: false });
    await browser.page.goto(server.url("/login"));
    expect(await browser.load(server.url("/"))).toBe("ada");
    all.advance(61);
    expect(await browser.load(server.url("/"))).toBe(mode === "offer" ? "ada" : "nobody proof");
  }
});

test("Chromium binds a session whose cookie is for the whole site, and proves it on other hosts too", async () => {
  const all = await world({}, { cookie: { name: "__Secure-shop", domain: "shop.test" } });
  const { browser, server } = all;
  await signIn(all);
  await browser.expire();
  expect(await browser.load(server.url("/", "app.shop.test"))).toBe("ada");
  expect(all.refreshes()).toBe(1);
});

test("Chromium leaves requests alone whose path is excluded", async () => {
  const all = await world({ exclude: ["/assets"] });
  const { browser } = all;
  await signIn(all);
  await browser.expire();
  await browser.page.evaluate(`fetch("/assets/a.css")`);
  expect(all.refreshes()).toBe(0);
  await browser.page.evaluate(`fetch("/api")`);
  expect(all.refreshes()).toBe(1);
});

test("Chromium proves it for a page on another host of the site that the program names", async () => {
  const all = await world({ refreshInitiators: ["shop.test"] });
  const { browser, server } = all;
  await browser.page.goto(server.url("/login", "app.shop.test"));
  await browser.registered();
  await browser.page.goto(server.url("/", "shop.test"));
  await browser.expire();
  const seen = server.seen.length;
  await browser.page.evaluate(
    `fetch("${server.url("/api", "app.shop.test")}", { mode: "no-cors", credentials: "include" })`,
  );
  expect(server.seen.slice(seen).map(({ host, path, status }) => `${host} ${path} ${status}`)).toEqual([
    "app.shop.test /dbsc/refresh 200",
    "app.shop.test /api 200",
  ]);
});
