import { Redis as UpstashRedis } from "@upstash/redis";
import { Redis } from "ioredis";
import { createClient } from "redis";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Session, SessionManager, type SessionStore, withSession } from "../mod.ts";
import { redisStore } from "../src/stores/redis.ts";
import { upstashRedisStore } from "../src/stores/upstash_redis.ts";
import { type CuttingProxy, type Direction, startCuttingProxy } from "./setup/cutting_proxy.ts";
import { type RedisServer, startRedis } from "./setup/redis.ts";
import { startUpstash, type Upstash } from "./setup/upstash.ts";
import { PATIENCE } from "./setup/sessions.ts";

interface Data {
  n: number;
  name: string;
}

/** A store behind a proxy, and the same store on a direct connection that is never cut. */
interface Opened {
  readonly store: SessionStore;
  readonly direct: SessionStore;
  readonly proxy: CuttingProxy;
  close(): Promise<void>;
}

const SHOP = "https://shop.example/";

let server: RedisServer;
let upstash: Upstash;

beforeAll(async () => {
  server = await startRedis();
  upstash = await startUpstash(server.url);
});
afterAll(async () => {
  await upstash.stop();
  await server.stop();
});

type Connected = Awaited<ReturnType<typeof nodeRedis>>;

async function nodeRedis(port: number) {
  return await createClient({ socket: { port, host: "127.0.0.1", reconnectStrategy: () => 1 } })
    .on("error", () => {})
    .connect();
}

const engines: Readonly<Record<string, () => Promise<Opened>>> = {
  "redisStore() on node-redis": () => onNodeRedis(redisStore),
  "redisStore() as a hash on node-redis": () => onNodeRedis((client) => redisStore(client, { layout: "hash" })),
  async "redisStore() on ioredis, which sends again what had no answer"() {
    const proxy = await startCuttingProxy(server.port);
    const client = new Redis({ port: proxy.port, host: "127.0.0.1", retryStrategy: () => 1 }).on("error", () => {});
    const straight = await nodeRedis(server.port);
    return opened(proxy, redisStore(client), redisStore(straight), straight, () => client.disconnect());
  },
  async "upstashRedisStore(), whose client sends again what had no answer"() {
    const proxy = await startCuttingProxy(Number(new URL(upstash.url).port));
    const client = new UpstashRedis({
      url: `http://127.0.0.1:${proxy.port}`,
      token: upstash.token,
      retry: { retries: 2, backoff: () => 1 },
    });
    const straight = await nodeRedis(server.port);
    return opened(proxy, upstashRedisStore(client), redisStore(straight), straight, () => {});
  },
};

async function onNodeRedis(factory: typeof redisStore): Promise<Opened> {
  const proxy = await startCuttingProxy(server.port);
  const client = await nodeRedis(proxy.port);
  const straight = await nodeRedis(server.port);
  return opened(proxy, factory(client), factory(straight), straight, () => client.destroy());
}

function opened(
  proxy: CuttingProxy,
  store: SessionStore,
  direct: SessionStore,
  straight: Connected,
  disconnect: () => void,
): Opened {
  return {
    proxy,
    store,
    direct,
    async close() {
      disconnect();
      straight.destroy();
      await proxy.stop();
    },
  };
}

/** The part of a request after the session was loaded. Only this part can be cut. */
type Step = (session: Session<Data>) => Promise<unknown>;

/** The result of a request. */
interface Result {
  readonly isDone: boolean;
  readonly isErased: boolean;
  /** The data of the session that the client holds now, if that session exists. */
  readonly held: Partial<Data> | undefined;
  /** Whether the id that the request presented is still valid. */
  readonly isOldAlive: boolean;
  readonly liveIds: number;
}

/** A kind of request, and what must hold for it wherever it was cut. */
interface Cut {
  readonly step: Step;
  readonly judge: (result: Result, at: string) => void;
}

/**
 * Sends one request after another. Each is cut one byte later than the one before, in the request or in the answer,
 * until a request ends before the cut. Returns how many were cut.
 */
