import { Redis as UpstashRedis } from "@upstash/redis";
import { Redis } from "ioredis";
import { createPool } from "mysql2/promise";
import { Pool } from "pg";
import postgres from "postgres";
import { createClient } from "redis";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Session, SessionManager, type SessionOptions, type SessionStore, withSession } from "../mod.ts";
import { mysqlStore } from "../src/stores/mysql.ts";
import { postgresStore } from "../src/stores/postgres.ts";
import { redisStore } from "../src/stores/redis.ts";
import { upstashRedisStore } from "../src/stores/upstash_redis.ts";
import { type CuttingProxy, type Direction, startCuttingProxy } from "./setup/cutting_proxy.ts";
import { startMariaDb } from "./setup/mariadb.ts";
import { type PostgresServer, startPostgres } from "./setup/postgres.ts";
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
  /** The number of bytes between two cuts. Default 1. */
  readonly step?: number;
  /** Opens one more client that connects through the proxy. */
  connect?(): Connection;
  close(): Promise<void>;
}

/** A store, and its client. */
interface Connection {
  readonly store: SessionStore;
  disconnect(): unknown;
}

const SHOP = "https://shop.example/";

let server: RedisServer;
let upstash: Upstash;
let database: PostgresServer;

beforeAll(async () => {
  [server, database] = await Promise.all([startRedis(), startPostgres()]);
  upstash = await startUpstash(server.url);
});
afterAll(async () => {
  await upstash.stop();
  await Promise.all([server.stop(), database.stop()]);
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
  "postgresStore() on pg": async () =>
    onServer(database, 41, (port) => {
      const pool = new Pool({ host: "127.0.0.1", port, user: "postgres", database: "postgres" }).on("error", () => {});
      return { store: postgresStore(pool), disconnect: () => pool.end() };
    }),
  "postgresStore() on postgres.js": async () =>
    onServer(database, 67, (port) => {
      const sql = postgres({ host: "127.0.0.1", port, user: "postgres", fetch_types: false, onnotice: () => {} });
      return { store: postgresStore(sql), disconnect: () => sql.end({ timeout: 0 }) };
    }),
  async "mysqlStore()"() {
    const mariadb = await startMariaDb();
    const engine = await onServer(mariadb, 41, (port) => {
      const pool = createPool({ host: "127.0.0.1", port, user: "root", database: "mysql" });
      return { store: mysqlStore(pool), disconnect: () => pool.end() };
    });
    return { ...engine, close: () => engine.close().then(() => mariadb.stop()) };
  },
};

/** A store on a client that connects through a proxy, beside the same store on another client. */
async function onServer(
  { port }: { readonly port: number },
  step: number,
  connect: (port: number) => Connection,
): Promise<Opened> {
  const proxy = await startCuttingProxy(port);
  const [client, straight] = [connect(proxy.port), connect(port)];
  return {
    proxy,
    store: client.store,
    direct: straight.store,
    step,
    connect: () => connect(proxy.port),
    async close() {
      await Promise.all([client.disconnect(), straight.disconnect()]);
      await proxy.stop();
    },
  };
}

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
 * Sends one request after another. Each is cut one step later than the one before, in the request or in the answer,
 * until a request ends before the cut. Returns at which byte that was.
 */
async function sweep(
  { store, direct, proxy, step: width = 1 }: Opened,
  direction: Direction,
  { step, judge }: Cut,
): Promise<number> {
  const minted: string[] = [];
  const generateId = (): string => {
    minted.push(crypto.randomUUID());
    return minted.at(-1)!;
  };
  const sound = new SessionManager<Data>({ store: direct, storeTimeout: PATIENCE, generateId });
  // The first request is not cut. After it the server knows the scripts, so all later requests send the same bytes.
  for (let bytes = -1; ; bytes += bytes < 0 ? 1 : width) {
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

/** Opens one client after another, and cuts the connection of each one step later, until it is open before the cut. */
async function sweepOpening({ connect, direct, proxy, step = 1 }: Opened): Promise<number> {
  const id = await begun(new SessionManager<Data>({ store: direct, storeTimeout: PATIENCE }));
  for (let bytes = 0; ; bytes += step) {
    const { store, disconnect } = connect?.() ?? { store: direct, disconnect() {} };
    const sessions = new SessionManager<Data>({ store, storeTimeout: PATIENCE });
    proxy.cutAfter(bytes, "answer", true);
    const error: unknown = await sessions
      .open(id)
      .get("n")
      .then(
        () => undefined,
        (thrown: unknown) => thrown,
      );
    const wasCut = await proxy.finish();
    const at = `cut after byte ${bytes}`;
    if (error !== undefined) expect(error, at).toMatchObject({ name: "SessionError", code: "ERR_STORE" });
    expect(await sessions.open(id).get("n"), at).toBe(1);
    await disconnect();
    if (!wasCut) return bytes;
  }
}

async function begun(sessions: SessionManager<Data>): Promise<string> {
  const session = sessions.start(new Request(SHOP));
  session.set({ n: 1, name: "ada" });
  await session.save();
  return (await session.id()) ?? "";
}

const count: Step = (session) => session.update("n", (n = 0) => n + 1);
const ROTATION = "regenerates";
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
  [ROTATION]: {
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

/** The clients that open a connection when a request needs one. */
const OPENS = /^postgresStore|^mysqlStore/;
const ALL_KINDS = /^redisStore\(\)|^mysqlStore|on pg$/;

for (const [name, open] of Object.entries(engines)) {
  describe(name, () => {
    let engine: Opened;
    beforeAll(async () => {
      engine = await open();
    });
    afterAll(() => engine.close());

    for (const [what, cut] of Object.entries(cuts)) {
      // All kinds run on some clients. On the others, only the kind with the most store calls runs.
      if (!ALL_KINDS.test(name) && what !== MOST_DEMANDING) continue;
      for (const direction of ["request", "answer"] as const) {
        // A database may execute a whole request after its connection has ended. If it creates a session after the undoing has ended
        // that session, the session stays, and no client knows its id.
        if (OPENS.test(name) && what === ROTATION && direction === "request") continue;
        test(`withSession() loses nothing when a client ${what} and the connection is cut at any byte of the ${direction}`, async () => {
          // The shortest answer of Redis has four bytes.
          expect(await sweep(engine, direction, cut)).toBeGreaterThanOrEqual(4);
        });
      }
    }

    if (!OPENS.test(name)) return;
    test("withSession() works again after a connection was cut at any byte of the answers while it opened", async () => {
      expect(await sweepOpening(engine)).toBeGreaterThan(4);
    });
  });
}

test("postgresStore() on postgres.js works again when the program tries again at once after a reset", async () => {
  const { store, proxy, close } = await onServer(database, 1, (port) => {
    const sql = postgres({ host: "127.0.0.1", port, user: "postgres", max: 1, fetch_types: false, onnotice: () => {} });
    return { store: postgresStore(sql), disconnect: () => sql.end({ timeout: 0 }) };
  });
  const sessions = new SessionManager<Data>({ store, storeTimeout: PATIENCE });
  const id = await begun(sessions);
  const count = async (): Promise<number | undefined> => await sessions.open(id).get("n");
  for (let bytes = 0; bytes < 5; bytes++) {
    proxy.cutAfter(bytes, "answer", true);
    expect(await count().catch(count)).toBe(1);
  }
  await close();
});

describe.concurrent("withSession(), when connections go silent, works again without a restart", () => {
  // In milliseconds. So long that no query of a busy machine takes longer.
  const LIMIT = 3000;

  /** A request after the connections have gone silent may fail. The next one must not. */
  async function recovers({ store, proxy, close }: Opened, options: SessionOptions<Data> = {}): Promise<void> {
    const sessions = new SessionManager<Data>({ store, storeTimeout: PATIENCE, ...options });
    const id = await begun(sessions);
    proxy.silence();
    await sessions
      .open(id)
      .get("n")
      .catch((error: unknown) => expect(error).toMatchObject({ name: "SessionError" }));
    expect(await sessions.open(id).get("n")).toBe(1);
    await close();
  }

  test("with pg, and its option query_timeout", async () => {
    const engine = await onServer(database, 1, (port) => {
      const address = { host: "127.0.0.1", port, user: "postgres", database: "postgres" };
      const pool = new Pool({ ...address, query_timeout: LIMIT, max: 1 }).on("error", () => {});
      return { store: postgresStore(pool), disconnect: () => pool.end() };
    });
    await recovers(engine);
  });

  test("with ioredis, and its option socketTimeout", async () => {
    const proxy = await startCuttingProxy(server.port);
    const client = new Redis({ port: proxy.port, host: "127.0.0.1", socketTimeout: LIMIT }).on("error", () => {});
    const straight = await nodeRedis(server.port);
    await recovers(opened(proxy, redisStore(client), redisStore(straight), straight, () => client.disconnect()));
  });

  test("with node-redis, if a request that gets no answer destroys the client", async () => {
    const proxy = await startCuttingProxy(server.port);
    let client: Connected | undefined;
    const store = redisStore(async () => (client = await nodeRedis(proxy.port)));
    const straight = await nodeRedis(server.port);
    const end = (): void => client?.destroy();
    await recovers(opened(proxy, store, redisStore(straight), straight, end), {
      storeTimeout: LIMIT / 1000,
      onEvent: (event) => event.type === "failed" && end(),
    });
  });
});
