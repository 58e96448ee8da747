/**
 * The size and the start time: minified and gzipped bytes of each entry and of the same visit counter on each library, and
 * how long these take to be imported.
 *
 * @module
 */
import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { gzipSync } from "node:zlib";
import { build, type BuildOptions, type BuildResult } from "esbuild";
import { entries } from "../test/setup/entries.ts";
import { median } from "./figures.ts";

/** Bytes of one bundle. */
export interface Weight {
  readonly what: string;
  readonly minified: number;
  readonly gzipped: number;
}

/** Bytes of one entry of the package, with its dependencies. */
export interface EntryWeight extends Weight {
  /** How many gzipped bytes it adds to a visit counter. */
  readonly added: number;
}

/** A visit counter on one library. The time is in milliseconds, minus that of an empty module. */
export interface CounterCost extends Weight {
  readonly start: number;
}

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const HERE = fileURLToPath(new URL(".", import.meta.url));
const run = promisify(execFile);

/** Measures the size of each entry, alone and together with a visit counter. */
export async function weighEntries(): Promise<EntryWeight[]> {
  const counter = COUNTERS["with-session"] ?? "";
  const weigh = async (contents: string): Promise<Omit<Weight, "what">> =>
    weightOf(await bundled({ stdin: { contents, resolveDir: HERE, loader: "ts" }, external: BROUGHT }));
  const alone = await weigh(counter);
  return await Promise.all(
    entries.map(async ({ path, source }) => {
      const exported = `export * from ${JSON.stringify(join(ROOT, source))};`;
      const [own, together] = await Promise.all([weigh(exported), weigh(counter + exported)]);
      return { what: path, ...own, added: path === "." ? 0 : together.gzipped - alone.gzipped };
    }),
  );
}

/** A runtime, a framework or the user's own client provides these. */
const BROUGHT: string[] = ["node:*", "cloudflare:*", "next/*", "@aws-sdk/*"];

/** Measures the size and the start time of the same visit counter on each library. */
export async function measureCounters(rounds: number): Promise<CounterCost[]> {
  const directory = await mkdtemp(join(tmpdir(), "with-session-size-"));
  try {
    const programs: { what: string; path: string; weight: Omit<Weight, "what">; times: number[] }[] = [];
    for (const [what, contents] of Object.entries({ "an empty module": "export {};", ...COUNTERS })) {
      const code = await bundled({ stdin: { contents, resolveDir: HERE }, platform: "node", external: ["node:*"] });
      const path = join(directory, `${programs.length}.mjs`);
      await writeFile(
        path,
        contents.includes("express-session") ? `${REQUIRE}${new TextDecoder().decode(code)}` : code,
      );
      programs.push({ what, path, weight: weightOf(code), times: [] });
    }
    // The file that a program without a bundler imports.
    const path = join(ROOT, "dist/mod.js");
    const weight = weightOf(await bundled({ entryPoints: [path], platform: "node", external: ["node:*"] }));
    programs.push({ what: FROM_NPM, path, weight, times: [] });
    for (let round = 0; round < rounds; round++) {
      for (const { path, times } of programs) times.push(await startOf(path));
    }
    const [empty, ...counters] = programs.map(({ times, ...program }) => ({ ...program, start: median(times) }));
    return counters.map(({ what, weight, start }) => ({ what, ...weight, start: start - (empty?.start ?? 0) }));
  } finally {
    await rm(directory, { recursive: true });
  }
}

/** The main entry as npm installs it. */
export const FROM_NPM = "with-session, not bundled";

/** How long a new process takes to import a file. */
async function startOf(path: string): Promise<number> {
  const url = JSON.stringify(pathToFileURL(path).href);
  const script = `const start = performance.now(); await import(${url}); console.log(performance.now() - start)`;
  const { stdout } = await run(process.execPath, ["--no-warnings", "--input-type=module", "--eval", script]);
  return Number(stdout);
}

async function bundled(options: BuildOptions): Promise<Uint8Array> {
  return (await built(options)).outputFiles?.[0]?.contents ?? new Uint8Array();
}

/** One minified module with all its dependencies, and the origin of its bytes. */
export async function built(options: BuildOptions): Promise<BuildResult> {
  return await build({
    metafile: true,
    bundle: true,
    minify: true,
    write: false,
    format: "esm",
    platform: "neutral",
    mainFields: ["module", "main"],
    conditions: ["svelte", "module", "production", "import"],
    define: { "process.env.NODE_ENV": '"production"' },
    tsconfigRaw: {},
    logLevel: "error",
    ...options,
  });
}

