import { Redis, type RedisConfigNodejs } from "@upstash/redis";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { type RedisServer, startRedis } from "./redis.ts";
import { startUpstash, type Upstash } from "./upstash.ts";

let server: RedisServer;
let upstash: Upstash;

beforeAll(async () => {
  server = await startRedis();
  upstash = await startUpstash(server.url);
});
beforeEach(async () => {
  upstash.fault = () => undefined;
  await client().flushdb();
  upstash.requests.length = 0;
});
afterAll(async () => {
  await upstash.stop();
  await server.stop();
});

function client(options: Partial<RedisConfigNodejs> = {}): Redis {
  return new Redis({ url: upstash.url, token: upstash.token, retry: { retries: 2, backoff: () => 1 }, ...options });
}

async function post(path: string, body: string, headers: Record<string, string> = {}) {
  const response = await fetch(upstash.url + path, {
    method: "POST",
    body,
    headers: { authorization: `Bearer ${upstash.token}`, ...headers },
  });
  return {
    status: response.status,
    body: await response.json(),
    syncToken: response.headers.get("upstash-sync-token"),
  };
}

test("startUpstash() answers one command with its result, or with status 400 and its error", async () => {
  expect(await post("/", '["SET","a",1]')).toMatchObject({ status: 200, body: { result: "OK" } });
  expect(await post("/", '["GET","a"]')).toMatchObject({ status: 200, body: { result: "1" } });
  expect(await post("/", '["GET","b"]')).toMatchObject({ status: 200, body: { result: null } });
  expect(await post("/", '["INCR","a"]')).toMatchObject({ status: 200, body: { result: 2 } });
  expect(await post("/", '["LPOP","a"]')).toMatchObject({ status: 400, body: { error: /^WRONGTYPE / } });
  expect(await post("/", "[")).toMatchObject({ status: 400, body: { error: /^ERR / } });
});

test("startUpstash() answers a pipeline item by item, errors among them", async () => {
  const { status, body } = await post("/pipeline", '[["SET","a","x"],["INCR","a"],["GET","a"]]');
  expect(status).toBe(200);
  expect(body).toEqual([{ result: "OK" }, { error: expect.stringMatching(/^ERR /) }, { result: "x" }]);
});

test("startUpstash() runs a transaction, or none of it when a command is wrong", async () => {
  const good = await post("/multi-exec", '[["SET","a","x"],["INCR","a"],["GET","a"]]');
  expect(good).toMatchObject({ status: 200, body: [{ result: "OK" }, { error: /^ERR / }, { result: "x" }] });
  const wrong = await post("/multi-exec", '[["SET","a","y"],["SET"]]');
  expect(wrong).toMatchObject({ status: 400, body: { error: /^EXECABORT / } });
  expect(await post("/", '["GET","a"]')).toMatchObject({ body: { result: "x" } });
});

test("startUpstash() encodes strings in base64 when asked, but for OK", async () => {
  const base64 = { "Upstash-Encoding": "base64" };
  expect((await post("/", '["SET","a","é"]', base64)).body).toEqual({ result: "OK" });
  expect((await post("/", '["GET","a"]', base64)).body).toEqual({ result: "w6k=" });
  expect((await post("/", '["EVAL","return {1,{KEYS[1]},false}",1,"a"]', base64)).body).toEqual({
    result: [1, ["YQ=="], null],
  });
  expect((await post("/pipeline", '[["GET","a"]]', base64)).body).toEqual([{ result: "w6k=" }]);
});

test("startUpstash() turns away a wrong token and a request over 10 MB", async () => {
  expect(await post("/", '["PING"]', { authorization: "Bearer another" })).toMatchObject({
    status: 401,
    body: { error: "Unauthorized" },
  });
  expect(await post("/", JSON.stringify(["SET", "a", "x".repeat(10_000_000)]))).toMatchObject({
    status: 400,
    body: { error: /^ERR max request size/ },
  });
});

test("startUpstash() gives a sync token that the client hands back", async () => {
  const redis = client();
  await redis.set("a", 1);
  const token = redis.readYourWritesSyncToken;
  await redis.get("a");
  expect(token).toMatch(/./);
  expect(upstash.requests.map(({ syncToken }) => syncToken)).toEqual(["", token]);
});

test("startUpstash() serves the client's own methods: alone, piped on its own and in a transaction", async () => {
  const redis = client();
  const value = { n: 1, s: "é😀", deep: [null, true, "1"] };
  const answers = await Promise.all([redis.set("a", value), redis.get("a"), redis.incr("n"), redis.get("missing")]);
  expect(answers[0]).toBe("OK");
  expect(await redis.get("a")).toEqual(value);
  expect(await redis.exec(["GET", "a"])).toEqual(value);
  await redis.hset("h", { one: 1, two: "zwei" });
  expect(await redis.hgetall("h")).toEqual({ one: 1, two: "zwei" });
  expect(await redis.multi().incr("n").get("a").exec()).toEqual([2, value]);
  await expect(redis.exec(["LPOP", "a"])).rejects.toThrow(/^WRONGTYPE .*command was/);
  expect(new Set(upstash.requests.map(({ path }) => path))).toEqual(new Set(["/", "/pipeline", "/multi-exec"]));
});

test("startUpstash() breaks the connection before or after it is done, and the client sends again", async () => {
  const redis = client();
  for (const [fault, count] of [
    ["drop before", 1],
    ["drop after", 3],
  ] as const) {
    const broken = upstash.requests.length + 1;
    upstash.fault = () => (upstash.requests.length === broken ? fault : undefined);
    expect(await redis.exec(["INCR", "n"])).toBe(count);
  }
});

test("startUpstash() fails with a status, and the client does not send again", async () => {
  for (const status of [429, 500] as const) {
    upstash.fault = () => ({ status });
    const before = upstash.requests.length;
    await expect(client().exec(["INCR", "n"])).rejects.toThrow(`HTTP ${status}`);
    expect(upstash.requests.length).toBe(before + 1);
  }
  upstash.fault = () => undefined;
  expect(await client().exec(["GET", "n"])).toBeNull();
});

test("startUpstash() waits when told to be slow", async () => {
  const order: string[] = [];
  const { promise, resolve } = Promise.withResolvers<void>();
  upstash.fault = (path) => (path === "/" ? { slow: promise } : undefined);
  const slow = client()
    .exec(["PING"])
    .then(() => order.push("slow"));
  await client().pipeline().ping().exec();
  order.push("quick");
  resolve();
  await slow;
  expect(order).toEqual(["quick", "slow"]);
});
