/**
 * The cost of a session over the network: Redis, Valkey with `SET … IFEQ`, and Upstash's API in front of a Redis, compared with
 * hand-written GET and SET.
 *
 * @module
 */
import { Redis as UpstashClient } from "@upstash/redis";
import { createClient } from "redis";
import { type Session, type SessionStore, withSession } from "../mod.ts";
import { redisStore } from "../src/stores/redis.ts";
import { upstashRedisStore } from "../src/stores/upstash_redis.ts";
import { type RedisServer, startRedis } from "../test/setup/redis.ts";
import { startUpstash } from "../test/setup/upstash.ts";
import { installValkey, startValkey } from "../test/setup/valkey.ts";
import { type Handler, pathOf, SHOP } from "./contender.ts";
import { median, percentile } from "./figures.ts";
import { hashOf } from "./own.ts";

/** One contender on one engine. Times are in microseconds. */
export interface WireCost {
  readonly engine: string;
  readonly contender: string;
  readonly case: "read" | "write";
  /** With 32 clients at once. */
  readonly requestsPerSecond: number;
  /** With one client. */
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
  /** The commands that Redis receives, or the HTTP requests that Upstash receives, for one request. */
  readonly commands: number;
  /** The same with 32 clients at once. Upstash's client may then send several commands together. */
  readonly commandsAtOnce: number;
  /** Microseconds of the server's processor time for one request; null if the server is not measured. */
  readonly serverCpu: number | null;
  /** The same for this process, which is the client. */
  readonly clientCpu: number;
}

/** The two calls that the hand-written code needs. */
interface GetSet {
  get(key: string): Promise<string | null>;
  set(key: string, text: string): Promise<unknown>;
}

/** Counts commands or HTTP requests. */
interface Counter {
  /** The count since the last call. */
  readonly take: () => Promise<number>;
  readonly stop: () => void;
  /** Microseconds of the server's processor time since its start; null if unknown. */
  readonly cpu: () => Promise<number | null>;
}

const CLIENTS = 32;
const DAY = 86_400;

/** How much to measure. */
export interface WireOptions {
  readonly rounds: number;
  /**
   * How many sessions each client uses in turns on Redis; on Upstash, which is slower, a tenth of that. They are so many because a session that is
   * written again within seconds carries the names of its last writes.
   */
  readonly sessionsEach: number;
}

/** Measures every available engine. The contenders take turns. */
export async function measureWire(options: WireOptions): Promise<WireCost[]> {
  const costs = await measureRedis("Redis", await startRedis(), ["value", "hash"], options);
  const missing = await installValkey();
  if (missing === undefined) costs.push(...(await measureRedis("Valkey", await startValkey(), ["value"], options)));
  else console.error(missing);
  costs.push(...(await measureUpstash({ ...options, sessionsEach: options.sessionsEach / 10 })));
  return costs;
}

/** Valkey 8.1 supports `SET … IFEQ`, and the store uses it by itself. Redis 7 does not, so a script compares there. */
async function measureRedis(
  engine: "Redis" | "Valkey",
  server: RedisServer,
  layouts: readonly ("value" | "hash")[],
  options: WireOptions,
): Promise<WireCost[]> {
  const client = await createClient({ url: server.url }).connect();
  const watcher = await createClient({ url: server.url }).connect();
  let commands = 0;
  // Commands that a script runs inside Redis are no round trips.
  await watcher.monitor((line) => void (String(line).includes(" lua] ") || commands++));
  const calls: GetSet = {
    get: (key) => client.get(key),
    set: (key, text) => client.set(key, text, { expiration: { type: "EX", value: DAY } }),
  };
  const counter: Counter = {
    // The watcher sees a command a moment after its client has received the answer.
    async take() {
      await client.ping();
      await new Promise((resolve) => setTimeout(resolve, 50));
      const taken = commands - 1;
      commands = 0;
      return taken;
    },
    // MONITOR makes the server slower.
    stop: () => watcher.destroy(),
    async cpu() {
      const info = await client.info("cpu");
      const of = (name: string): number => Number(new RegExp(`${name}:([\\d.]+)`).exec(info)?.[1]);
      return (of("used_cpu_user_main_thread") + of("used_cpu_sys_main_thread")) * 1e6;
    },
  };
  try {
    const ours = layouts.map((layout) => [layout, oursOn(redisStore(client, { layout }))] as const);
    return await measureEngine(engine, { "by hand": byHand(calls), ...Object.fromEntries(ours) }, counter, options);
  } finally {
    client.destroy();
    await server.stop();
  }
}

async function measureUpstash(options: WireOptions): Promise<WireCost[]> {
  const server = await startRedis();
  const proxy = await startUpstash(server.url);
  const upstash = new UpstashClient({ url: proxy.url, token: proxy.token, automaticDeserialization: false });
  const calls: GetSet = {
    get: (key) => upstash.get<string>(key),
    set: (key, text) => upstash.set(key, text, { ex: DAY }),
  };
  const counter: Counter = {
    take: async () => proxy.requests.splice(0).length,
    stop: () => {},
    cpu: async () => null,
  };
  try {
    const handlers = {
      "by hand": byHand(calls),
      "value": oursOn(upstashRedisStore(upstash)),
      "hash": oursOn(upstashRedisStore(upstash, { layout: "hash" })),
    };
    return await measureEngine("Upstash", handlers, counter, options);
  } finally {
    await proxy.stop();
    await server.stop();
  }
}

