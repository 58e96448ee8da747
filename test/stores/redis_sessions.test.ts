/** Whole sessions on the Redis stores, for promises that need the core as well. */
import { Redis as Upstash } from "@upstash/redis";
import { createClient } from "redis";
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from "vitest";
import { SessionManager, type UntypedData } from "../../mod.ts";
import type { SessionStore } from "../../src/core/store.ts";
import { withSession } from "../../src/core/with_session.ts";
import { redisStore } from "../../src/stores/redis.ts";
import { upstashRedisStore } from "../../src/stores/upstash_redis.ts";
import { type RedisServer, startRedis } from "../setup/redis.ts";
import { startUpstash, type Upstash as UpstashServer } from "../setup/upstash.ts";
import { fakeClient, layouts, withIfeq } from "./redis_records.ts";
import { codeOf, PATIENCE } from "../setup/sessions.ts";
import { userSessions } from "../../src/user_sessions.ts";

let server: RedisServer;
let upstash: UpstashServer;
let redis: Awaited<ReturnType<typeof connected>>;

beforeAll(async () => {
  server = await startRedis();
  upstash = await startUpstash(server.url);
  redis = await connected();
});
beforeEach(async () => {
  upstash.fault = () => undefined;
  await redis.flushAll();
});
afterAll(async () => {
  redis.destroy();
  await upstash.stop();
  await server.stop();
});

function connected() {
  return createClient({ url: server.url })
    .on("error", () => {})
    .connect();
}

/** A browser that counts its visits, and signs in and out. */
function browser(store: SessionStore) {
  const handler = withSession(
    async (request, session) => {
      const { pathname } = new URL(request.url);
      if (pathname === "/login") await session.regenerate();
      if (pathname === "/logout") await session.destroy();
      if (pathname !== "/visit") return new Response(String(await session.get("visits")));
      return new Response(String(await session.update("visits", (count = 0) => Number(count) + 1)));
    },
    { store, storeTimeout: PATIENCE },
  );
  let cookie = "";
  return async (path: string) => {
    const response = await handler(
      new Request(`https://example.com${path}`, { headers: cookie === "" ? {} : { cookie } }),
    );
    const set = response.headers.getSetCookie()[0];
    if (set !== undefined) cookie = set.split(";", 1)[0] ?? "";
    return await response.text();
  };
}

const stores: Record<string, (layout: "value" | "hash") => SessionStore> = {
  "on Redis": (layout) => redisStore(redis, { layout }),
  "on a server that knows IFEQ": (layout) => redisStore(withIfeq(redis), { layout }),
  "on Upstash": (layout) => upstashRedisStore(new Upstash({ url: upstash.url, token: upstash.token }), { layout }),
  "on Redis, by a client that sends each command twice": (layout) => redisStore(twice(redis), { layout }),
  "on a server that knows IFEQ, by a client that sends each command twice": (layout) =>
    redisStore(twice(withIfeq(redis)), { layout }),
  "on Upstash, whose answers get lost": (layout) => {
    const seen = new Set<string>();
    // Each request is done but its answer is lost. The repeated request is answered.
    upstash.fault = () =>
      seen.size === seen.add(JSON.stringify(upstash.requests.at(-1)?.commands)).size ? undefined : "drop after";
    return upstashRedisStore(
      new Upstash({ url: upstash.url, token: upstash.token, retry: { retries: 5, backoff: () => 1 } }),
      { layout },
    );
  },
};

function twice(client: { sendCommand(words: string[]): Promise<unknown> }) {
  return fakeClient(async (_words, pass) => {
    await pass().catch(() => {});
    return await pass();
  }, client);
}

for (const layout of layouts) {
  describe(`sessions in the layout ${layout}`, () => {
    for (const [where, open] of Object.entries(stores)) {
      test(`count, sign in and out: ${where}`, async () => {
        const visit = browser(open(layout));
        expect([await visit("/visit"), await visit("/visit"), await visit("/visit")]).toEqual(["1", "2", "3"]);
        expect(await visit("/login")).toBe("3");
        expect(await visit("/visit")).toBe("4");
        const answers = await Promise.all(Array.from({ length: 10 }, () => visit("/visit")));
        expect(answers.map(Number).toSorted((a, b) => a - b)).toEqual([5, 6, 7, 8, 9, 10, 11, 12, 13, 14]);
        await visit("/logout");
        expect(await visit("/")).toBe("undefined");
      });
    }
  });
}

test("a failure of a session says what is wrong with the client, and nothing about the session", async () => {
  const client = createClient({ url: server.url }).on("error", () => {});
  const visit = browser(redisStore(client));
  await expect(visit("/visit")).rejects.toMatchObject({
    code: "ERR_STORE",
    message: expect.stringContaining("the Redis client is closed"),
  });
  upstash.fault = () => ({ status: 500, error: "ERR broken" });
  const error: unknown = await browser(upstashRedisStore(new Upstash({ url: upstash.url, token: upstash.token })))(
    "/visit",
  ).catch((reason: unknown) => reason);
  expect(error).toMatchObject({ code: "ERR_STORE", message: expect.stringContaining("UpstashError") });
  expect(JSON.stringify(error, Object.getOwnPropertyNames(error))).not.toMatch(/session:[0-9a-f]|command was/);
});

test.each(layouts)(
  "on a full Redis, sessions in the layout %s are read and destroyed, and nothing else ends them",
  async (layout) => {
    const full = await startRedis({ args: ["--maxmemory", "20mb"] });
    onTestFinished(() => full.stop());
    const client = await createClient({ url: full.url })
      .on("error", () => {})
      .connect();
    onTestFinished(() => client.destroy());
    const users = userSessions();
    const store = redisStore(client, { layout });
    const sessions = new SessionManager<UntypedData>({ store, storeTimeout: PATIENCE, plugins: [users] });
    const logIn = async (): Promise<string> => {
      const session = sessions.open("");
      session.set("visits", 1);
      await users.bind(session, "ada");
      await session.save();
      return String(await session.id());
    };
    const [first, second] = [await logIn(), await logIn()];
    await client.sendCommand(["CONFIG", "SET", "maxmemory", "1"]);
    expect(await sessions.open(first).get("visits")).toBe(1);
    const leaving = sessions.open(first);
    await leaving.destroy();
    await leaving.save();
    expect(await sessions.open(first).get("visits")).toBeUndefined();
    const renewed = sessions.open(second);
    await renewed.regenerate();
    expect(await codeOf(() => renewed.save())).toBe("ERR_STORE");
    const handle = String(await users.handle(sessions.open(second)));
    expect(await codeOf(() => users.revoke(handle))).toBe("ERR_STORE");
    expect(await codeOf(() => users.revokeAll("ada"))).toBe("ERR_STORE");
    expect(await sessions.open(second).get("visits")).toBe(1);
  },
);
