import { createServer, type Server } from "node:http";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { memoryStore, type SessionOptions, withSession } from "../../mod.ts";
import { cookieStore } from "../../src/stores/cookie.ts";
import { openChromium } from "./chromium.ts";

let browser: Browser;

beforeAll(async () => {
  browser = await openChromium();
});

afterAll(() => browser.close());

/** Serves a Fetch handler, and answers its origin. */
async function serve(handle: (request: Request) => Promise<Response>): Promise<string> {
  const server: Server = createServer(async (incoming, outgoing) => {
    const { method = "GET", headers, url = "/" } = incoming;
    const pairs = Object.entries(headers).map(([name, value]) => [name, String(value)] as [string, string]);
    const chunks: Buffer[] = [];
    for await (const chunk of incoming) chunks.push(chunk);
    const body = method === "GET" ? {} : { body: Buffer.concat(chunks) };
    const response = await handle(new Request(`http://${headers.host}${url}`, { method, headers: pairs, ...body }));
    for (const [name, value] of response.headers) outgoing.appendHeader(name, value);
    outgoing.writeHead(response.status).end(await response.text());
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  onTestFinished(() => void server.close().closeAllConnections());
  const address = server.address();
  return `http://localhost:${typeof address === "object" ? address?.port : 0}`;
}

const html = (body: string): Response =>
  new Response(`<!doctype html><title>x</title>${body}`, { headers: { "Content-Type": "text/html" } });

/** A bank whose form sends money, and a page on another port of its host: another origin, but the same site. */
async function openBank(options: SessionOptions): Promise<{ page: Page; bank: string; evil: string }> {
  const bank = await serve(
    withSession(async (request, session) => {
      if (request.method === "GET") {
        const token = await session.csrfToken();
        return html(`<form method="post"><input name="csrf-token" value="${token}"><button>Send</button></form>`);
      }
      if (!(await session.verifyCsrf(request))) return new Response("no token", { status: 400 });
      return html(`sent ${await session.update("sent", (n = 0) => n + 1)}`);
    }, options),
  );
  const evil = await serve(async () =>
    html(`<form method="post" action="${bank}/"><input name="csrf-token" value="x"><button>Win</button></form>`),
  );
  const context = await browser.newContext();
  onTestFinished(() => context.close());
  return { page: await context.newPage(), bank, evil };
}

async function submit(page: Page, url: string): Promise<{ status: number; text: string }> {
  await page.goto(url);
  const [response] = await Promise.all([
    page.waitForResponse((each) => each.request().method() === "POST"),
    page.click("button"),
  ]);
  await page.waitForLoadState();
  return { status: response.status(), text: await page.innerText("body") };
}

const places = {
  "a store": () => ({ store: memoryStore() }),
  "the cookie": () => ({ store: cookieStore(), secrets: ["x".repeat(32)] }),
};

test.each(Object.entries(places))(
  "guard turns a form of another origin away in Chromium, with sessions in %s",
  async (_, options) => {
    const { page, bank, evil } = await openBank({ ...options(), guard: "same-origin" });
    expect(await submit(page, bank)).toEqual({ status: 200, text: "sent 1" });
    expect(await submit(page, evil)).toMatchObject({ status: 403 });
    expect(await submit(page, bank)).toEqual({ status: 200, text: "sent 2" });
  },
);

test.each(Object.entries(places))(
  "verifyCsrf() refuses a form of another origin in Chromium, with sessions in %s",
  async (_, options) => {
    const { page, bank, evil } = await openBank(options());
    expect(await submit(page, bank)).toEqual({ status: 200, text: "sent 1" });
    // The cookie came along: for SameSite both pages are of one site.
    expect(await submit(page, evil)).toEqual({ status: 400, text: "no token" });
    expect(await submit(page, bank)).toEqual({ status: 200, text: "sent 2" });
  },
);
