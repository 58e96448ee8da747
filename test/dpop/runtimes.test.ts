import { fileURLToPath } from "node:url";
import { createServer } from "node:http";
import { build } from "esbuild";
import type { Browser } from "playwright-core";
import { expect, onTestFinished, test } from "vitest";
import { type SessionOptions, withSession } from "../../mod.ts";
import { dpop } from "../../src/dpop.ts";
import { openChromium } from "../browser/chromium.ts";
import { run } from "../setup/command.ts";
import { startWorker } from "../setup/workerd.ts";
import { EXPECTED, story } from "./proof_story.ts";

const SCRIPT = fileURLToPath(new URL("proof_story.run.ts", import.meta.url));

test("dpop(), dpopClient() and deviceBound() work on Node", async () => {
  expect(await story()).toEqual(EXPECTED);
});

test.each([
  ["deno", ["run", "-A", "--no-check", SCRIPT]],
  ["bun", ["run", SCRIPT]],
])("dpop(), dpopClient() and deviceBound() work on %s", async (command, args) => {
  const { stdout, output } = await run(command, args);
  expect(stdout.trim().split("\n").at(-1), output).toBe(JSON.stringify(EXPECTED));
});

test("dpop(), dpopClient() and deviceBound() work in workerd", async () => {
  const worker = await startWorker(new URL("proof_story.worker.ts", import.meta.url));
  onTestFinished(() => worker.dispose());
  const text = await (await worker.dispatchFetch("https://worker.example/")).text();
  expect(text).toBe(JSON.stringify(EXPECTED));
});

/** Serves a handler over http, and returns the port. */
async function serve(handler: (request: Request) => Promise<Response>): Promise<number> {
  const server = createServer(async (incoming, outgoing) => {
    const { url = "/", method = "GET", headers } = incoming;
    const given = Object.entries(headers).map(([name, value]): [string, string] => [name, String(value)]);
    const response = await handler(new Request(`http://${headers.host}${url}`, { method, headers: given }));
    for (const [name, value] of response.headers) outgoing.appendHeader(name, value);
    outgoing.writeHead(response.status).end(await response.text());
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  onTestFinished(() => void server.close().closeAllConnections());
  const address = server.address();
  return typeof address === "object" && address !== null ? address.port : 0;
}

/** A page whose only script is the client. */
async function page(): Promise<(request: Request) => Response | undefined> {
  const { outputFiles } = await build({
    stdin: {
      contents: 'export * from "../../src/dpop_client.ts"',
      resolveDir: fileURLToPath(new URL(".", import.meta.url)),
    },
    bundle: true,
    format: "esm",
    target: "es2022",
    write: false,
  });
  return ({ url }) => {
    const { pathname } = new URL(url);
    const typed = (type: string): ResponseInit => ({ headers: { "Content-Type": type } });
    if (pathname === "/client.js") return new Response(outputFiles[0]?.text, typed("text/javascript"));
    return pathname === "/" ? new Response("<!doctype html>", typed("text/html")) : undefined;
  };
}

const counter = (options: SessionOptions<{ n?: number }> = {}): ((request: Request) => Promise<Response>) =>
  withSession<{ n?: number }>(
    async (_request, session) => new Response(String(await session.update("n", (n = 0) => n + 1))),
    { header: "X-Session-Id", plugins: [dpop()], ...options },
  );

const CALL = `import("/client.js").then(async ({ dpopClient }) => {
  const api = dpopClient(location.origin);
  const response = await api.fetch("/api", { method: "POST" });
  return [await response.text(), await api.thumbprint()];
})`;

const READ = `new Promise((done) => {
  const opening = indexedDB.open("with-session-dpop", 1);
  opening.onsuccess = () => {
    const all = opening.result.transaction("sessions").objectStore("sessions").getAll();
    all.onsuccess = async () => {
      const { privateKey } = all.result[0].keys;
      const exported = await crypto.subtle.exportKey("jwk", privateKey).then(() => "exported", (error) => error.name);
      done([all.result.length, privateKey.extractable, exported, all.result[0].id.length]);
    };
  };
})`;

test("dpopClient() keeps key and id in the IndexedDB of Chromium, for all pages of the origin, and no script can read the key", async () => {
  const [files, api] = [await page(), counter()];
  const origin = `http://localhost:${await serve(async (request) => files(request) ?? (await api(request)))}`;
  const browser: Browser = await openChromium();
  onTestFinished(() => browser.close());
  const context = await browser.newContext();
  const tab = await context.newPage();
  await tab.goto(origin);
  const first = await tab.evaluate(CALL);
  expect(first).toEqual(["1", expect.stringMatching(/^[\w-]{43}$/)]);
  expect(await tab.evaluate(CALL)).toEqual(["2", (first as string[])[1]]);
  const other = await context.newPage();
  await other.goto(origin);
  expect(await other.evaluate(CALL)).toEqual(["3", (first as string[])[1]]);
  expect(await tab.evaluate(READ)).toEqual([1, false, "InvalidAccessError", 32]);
  const stranger = await browser.newContext();
  const elsewhere = await stranger.newPage();
  await elsewhere.goto(origin);
  expect(await elsewhere.evaluate(CALL)).not.toEqual(first);
});

test("dpopClient() serves a page of another origin, also when the server asks for a new nonce", async () => {
  let ahead = 0;
  const api = counter({ now: () => Date.now() + ahead });
  const statuses: number[] = [];
  // CORS is outside of the sessions, so that the answers of the plugin get its headers as well.
  const apiPort = await serve(async (request) => {
    const origin = { "Access-Control-Allow-Origin": request.headers.get("Origin") ?? "" };
    const allowed = {
      ...origin,
      "Access-Control-Allow-Headers": "DPoP, X-Session-Id",
      "Access-Control-Allow-Methods": "POST",
    };
    if (request.method === "OPTIONS") return new Response(null, { status: 204, headers: allowed });
    const response = await api(request);
    statuses.push(response.status);
    const headers = new Headers(response.headers);
    headers.set("Access-Control-Allow-Origin", origin["Access-Control-Allow-Origin"]);
    headers.append("Access-Control-Expose-Headers", "X-Session-Id, DPoP-Nonce, WWW-Authenticate");
    return new Response(response.body, { status: response.status, headers });
  });
  const files = await page();
  const pagePort = await serve(
    async (request) => await Promise.resolve(files(request) ?? new Response(null, { status: 404 })),
  );
  const browser: Browser = await openChromium();
  onTestFinished(() => browser.close());
  const tab = await browser.newPage();
  await tab.goto(`http://127.0.0.1:${pagePort}`);
  const call = CALL.replace("location.origin", JSON.stringify(`http://localhost:${apiPort}`));
  expect(await tab.evaluate(call)).toEqual(["1", expect.any(String)]);
  expect(await tab.evaluate(call)).toEqual(["2", expect.any(String)]);
  ahead = 700_000;
  expect(await tab.evaluate(call)).toEqual(["3", expect.any(String)]);
  // Each call makes a new client, which knows the id but no nonce yet.
  expect(statuses).toEqual([200, 401, 200, 401, 200]);
});
