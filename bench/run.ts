/**
 * `npm run bench`: what a session costs, beside the bare handler and beside what one would write by hand, in one run, in turns, as
 * medians. `-- quick` takes fewer rounds, `-- --json` prints the figures for machines.
 *
 * @module
 */
import { sha256 } from "@noble/hashes/sha2.js";
import { cpus } from "node:os";
import { memoryStore, withSession } from "../mod.ts";

type Handler = (request: Request) => Response | Promise<Response>;

/** A row: the same request to each of the contenders. */
interface Case {
  readonly name: string;
  readonly path: string;
  readonly hasSession: boolean;
}

const ROUNDS = process.argv.includes("quick") ? 30 : 150;
const REQUESTS = 200;
const SHOP = "https://shop.example";

const cases: readonly Case[] = [
  { name: "untouched, no cookie", path: "/idle", hasSession: false },
  { name: "untouched, cookie", path: "/idle", hasSession: true },
  { name: "read", path: "/read", hasSession: true },
  { name: "write", path: "/write", hasSession: true },
  { name: "create", path: "/write", hasSession: false },
];

const contenders: Readonly<Record<string, Handler>> = {
  "bare handler": (request) => new Response(new URL(request.url).pathname),
  "by hand": byHand(),
  "with-session": ours(),
};

await main();

async function main(): Promise<void> {
  const rows = [];
  for (const each of cases) rows.push({ case: each.name, microseconds: await measure(each) });
  const machine = { runtime: `Node ${process.version}`, cpu: cpus()[0]?.model ?? "unknown", cores: cpus().length };
  const hash = await hashes();
  if (process.argv.includes("--json")) return console.log(JSON.stringify({ machine, rows, hash }, null, 2));
  console.log(
    `${machine.runtime}, ${machine.cores} × ${machine.cpu}; microseconds a request, medians of ${ROUNDS} rounds in turns\n`,
  );
  const names = Object.keys(contenders);
  console.log(`| | ${names.join(" | ")} | overhead ÷ by hand's |\n| --- |${" ---: |".repeat(names.length + 1)}`);
  for (const { case: name, microseconds } of rows) {
    const [bare = 0, hand = 0, ours = 0] = names.map((each) => microseconds[each] ?? 0);
    const ratio = name.startsWith("untouched")
      ? `${(ours / bare).toFixed(2)} × bare`
      : ((ours - bare) / (hand - bare)).toFixed(2);
    console.log(`| ${name} | ${names.map((each) => microseconds[each]?.toFixed(2)).join(" | ")} | ${ratio} |`);
  }
  console.log(
    `\nSHA-256 of an id, in microseconds: @noble/hashes ${hash.noble.toFixed(2)}, WebCrypto ${hash.webCrypto.toFixed(2)}`,
  );
}

/** The median time of one request for each contender, all of them measured in turns, so that drift hits all alike. */
async function measure({ path, hasSession }: Case): Promise<Record<string, number>> {
  const times: Record<string, number[]> = {};
  const requests: Record<string, () => Request> = {};
  for (const [name, handler] of Object.entries(contenders)) {
    const cookie = (await handler(new Request(`${SHOP}/write`))).headers.get("Set-Cookie")?.split(";")[0];
    const headers = hasSession && cookie !== undefined ? { cookie } : { accept: "*/*" };
    requests[name] = () => new Request(SHOP + path, { headers });
    await verify(name, handler, requests[name], path, hasSession);
    times[name] = [];
  }
  for (let round = -10; round < ROUNDS; round++) {
    for (const [name, handler] of Object.entries(contenders)) {
      const request = requests[name]!;
      const start = performance.now();
      for (let at = 0; at < REQUESTS; at++) {
        const response = await handler(request());
        if (response.status !== 200) throw new Error(`${name} answered ${response.status}`);
      }
      if (round >= 0) times[name]?.push(((performance.now() - start) / REQUESTS) * 1000);
    }
  }
  return Object.fromEntries(Object.entries(times).map(([name, list]) => [name, median(list)]));
}

/** A contender that does not do what the row says would be fast for nothing. */
async function verify(
  name: string,
  handler: Handler,
  request: () => Request,
  path: string,
  hasSession: boolean,
): Promise<void> {
  if (name === "bare handler" || path === "/idle") return;
  const first = Number(await (await handler(request())).text());
  const second = Number(await (await handler(request())).text());
  const step = path === "/write" && hasSession ? 1 : 0;
  if (!(first >= 1 && second === first + step)) throw new Error(`${name} does not count: ${first}, ${second}`);
}

function median(list: readonly number[]): number {
  return [...list].sort((left, right) => left - right)[list.length >> 1] ?? Number.NaN;
}

function ours(): Handler {
  return withSession<{ n: number }>(
    async (request, session) => {
      const { pathname } = new URL(request.url);
      if (pathname === "/read") return new Response(String(await session.get("n")));
      if (pathname === "/write") return new Response(String(await session.update("n", (n = 0) => n + 1)));
      return new Response(pathname);
    },
    { store: memoryStore() },
  );
}

/** What one would write by hand for this page alone: a hashed id, expiry and cache headers, and nothing else. */
function byHand(): Handler {
  const records = new Map<string, { text: string; expiresAt: number }>();
  const idle = 86_400_000;
  return (request) => {
    const { pathname } = new URL(request.url);
    if (pathname === "/idle") return new Response(pathname);
    const id = /(?:^|; )sid=([A-Za-z0-9_-]{22,64})/.exec(request.headers.get("Cookie") ?? "")?.[1];
    const found = id === undefined ? undefined : records.get(keyOf(id));
    const data = found !== undefined && found.expiresAt > Date.now() ? JSON.parse(found.text) : undefined;
    if (pathname === "/read") {
      const response = new Response(String(data?.n));
      response.headers.set("Cache-Control", "private");
      response.headers.set("Vary", "Cookie");
      return response;
    }
    const n = (data?.n ?? 0) + 1;
    const own =
      data === undefined ? Buffer.from(crypto.getRandomValues(new Uint8Array(24))).toString("base64url") : (id ?? "");
    records.set(keyOf(own), { text: JSON.stringify({ n }), expiresAt: Date.now() + idle });
    const response = new Response(String(n));
    response.headers.set("Cache-Control", data === undefined ? "no-store" : "private");
    if (data === undefined)
      response.headers.append("Set-Cookie", `sid=${own}; Max-Age=86400; Path=/; Secure; HttpOnly; SameSite=Lax`);
    else response.headers.set("Vary", "Cookie");
    return response;
  };
}

function keyOf(id: string): string {
  return Buffer.from(sha256(new TextEncoder().encode(id))).toString("hex");
}

/** The choice of hash: @noble/hashes answers at once, WebCrypto after an await. */
async function hashes(): Promise<{ noble: number; webCrypto: number }> {
  const bytes = new TextEncoder().encode("A".repeat(32));
  const times = { noble: [] as number[], webCrypto: [] as number[] };
  let used = 0;
  for (let round = -5; round < 40; round++) {
    let start = performance.now();
    for (let at = 0; at < 200; at++) used += sha256(bytes)[0] ?? 0;
    if (round >= 0) times.noble.push(((performance.now() - start) / 200) * 1000);
    start = performance.now();
    for (let at = 0; at < 200; at++) used += new Uint8Array(await crypto.subtle.digest("SHA-256", bytes))[0] ?? 0;
    if (round >= 0) times.webCrypto.push(((performance.now() - start) / 200) * 1000);
  }
  if (used === 0) throw new Error("Nothing was hashed");
  return { noble: median(times.noble), webCrypto: median(times.webCrypto) };
}
