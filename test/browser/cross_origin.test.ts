import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { memoryStore, type SessionOptions, withSession } from "../../mod.ts";
import { cookieSessions } from "../../src/cookie_sessions.ts";
import { crossOriginProtection } from "../../src/cross_origin.ts";
import { csrfToken, verifyCsrfToken } from "../../src/csrf.ts";
import { openChromium } from "./chromium.ts";
import { html, serve } from "./serve.ts";

let browser: Browser;
beforeAll(async () => {
  browser = await openChromium();
});
afterAll(() => browser.close());

type Handle = (request: Request) => Promise<Response>;

/** A bank whose form sends money, and a page on another port of its host: another origin, but the same site. */
async function openBank(
  options: SessionOptions,
  {
    protect = (handle) => handle,
    usesToken = true,
  }: { protect?: (handle: Handle) => Handle; usesToken?: boolean } = {},
): Promise<{ page: Page; bank: string; evil: string }> {
  const handle = withSession(async (request, session) => {
    if (request.method === "GET") {
      const token = await csrfToken(session);
      return html(`<form method="post"><input name="csrf-token" value="${token}"><button>Send</button></form>`);
    }
    if (usesToken && !(await verifyCsrfToken(session, request))) return new Response("no token", { status: 400 });
    return html(`sent ${await session.update("sent", (n = 0) => n + 1)}`);
  }, options);
  const bank = await serve(protect(handle));
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
  "the cookie": () => ({ store: cookieSessions({ secrets: ["x".repeat(32)] }) }),
};

test.each(Object.entries(places))(
  "crossOriginProtection() refuses a form of another origin in Chromium, with sessions in %s",
  async (_, options) => {
    const protect =
      (handle: Handle): Handle =>
      async (request) =>
        crossOriginProtection(handle)(request);
    const { page, bank, evil } = await openBank(options(), { protect, usesToken: false });
    expect(await submit(page, bank)).toEqual({ status: 200, text: "sent 1" });
    expect(await submit(page, evil)).toMatchObject({ status: 403 });
    expect(await submit(page, bank)).toEqual({ status: 200, text: "sent 2" });
  },
);

test.each(Object.entries(places))(
  "verifyCsrfToken() refuses a form of another origin in Chromium, with sessions in %s",
  async (_, options) => {
    const { page, bank, evil } = await openBank(options());
    expect(await submit(page, bank)).toEqual({ status: 200, text: "sent 1" });
    // The cookie came along: for SameSite both pages are of one site.
    expect(await submit(page, evil)).toEqual({ status: 400, text: "no token" });
    expect(await submit(page, bank)).toEqual({ status: 200, text: "sent 2" });
  },
);

test("a form of another origin reaches the session where neither protects it", async () => {
  const { page, bank, evil } = await openBank({ store: memoryStore() }, { usesToken: false });
  expect(await submit(page, bank)).toEqual({ status: 200, text: "sent 1" });
  expect(await submit(page, evil)).toEqual({ status: 200, text: "sent 2" });
});

test("crossOriginProtection() lets a trusted origin in", async () => {
  let trusted: string[] = [];
  const protect =
    (handle: Handle): Handle =>
    async (request) =>
      crossOriginProtection(handle, { trustedOrigins: trusted })(request);
  const { page, bank, evil } = await openBank({ store: memoryStore() }, { protect, usesToken: false });
  trusted = [evil];
  expect(await submit(page, bank)).toEqual({ status: 200, text: "sent 1" });
  expect(await submit(page, evil)).toEqual({ status: 200, text: "sent 2" });
});