async function sweep({ store, direct, proxy }: Opened, direction: Direction, { step, judge }: Cut): Promise<number> {
  const minted: string[] = [];
  const generateId = (): string => {
    minted.push(crypto.randomUUID());
    return minted.at(-1)!;
  };
  const sound = new SessionManager<Data>({ store: direct, storeTimeout: PATIENCE, generateId });
  // The first request is not cut. After it the server knows the scripts, so all later requests send the same bytes.
  for (let bytes = -1; ; bytes++) {
    const handler = withSession<Data>(
      async (_request, session) => {
        await session.get("n");
        if (bytes >= 0) proxy.cutAfter(bytes, direction);
        await step(session);
        return new Response();
      },
      { store, storeTimeout: PATIENCE, generateId },
    );
    const old = await begun(sound);
    minted.splice(0, minted.length, old);
    const request = new Request(SHOP, { headers: { Cookie: `__Host-session=${old}` } });
    const answer: unknown = await handler(request).catch((error: unknown) => error);
    const wasCut = await proxy.finish();
    if (bytes >= 0 && !wasCut) return bytes;

    const response = answer instanceof Response ? answer : undefined;
    const at = `${direction}, cut after byte ${bytes}`;
    if (response === undefined) expect(answer, at).toMatchObject({ name: "SessionError", code: "ERR_STORE" });
    const cookie = response?.headers.getSetCookie()[0];
    const told = /^__Host-session=([^;]+)/.exec(cookie ?? "")?.[1];
    const live = new Map<string, Partial<Data>>();
    for (const id of minted) {
      const session = sound.open(id);
      if ((await session.id()) !== null) live.set(id, { ...(await session.all()) });
    }
    judge(
      {
        isDone: response !== undefined,
        isErased: cookie?.includes("Max-Age=0") ?? false,
        held: live.get(told ?? old),
        isOldAlive: live.has(old),
        liveIds: live.size,
      },
      at,
    );
  }
}

async function begun(sessions: SessionManager<Data>): Promise<string> {
  const session = sessions.start(new Request(SHOP));
  session.set({ n: 1, name: "ada" });
  await session.save();
  return (await session.id()) ?? "";
}

const count: Step = (session) => session.update("n", (n = 0) => n + 1);
const MOST_DEMANDING = "updates, and goes on when save() failed";
const cuts: Readonly<Record<string, Cut>> = {
  updates: {
    step: count,
    judge({ isDone, held, isErased }, at) {
      expect(held, at).toMatchObject({ name: "ada" });
      expect([1, 2], at).toContain(held?.n);
      if (isDone) expect(held?.n, at).toBe(2);
      expect(isErased, at).toBe(false);
    },
  },
  [MOST_DEMANDING]: {
    async step(session) {
      session.set("n", 2);
      await session.save().catch(() => {});
    },
    judge({ isDone, held, isErased }, at) {
      expect(isDone, at).toBe(true);
      expect(held, at).toEqual({ n: 2, name: "ada" });
      expect(isErased, at).toBe(false);
    },
  },
  regenerates: {
    async step(session) {
      await session.regenerate();
      await count(session);
    },
    judge({ isDone, held, isOldAlive, liveIds, isErased }, at) {
      expect(held, at).toEqual({ n: isDone ? 2 : 1, name: "ada" });
      expect([isOldAlive, liveIds, isErased], at).toEqual([!isDone, 1, false]);
    },
  },
  destroys: {
    step: (session) => session.destroy(),
    judge({ isDone, isErased, liveIds, held }, at) {
      expect(isErased, at).toBe(isDone);
      if (isDone) expect(liveIds, at).toBe(0);
      else if (held !== undefined) expect(held, at).toEqual({ n: 1, name: "ada" });
    },
  },
};

for (const [name, open] of Object.entries(engines)) {
  describe(name, () => {
    let engine: Opened;
    beforeAll(async () => {
      engine = await open();
    });
    afterAll(() => engine.close());

    for (const [what, cut] of Object.entries(cuts)) {
      // All kinds run on two clients. On the others, only the kind with the most store calls runs.
      if (!name.startsWith("redisStore()") && what !== MOST_DEMANDING) continue;
      for (const direction of ["request", "answer"] as const) {
        test(`withSession() loses nothing when a client ${what} and the connection is cut at any byte of the ${direction}`, async () => {
          // The shortest answer of Redis has four bytes.
          expect(await sweep(engine, direction, cut)).toBeGreaterThanOrEqual(4);
        });
      }
    }
  });
}