async function measureEngine(
  engine: string,
  handlers: Readonly<Record<string, Handler>>,
  commands: Counter,
  { rounds, sessionsEach }: WireOptions,
): Promise<WireCost[]> {
  const lanes = [];
  for (const [contender, handler] of Object.entries(handlers)) {
    const cookies: string[] = [];
    for (let session = 0; session < sessionsEach; session++)
      cookies.push(...(await Promise.all(Array.from({ length: CLIENTS }, () => cookieOf(handler)))));
    for (const each of ["read", "write"] as const) {
      let turn = 0;
      const ask = async (client: number): Promise<void> => {
        const headers = { cookie: cookies[client + CLIENTS * (turn++ % sessionsEach)] ?? "" };
        const response = await handler(new Request(`${SHOP}/${each}`, { headers }));
        const text = await response.text();
        if (!(Number(text) > 0)) throw new Error(`${contender} answered ${response.status}, ${text}`);
      };
      await ask(0);
      await commands.take();
      for (let time = 0; time < 10; time++) await ask(0);
      const alone = await commands.take();
      await crowd(ask, 10);
      const atOnce = await commands.take();
      const counted = { commands: alone / 10, commandsAtOnce: atOnce / (10 * CLIENTS) };
      lanes.push({
        contender,
        case: each,
        ask,
        ...counted,
        rates: [] as number[],
        times: [] as number[],
        serverCpu: [] as number[],
        clientCpu: [] as number[],
      });
    }
  }
  commands.stop();
  for (let round = -1; round < rounds; round++) {
    for (const { ask, rates, times, serverCpu, clientCpu } of lanes) {
      await crowd(ask, 3);
      const used = await commands.cpu();
      const own = process.cpuUsage();
      const start = performance.now();
      await crowd(ask, 20);
      const took = performance.now() - start;
      const { user, system } = process.cpuUsage(own);
      const after = await commands.cpu();
      if (round >= 0) rates.push((CLIENTS * 20 * 1000) / took);
      if (round >= 0) clientCpu.push((user + system) / (CLIENTS * 20));
      if (round >= 0 && used !== null && after !== null) serverCpu.push((after - used) / (CLIENTS * 20));
      for (let time = 0; time < 20; time++) {
        const begun = performance.now();
        await ask(time);
        if (round >= 0) times.push((performance.now() - begun) * 1000);
      }
    }
  }
  return lanes.map(
    ({ contender, case: each, commands: alone, commandsAtOnce, rates, times, serverCpu, clientCpu }) => ({
      engine,
      contender,
      case: each,
      requestsPerSecond: median(rates),
      p50: percentile(times, 50),
      p95: percentile(times, 95),
      p99: percentile(times, 99),
      commands: alone,
      commandsAtOnce,
      serverCpu: serverCpu.length === 0 ? null : median(serverCpu),
      clientCpu: median(clientCpu),
    }),
  );
}

/** All clients at once, each with this many requests one after the other. */
async function crowd(ask: (client: number) => Promise<void>, times: number): Promise<void> {
  const client = async (_none: unknown, number: number): Promise<void> => {
    for (let time = 0; time < times; time++) await ask(number);
  };
  await Promise.all(Array.from({ length: CLIENTS }, client));
}

async function cookieOf(handler: Handler): Promise<string> {
  const response = await handler(new Request(`${SHOP}/write`));
  return response.headers.get("Set-Cookie")?.split(";")[0] ?? "";
}

interface Data {
  n: number;
}

function oursOn(store: SessionStore): Handler {
  const page = async (request: Request, session: Session<Data>): Promise<Response> => {
    const isWrite = pathOf(request) === "/write";
    return new Response(String(isWrite ? await session.update("n", (n = 0) => n + 1) : await session.get("n")));
  };
  return withSession<Data>(page, { store });
}

function byHand({ get, set }: GetSet): Handler {
  return async (request) => {
    const sent = /(?:^|; )sid=([A-Za-z0-9_-]{36})/.exec(request.headers.get("Cookie") ?? "")?.[1];
    const id = sent ?? crypto.randomUUID();
    const key = hashOf(id);
    const text = sent === undefined ? null : await get(key);
    const data: Partial<Data> = text === null ? {} : JSON.parse(text);
    const headers = new Headers({ "Cache-Control": "private", "Vary": "Cookie" });
    if (pathOf(request) === "/write") {
      data.n = (data.n ?? 0) + 1;
      await set(key, JSON.stringify(data));
      if (text === null)
        headers.append("Set-Cookie", `sid=${id}; Max-Age=${DAY}; Path=/; Secure; HttpOnly; SameSite=Lax`);
    }
    return new Response(String(data.n), { headers });
  };
}
