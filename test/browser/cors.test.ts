import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { api } from "../../examples/cors.ts";
import { openChromium } from "./chromium.ts";

let browser: Browser;
const tls: { key: string; cert: string } = certificate();

beforeAll(async () => {
  browser = await openChromium();
});

afterAll(() => browser.close());

/** SameSite=None asks for https, so the test has a certificate of its own, which nobody need trust. */
function certificate(): { key: string; cert: string } {
  const folder = mkdtempSync(join(tmpdir(), "cors-test-"));
  const [key, cert] = [join(folder, "key.pem"), join(folder, "cert.pem")];
  const subject = ["-subj", "/CN=localhost", "-days", "2"];
  execFileSync("openssl", ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert, ...subject], {
    stdio: "ignore",
  });
  const pair = { key: readFileSync(key, "utf8"), cert: readFileSync(cert, "utf8") };
  rmSync(folder, { recursive: true });
  return pair;
}

/** Serves a Fetch handler over https, and answers the port. */
async function serve(handle: (request: Request) => Promise<Response>): Promise<number> {
  const server: Server = createServer(tls, async (incoming, outgoing) => {
    const { method = "GET", headers, url = "/" } = incoming;
    const request = new Request(`https://${headers.host}${url}`, {
      method,
      headers: new Headers(
        Object.entries(headers).flatMap(([name, value]) =>
          value === undefined || name.startsWith(":") ? [] : [[name, String(value)]],
        ),
      ),
    });
    const response = await handle(request);
    for (const [name, value] of response.headers) outgoing.appendHeader(name, value);
    outgoing.writeHead(response.status).end(await response.text());
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  onTestFinished(() => void server.close().closeAllConnections());
  const address = server.address();
  return typeof address === "object" ? (address?.port ?? 0) : 0;
}

/** A page on 127.0.0.1 and the API on localhost: two sites, as browsers see it. */
async function openPage(isListed: boolean): Promise<{ page: Page; url: string }> {
  const pagePort = await serve(
    async () => new Response("<!doctype html>", { headers: { "Content-Type": "text/html" } }),
  );
  const origin = `https://127.0.0.1:${pagePort}`;
  const port = await serve(api(isListed ? [origin] : ["https://app.example"]));
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
