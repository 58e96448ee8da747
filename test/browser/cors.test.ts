import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { api } from "../../examples/cors.ts";
import { openChromium } from "./chromium.ts";
import { html } from "./serve.ts";
import { serveTls } from "./tls.ts";

let browser: Browser;

beforeAll(async () => {
  browser = await openChromium();
});

afterAll(() => browser.close());

/** A page on 127.0.0.1 and the API on localhost: two sites, as browsers see it. */
async function openPage(isListed: boolean): Promise<{ page: Page; url: string }> {
  const pagePort = await serveTls(async () => html(""));
  const origin = `https://127.0.0.1:${pagePort}`;
  const port = await serveTls(api(isListed ? [origin] : ["https://app.example"]));
  const context = await browser.newContext({ ignoreHTTPSErrors: true });
  onTestFinished(() => context.close());
  const page = await context.newPage();
  await page.goto(origin);
  return { page, url: `https://localhost:${port}/` };
}

function call(page: Page, url: string, init: object): Promise<unknown> {
  return page.evaluate(`fetch(${JSON.stringify(url)}, ${JSON.stringify(init)}).then(async (response) =>
    ({ ...await response.json(), id: response.headers.get("X-Session-Id") }), (error) => error.name)`);
}

test("api() keeps a session in a cookie when a page of another site sends credentials", async () => {
  const { page, url } = await openPage(true);
  expect(await call(page, url, { method: "POST", credentials: "include" })).toEqual({ likes: 1, id: null });
  expect(await call(page, url, { method: "POST", credentials: "include" })).toEqual({ likes: 2, id: null });
  const [cookie] = await page.context().cookies(url);
  expect(cookie).toMatchObject({ name: "__Host-session", sameSite: "None", secure: true, httpOnly: true });
  expect(await call(page, url, { credentials: "omit" })).toEqual({ likes: 0, id: null });
});

test("api() lets the page read the id when it asks for one in the header", async () => {
  const { page, url } = await openPage(true);
  const send = (id: string): Promise<unknown> =>
    call(page, url, { method: "POST", credentials: "omit", headers: { "X-Session-Id": id } });
  const first = await send("");
  expect(first).toEqual({ likes: 1, id: expect.stringMatching(/^[\w-]{22,}$/) });
  const id = typeof first === "object" && first !== null && "id" in first ? String(first.id) : "";
  expect(await send(id)).toMatchObject({ likes: 2 });
  expect(await page.context().cookies(url)).toEqual([]);
});

test("api() answers nothing that a page can read, and counts nothing, when its origin is not listed", async () => {
  const { page, url } = await openPage(false);
  expect(await call(page, url, { method: "POST", credentials: "include" })).toBe("TypeError");
  expect(await page.context().cookies(url)).toEqual([]);
});
