import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { createProject, deleteProjects, emptyProject, mustRun, tarball, tools } from "./project.ts";

afterAll(deleteProjects);

/** A counter that gets two requests, the second with its cookie. */
const PROGRAM = `
import { withSession } from "with-session";
import { session } from "with-session/hono";
// It imports jose, which is the package's own.
import "with-session/dpop";
import { Hono } from "hono";
const app = new Hono();
app.use(session());
app.get("/", async (c) => c.text("Visit " + (await c.var.session.update("visits", (n = 0) => n + 1))));
const handle = withSession(async (_request, session) => new Response("Visit " + (await session.update("visits", (n = 0) => n + 1))));
for (const each of [handle, app.fetch]) {
  const first = await each(new Request("https://shop.example/"));
  const cookie = first.headers.get("set-cookie").split(";")[0];
  console.log(await (await each(new Request("https://shop.example/", { headers: { cookie } }))).text());
}`;

describe("Yarn with Plug'n'Play", () => {
  test("installs the tarball into no node_modules, and lets the package import only what it says it needs", async () => {
    const yarn = await tools("yarn", { "@yarnpkg/cli-dist": "4.18.1" });
    const project = await emptyProject("yarn", { "with-session": `file:${await tarball()}`, "hono": "4.13.19" });
    const registry = (await mustRun(project.run("npm", "config", "get", "registry"))).trim();
    await project.write({
      // An empty lock file stops the search for a project in the parent folders.
      "yarn.lock": "",
      ".yarnrc.yml": [
        "nodeLinker: pnp",
        "enableGlobalCache: false",
        "enableTelemetry: false",
        "enableImmutableInstalls: false",
        `npmRegistryServer: ${JSON.stringify(registry)}`,
      ].join("\n"),
      "program.mjs": PROGRAM,
      "where.mjs": `console.log(import.meta.resolve("with-session"));`,
    });
    const cli = join(yarn.folder, "node_modules/@yarnpkg/cli-dist/bin/yarn.js");
    await mustRun(project.run("node", cli, "install"));
    expect(await mustRun(project.run("node", cli, "node", "--no-warnings", "program.mjs"))).toBe("Visit 2\nVisit 2\n");
    const place = await mustRun(project.run("node", cli, "node", "--no-warnings", "where.mjs"));
    expect(place).toMatch(/\/\.yarn\/.*\/with-session-.*\.zip\/node_modules\/with-session\/dist\/mod\.js/);
  });
});

describe("Node", () => {
  test("opens few files to import the package, and not the core for a client", async () => {
    const project = await createProject("files");
    await project.write({
      "files.mjs": `
import { registerHooks } from "node:module";
const files = [];
registerHooks({
  load(url, context, next) {
    if (url.includes("/with-session/dist/")) files.push(url.replace(/.*[/]dist[/]/, "").replace(/-.{8}[.]js$/, ".js"));
    return next(url, context);
  },
});
await import(process.argv[2]);
console.log(files.sort().join(" "));`,
    });
    const filesOf = (name: string): Promise<string> => mustRun(project.run("node", "--no-warnings", "files.mjs", name));
    expect(await filesOf("with-session")).toBe("core.js mod.js records.js\n");
    expect(await filesOf("with-session/dpop-client")).not.toContain("core.js");
  });
});