function weightOf(code: Uint8Array): Omit<Weight, "what"> {
  return { minified: code.length, gzipped: gzipSync(code, { level: 9 }).length };
}

/** A CommonJS library in a bundled module needs this to load Node's own modules. */
const REQUIRE = 'import { createRequire } from "node:module"; const require = createRequire(import.meta.url);';

const COOKIE = `{ path: "/", httpOnly: true, secure: true, sameSite: "lax", maxAge: 86400 }`;
const SECRET = `"a secret of at least 32 bytes, for the benchmark"`;

/** The same program on each library. Where possible, it does not contain the framework that the library is made for. */
const COUNTERS: Readonly<Record<string, string>> = {
  "with-session": `
    import { withSession } from "../mod.ts";
    export default { fetch: withSession(async (_request, session) =>
      new Response("Visit " + await session.update("visits", (n = 0) => n + 1))) };`,
  "with-session in Hono, Hono included": `
    import { Hono } from "hono";
    import { session } from "../src/hono.ts";
    const app = new Hono();
    app.use(session());
    app.get("/", async (c) => c.text("Visit " + await c.var.session.update("visits", (n = 0) => n + 1)));
    export default app;`,
  "hono-sessions, Hono included": `
    import { Hono } from "hono";
    import { MemoryStore, sessionMiddleware } from "hono-sessions";
    const app = new Hono();
    app.use(sessionMiddleware({ store: new MemoryStore(), expireAfterSeconds: 86400 }));
    app.get("/", (c) => {
      const visits = (c.get("session").get("visits") ?? 0) + 1;
      c.get("session").set("visits", visits);
      return c.text("Visit " + visits);
    });
    export default app;`,
  "@hono/session, Hono included": `
    import { Hono } from "hono";
    import { useSession, useSessionStorage } from "@hono/session";
    const app = new Hono();
    app.use(useSessionStorage(new Map()), useSession({ secret: ${SECRET} }));
    app.get("/", async (c) => {
      await c.var.session.update((data) => ({ visits: (data?.visits ?? 0) + 1 }));
      return c.text("Visit " + c.var.session.data.visits);
    });
    export default app;`,
  "Hono alone": `
    import { Hono } from "hono";
    const app = new Hono();
    app.get("/", (c) => c.text("Visit"));
    export default app;`,
  "iron-session": `
    import { getIronSession, webCookies } from "iron-session";
    export default { async fetch(request) {
      const headers = new Headers();
      const session = await getIronSession(webCookies(request, headers), { password: ${SECRET}, cookieName: "sid" });
      session.visits = (session.visits ?? 0) + 1;
      await session.save();
      return new Response("Visit " + session.visits, { headers });
    } };`,
  "Remix session": `
    import { createCookie } from "@remix-run/cookie";
    import { createMemorySessionStorage } from "@remix-run/session/memory-storage";
    const cookie = createCookie("sid", { secrets: [${SECRET}] });
    const storage = createMemorySessionStorage();
    export default { async fetch(request) {
      const session = await storage.read(await cookie.parse(request.headers.get("Cookie")));
      session.set("visits", (session.get("visits") ?? 0) + 1);
      const headers = { "Set-Cookie": await cookie.serialize(await storage.save(session)) };
      return new Response("Visit " + session.get("visits"), { headers });
    } };`,
  "React Router": `
    import { createMemorySessionStorage } from "react-router";
    const { getSession, commitSession } = createMemorySessionStorage({ cookie: { name: "sid", secrets: [${SECRET}] } });
    export default { async fetch(request) {
      const session = await getSession(request.headers.get("Cookie"));
      session.set("visits", (session.get("visits") ?? 0) + 1);
      return new Response("Visit " + session.get("visits"), { headers: { "Set-Cookie": await commitSession(session) } });
    } };`,
  "svelte-kit-sessions, without SvelteKit": `
    import { sveltekitSessionHandle } from "svelte-kit-sessions";
    export const handle = sveltekitSessionHandle({ secret: ${SECRET}, cookie: ${COOKIE} });
    export async function GET({ locals: { session } }) {
      await session.setData({ visits: (session.data.visits ?? 0) + 1 });
      await session.save();
      return new Response("Visit " + session.data.visits);
    }`,
  "express-session, without Express": `
    import session from "express-session";
    export const middleware = session({ secret: ${SECRET}, resave: false, saveUninitialized: false });
    export function handler(request, response) {
      request.session.visits = (request.session.visits ?? 0) + 1;
      response.end("Visit " + request.session.visits);
    }`,
};
