import type { Miniflare } from "miniflare";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { cookieJar } from "../../src/testing.ts";
import { startWorker } from "../setup/workerd.ts";

let worker: Miniflare;
beforeAll(async () => {
  worker = await startWorker(new URL("sealed.worker.ts", import.meta.url), {
    kvNamespaces: ["KV"],
    bindings: { SECRET: "a secret of at least thirty-two bytes" },
  });
});
afterAll(() => worker.dispose());

/** One browser. */
function browse() {
  const jar = cookieJar();
  const handler = async (request: Request): Promise<Response> => {
    const { status, headers, body } = await worker.dispatchFetch(request.url, { headers: [...request.headers] });
    return new Response(body as ReadableStream | null, { status, headers: [...headers] });
  };
  const get = async (path: string): Promise<unknown> =>
    await (await jar.fetch(handler, new URL(path, "https://shop.example/"))).json();
  return { jar, get };
}

describe("in workerd, without Node's crypto, on its Workers KV,", () => {
  test("readYourWrites() keeps a cookie beside the session cookie, and takes it back", async () => {
    const { jar, get } = browse();
    const recent = (): string[] => jar.cookies().flatMap(({ name, value }) => (name.includes("~") ? [value] : []));
    expect(await get("/stored")).toEqual({ visits: 1, ended: null });
    expect(recent()).toHaveLength(1);
    const kv = (
      await worker.getBindings<{
        KV: { list(): Promise<{ keys: { name: string }[] }>; delete(name: string): Promise<void> };
      }>()
    ).KV;
    // As if this place did not show the record yet.
    for (const { name } of (await kv.list()).keys) await kv.delete(name);
    expect(await get("/stored")).toEqual({ visits: 2, ended: null });
    expect(recent()).toHaveLength(1);
    expect(await get("/stored/login")).toEqual({ visits: 3, ended: null });
    expect(await get("/stored/logout")).toEqual({ ended: null });
    expect(await get("/stored")).toEqual({ visits: 1, ended: null });
  });

  test("cookieSessions() keeps a session in the cookie, and rejects a copy after a login and after a logout", async () => {
    const { jar, get } = browse();
    expect(await get("/sealed")).toEqual({ visits: 1, ended: null });
    expect(await get("/sealed")).toEqual({ visits: 2, ended: null });
    const copies = [jar.cookies()[0]!.value];
    expect(await get("/sealed/login")).toEqual({ visits: 3, ended: null });
    copies.push(jar.cookies()[0]!.value);
    expect(await get("/sealed/logout")).toEqual({ ended: null });
    const seen = [];
    for (const copy of copies) {
      const headers = { Cookie: `__Host-session=${copy}` };
      seen.push(await (await worker.dispatchFetch("https://shop.example/sealed/look", { headers })).json());
    }
    expect(seen).toEqual([{ ended: "retired" }, { ended: "revoked" }]);
  });
});
