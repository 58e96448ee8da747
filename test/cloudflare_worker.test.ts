import { readFile } from "node:fs/promises";
import type { Miniflare } from "miniflare";
import { afterEach, expect, test } from "vitest";
import { cookieJar } from "../src/testing.ts";
import { startWorker } from "./setup/workerd.ts";

/** The part of a Wrangler configuration that the examples need. */
interface Configuration {
  readonly main: string;
  readonly compatibility_date: string;
  readonly durable_objects?: { readonly bindings: { readonly name: string; readonly class_name: string }[] };
  readonly migrations?: { readonly new_sqlite_classes: string[] }[];
  readonly kv_namespaces?: { readonly binding: string; readonly id: string }[];
}

let worker: Miniflare;
afterEach(() => worker.dispose());

/** Runs a Worker with its configuration, and returns what one browser gets from it. */
async function browse(
  configuration: string,
): Promise<(path: string, form?: Record<string, string>) => Promise<Response>> {
  const folder = new URL("../examples/cloudflare_worker/", import.meta.url);
  const text = await readFile(new URL(configuration, folder), "utf8");
  // JSONC may have a comma after the last item.
  const read: Configuration = JSON.parse(text.replaceAll(/,(?=\s*[}\]])/g, ""));
  const { main, compatibility_date, durable_objects, migrations = [], kv_namespaces = [] } = read;
  const withSqlite = new Set(migrations.flatMap(({ new_sqlite_classes }) => new_sqlite_classes));
  worker = await startWorker(new URL(main, folder), {
    compatibilityDate: compatibility_date,
    kvNamespaces: Object.fromEntries(kv_namespaces.map(({ binding, id }) => [binding, id])),
    durableObjects: Object.fromEntries(
      (durable_objects?.bindings ?? []).map(({ name, class_name }) => [
        name,
        { className: class_name, useSQLite: withSqlite.has(class_name) },
      ]),
    ),
  });
  const jar = cookieJar();
  const handler = async (request: Request): Promise<Response> => {
    const { status, headers, body } = await worker.dispatchFetch(request.url, {
      method: request.method,
      headers: [...request.headers],
      redirect: "manual",
      ...(request.method === "POST" ? { body: await request.text() } : {}),
    });
    return new Response(body as ReadableStream | null, { status, headers: [...headers] });
  };
  return (path, form) =>
    jar.fetch(
      handler,
      new URL(path, "https://shop.example/"),
      form && {
        method: "POST",
        headers: { Origin: "https://shop.example" },
        body: new URLSearchParams(form),
      },
    );
}

test("worker.ts counts visits, and knows the user until logout, in a Durable Object", async () => {
  const visit = await browse("wrangler.jsonc");
  expect(await (await visit("/")).text()).toBe("Visit 1 of somebody\n");
  expect(await (await visit("/")).text()).toBe("Visit 2 of somebody\n");
  expect((await visit("/login", { user: "" })).status).toBe(400);
  const login = await visit("/login", { user: "Ada" });
  expect([login.status, login.headers.getSetCookie()]).toEqual([
    303,
    [expect.stringMatching(/^__Host-session=[\w-]{22,};/)],
  ]);
  expect(await (await visit("/")).text()).toBe("Visit 3 of Ada\n");
  const logout = await visit("/logout", {});
  expect([logout.status, logout.headers.getSetCookie()]).toEqual([303, [expect.stringContaining("Max-Age=0")]]);
  expect(await (await visit("/")).text()).toBe("Visit 1 of somebody\n");
});

test("worker.ts signs nobody in when the form is of another site", async () => {
  await browse("wrangler.jsonc");
  const answer = await worker.dispatchFetch("https://shop.example/login", {
    method: "POST",
    headers: { Origin: "https://evil.example" },
    body: "user=Eve",
  });
  expect([answer.status, answer.headers.getSetCookie()]).toEqual([403, []]);
  await answer.text();
});

test("kv_worker.ts remembers the theme in Workers KV, and sets no cookie before there is one", async () => {
  const visit = await browse("kv_wrangler.jsonc");
  const first = await visit("/");
  expect([await first.text(), first.headers.getSetCookie()]).toEqual(["The page is light.\n", []]);
  expect(await (await visit("/?theme=dark")).text()).toBe("The page is dark.\n");
  expect(await (await visit("/")).text()).toBe("The page is dark.\n");
  expect(await (await visit("/?theme=light")).text()).toBe("The page is light.\n");
});
