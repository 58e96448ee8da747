/**
 * What a session costs over the wire: real Redis, and Upstash's API in front of it, beside hand-written GET and SET.
 *
 * @module
 */
import { Redis as UpstashClient } from "@upstash/redis";
import { createClient } from "redis";
import { type Session, type SessionStore, withSession } from "../mod.ts";
import { keyOfId } from "../src/session_id.ts";
import { redisHashStore, redisStore } from "../src/stores/redis.ts";
import { upstashRedisHashStore, upstashRedisStore } from "../src/stores/upstash_redis.ts";
import { startRedis } from "../test/setup/redis.ts";
import { startUpstash } from "../test/setup/upstash.ts";
import { type Handler, pathOf, SHOP } from "./contender.ts";
import { median, percentile } from "./figures.ts";

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
  /** Commands that Redis gets, or HTTP requests that Upstash gets, for one request. */
  readonly commands: number;
  /** The same with 32 clients at once, where Upstash's client may send several commands together. */
  readonly commandsAtOnce: number;
}

/** The two calls that the hand-written lines need. */
interface GetSet {
  get(key: string): Promise<string | null>;
  set(key: string, text: string): Promise<unknown>;
}

/** Counts what goes over the wire. */
interface Counter {
  /** How much since it was last asked. */
  readonly take: () => Promise<number>;
  readonly stop: () => void;
}

const CLIENTS = 32;
/** In turns, as people come: a session that is written again and again within seconds carries the names of those writes. */
const SESSIONS_EACH = 100;
const DAY = 86_400;

/** Measures both engines, with so many rounds in turns. */
export async function measureWire(rounds: number): Promise<WireCost[]> {
  const server = await startRedis();
  const proxy = await startUpstash(server.url);
  const client = await createClient({ url: server.url }).connect();
  const watcher = await createClient({ url: server.url }).connect();
  let commands = 0;
  // What a script does inside Redis is no round trip.
  await watcher.monitor((line) => void (String(line).includes(" lua] ") || commands++));
  const take = (): number => {
    const taken = commands - 1;
    commands = 0;
    return taken;
  };
  const upstash = new UpstashClient({ url: proxy.url, token: proxy.token, automaticDeserialization: false });

  const redisCalls: GetSet = {
    get: (key) => client.get(key),
    set: (key, text) => client.set(key, text, { expiration: { type: "EX", value: DAY } }),
  };
  const upstashCalls: GetSet = {
    get: (key) => upstash.get<string>(key),
    set: (key, text) => upstash.set(key, text, { ex: DAY }),
  };
  try {
    return [
      ...(await measureEngine(
        "Redis",
        { "by hand": byHand(redisCalls), "value": ours(redisStore(client)), "hash": ours(redisHashStore(client)) },
        {
          // The watcher hears of a command a moment after its client was answered.
          take: async () => {
            await client.ping();
            await new Promise((resolve) => setTimeout(resolve, 50));
            return take();
          },
          // Being watched takes Redis longer.
          stop: () => watcher.destroy(),
        },
        rounds,
      )),
      ...(await measureEngine(
        "Upstash",
        {
          "by hand": byHand(upstashCalls),
          "value": ours(upstashRedisStore(upstash)),
          "hash": ours(upstashRedisHashStore(upstash)),
        },
        { take: async () => proxy.requests.splice(0).length, stop: () => {} },
        rounds,
      )),
    ];
  } finally {
    client.destroy();
    await proxy.stop();
    await server.stop();
  }
}

async function measureEngine(
  engine: string,
  handlers: Readonly<Record<string, Handler>>,
  commands: Counter,
  rounds: number,
): Promise<WireCost[]> {
  const lanes = [];
  for (const [contender, handler] of Object.entries(handlers)) {
    const cookies: string[] = [];
    for (let session = 0; session < CLIENTS * SESSIONS_EACH; session++) cookies.push(await cookieOf(handler));
    for (const each of ["read", "write"] as const) {
      let turn = 0;
      const ask = async (client: number): Promise<void> => {
        const headers = { cookie: cookies[client + CLIENTS * (turn++ % SESSIONS_EACH)] ?? "" };
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
      lanes.push({ contender, case: each, ask, ...counted, rates: [] as number[], times: [] as number[] });
    }
  }
  commands.stop();
  for (let round = -1; round < rounds; round++) {
    for (const { ask, rates, times } of lanes) {
      const start = performance.now();
      await crowd(ask, 10);
      if (round >= 0) rates.push((CLIENTS * 10 * 1000) / (performance.now() - start));
      for (let time = 0; time < 20; time++) {
        const begun = performance.now();
        await ask(time);
        if (round >= 0) times.push((performance.now() - begun) * 1000);
      }
    }
  }
  return lanes.map(({ contender, case: each, commands: alone, commandsAtOnce, rates, times }) => ({
    engine,
    contender,
    case: each,
    requestsPerSecond: median(rates),
    p50: percentile(times, 50),
    p95: percentile(times, 95),
    p99: percentile(times, 99),
    commands: alone,
    commandsAtOnce,
  }));
}

/** All clients at once, each with so many requests one after the other. */
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

function ours(store: SessionStore): Handler {
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
    const key = keyOfId(id);
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