describe("wrangler", () => {
  const WORKER = `
import { withSession } from "with-session";
import { signedIds } from "with-session/signed-ids";
import { cloudflareKvStore } from "with-session/stores/cloudflare-kv";
import { durableObjectStore, SessionObject } from "with-session/stores/durable-object";
export { SessionObject };
const count = async (_request, session) => new Response("Visit " + (await session.update("visits", (n = 0) => n + 1)));
const ids = signedIds({ secrets: (env) => [env.SECRET] });
const inKv = withSession(count, { store: (env) => cloudflareKvStore(env.KV), ids, cookie: { name: "kv" } });
const inObjects = withSession(count, { store: (env) => durableObjectStore(env.SESSIONS) });
export default {
  fetch: (request, env, context) => (new URL(request.url).pathname === "/kv" ? inKv : inObjects)(request, env, context),
};`;
  const CONFIGURATION = {
    name: "counter",
    main: "worker.mjs",
    compatibility_date: "2026-10-01",
    send_metrics: false,
    kv_namespaces: [{ binding: "KV", id: "0123456789abcdef0123456789abcdef" }],
    durable_objects: { bindings: [{ name: "SESSIONS", class_name: "SessionObject" }] },
    migrations: [{ tag: "v1", new_sqlite_classes: ["SessionObject"] }],
    vars: { SECRET: "a secret that is longer than 32 bytes, for tests" },
  };

  test("bundles a Worker for deployment without a warning, and runs it on workerd, without nodejs_compat", async () => {
    const { folder } = await tools("wrangler", { wrangler: "4.155.0" });
    const wrangler = join(folder, "node_modules/wrangler");
    const project = await createProject("wrangler");
    await project.write({
      "worker.mjs": WORKER,
      "wrangler.json": JSON.stringify(CONFIGURATION),
      "dev.mjs": `
import { unstable_startWorker } from ${JSON.stringify(join(wrangler, "wrangler-dist/cli.js"))};
const server = { hostname: "127.0.0.1", port: 0 };
const worker = await unstable_startWorker({ config: "wrangler.json", dev: { server, inspector: false, logLevel: "error" } });
try {
  for (const path of ["/", "/kv"]) {
    const first = await worker.fetch("https://shop.example" + path);
    await first.text();
    const cookie = first.headers.get("set-cookie").split(";")[0];
    console.log(await (await worker.fetch("https://shop.example" + path, { headers: { cookie } })).text());
  }
} finally {
  await worker.dispose();
}`,
    });
    const { ok, output } = await project.run(
      "node",
      join(wrangler, "bin/wrangler.js"),
      "deploy",
      "--dry-run",
      "--outdir",
      "out",
    );
    expect(ok, output).toBe(true);
    expect(output).toContain("--dry-run: exiting now.");
    expect(output).not.toMatch(/warning/i);
    // Without a network, wrangler first prints that it cannot find the location of this machine.
    expect(await mustRun(project.run("node", "dev.mjs"))).toMatch(/(?:^|\n)Visit 2\nVisit 2\n$/);
  });
});

describe("vitest", () => {
  test("runs a user's tests with the kit: a seeded session, a cookie jar, a clock, a store that fails, and a store's cases", async () => {
    const project = await createProject("vitest", { vitest: "5.1.0" });
    await project.write({
      "counter.mjs": `
import { SessionError, withSession } from "with-session";
export const counter = (options) => withSession(async (_request, session) => {
  try {
    const user = await session.get("user", "nobody");
    return new Response(user + " " + (await session.update("visits", (n = 0) => n + 1)));
  } catch (error) {
    return new Response(error instanceof SessionError ? error.code : "another error");
  }
}, options);`,
      "counter.test.mjs": `
import { describe, expect, test } from "vitest";
import { memoryStore } from "with-session";
import { cookieJar, fakeClock, faultyStore, seedSession, storeCases } from "with-session/testing";
import { counter } from "./counter.mjs";

const URL = "https://shop.example/";

test("a seeded session is there, until its idle timeout has passed", async () => {
  const clock = fakeClock();
  const options = { store: memoryStore(), now: clock.now, idleTimeout: 60 };
  const jar = cookieJar({ now: clock.now });
  const cookie = await seedSession(options, { user: "ada", visits: 6 });
  const handle = counter(options);
  const answer = await handle(new Request(URL, { headers: { cookie } }));
  expect(await answer.text()).toBe("ada 7");
  expect(await (await jar.fetch(handle, URL)).text()).toBe("nobody 1");
  expect(await (await jar.fetch(handle, URL)).text()).toBe("nobody 2");
  clock.advance(61);
  expect(await (await jar.fetch(handle, URL)).text()).toBe("nobody 1");
});

test("a store that fails is told by its code", async () => {
  const store = faultyStore(memoryStore());
  const cookie = await seedSession({ store }, { user: "ada" });
  store.plan({ load: "rejects" });
  expect(await (await counter({ store })(new Request(URL, { headers: { cookie } }))).text()).toBe("ERR_STORE");
});

describe("the memory store", () => {
  for (const { name, run } of storeCases()) test(name, () => run(async () => ({ store: memoryStore(), close() {} })));
});`,
    });
    const { ok, output } = await project.run("node", "node_modules/vitest/vitest.mjs", "run");
    expect(ok, output).toBe(true);
    expect(output).toMatch(/Test Files +1 passed \(1\)/);
    expect(Number(/Tests +(\d+) passed/.exec(output)?.[1])).toBeGreaterThan(20);
  });
});
