import type { Miniflare } from "miniflare";
import { afterEach, expect, test } from "vitest";
import { type CookieJar, cookieJar } from "../../src/testing.ts";
import { startWorker } from "../setup/workerd.ts";

const workers: Miniflare[] = [];
afterEach(async () => {
  await Promise.all(workers.splice(0).map((worker) => worker.dispose()));
});

/** The Worker with this environment, and a function that visits it as a browser. */
async function deploy(bindings: { readonly SECRET: string; readonly LIMIT: number }) {
  const worker = await startWorker(new URL("./worker_secrets.worker.ts", import.meta.url), {
    bindings,
    durableObjects: { SESSIONS: { className: "SessionObject", useSQLite: true } },
  });
  workers.push(worker);
  const handler = async (request: Request): Promise<Response> => {
    const { status, headers, body } = await worker.dispatchFetch(request.url, { headers: [...request.headers] });
    return new Response(body as ReadableStream | null, { status, headers: [...headers] });
  };
  return async (jar: CookieJar, path: string, host = "shop.example"): Promise<string> =>
    await (await jar.fetch(handler, `https://${host}${path}`)).text();
}

test("a Worker has its secret, its store, its limit and its cookie from env and the request, and stores through ctx.waitUntil", async () => {
  const visit = await deploy({ SECRET: "1".repeat(32), LIMIT: 1 });
  const jar = cookieJar();
  expect(await visit(jar, "/login")).toBe("ada comes from nowhere, null");
  expect(await visit(jar, "/basket")).toBe("ada comes from /login, null");
  // workerd answers before the session is stored, so the next request may come first.
  await expect.poll(() => visit(jar, "/basket")).toBe("ada comes from /basket, null");
  expect(await visit(jar, "/", "blog.example")).toBe("nobody comes from nowhere, null");
  expect(jar.cookies().map(({ name, domain }) => [name, domain])).toEqual([
    ["__Host-shop", "shop.example"],
    ["__Host-blog", "blog.example"],
  ]);
  await visit(cookieJar(), "/login");
  expect(await visit(jar, "/")).toContain("nobody comes from nowhere, revoked");
});

test("a Worker with another secret in env does not accept the id", async () => {
  const [visit, another] = [
    await deploy({ SECRET: "1".repeat(32), LIMIT: 1 }),
    await deploy({ SECRET: "2".repeat(32), LIMIT: 1 }),
  ];
  const jar = cookieJar();
  await visit(jar, "/login");
  expect(await another(jar, "/")).toContain("nobody comes from nowhere, forged");
});
