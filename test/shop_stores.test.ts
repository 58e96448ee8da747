import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type RedisServer, startRedis } from "./setup/redis.ts";
import { openShopWith } from "./shop_process.ts";

let directory: string;
let redis: RedisServer;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "with-session-shops-"));
  redis = await startRedis();
});

afterAll(async () => {
  await redis.stop();
  await rm(directory, { recursive: true });
});

const DENO = ["deno", "run", "-A", "--unstable-kv", "examples/shop/deno_server.ts"] as const;
const NODE = [process.execPath, "examples/shop/server.ts"] as const;

const places = {
  "file:": () => `file:${directory}/files`,
  "kv:": () => `kv:${directory}/shop.db`,
  "redis:": () => redis.url,
};

describe.each([
  ["Node", NODE],
  ["Deno", DENO],
] as const)("[25] The shop on %s", (_runtime, command) => {
  test.each(Object.entries(places))("keeps baskets in %s, across a restart", async (_name, place) => {
    let shop = await openShopWith({ SHOP_STORE: place() }, command);
    const first = await fetch(`${shop.url}/api/basket`, {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-Session-Id": "" },
      body: JSON.stringify({ product: "Pear", quantity: 2 }),
    });
    expect(await first.json()).toEqual({ items: { Pear: 2 }, count: 2 });
    expect(await shop.close()).toBe(0);

    shop = await openShopWith({ SHOP_STORE: place() }, command);
    const headers = { "X-Session-Id": first.headers.get("X-Session-Id") ?? "" };
    expect(await (await fetch(`${shop.url}/api/basket`, { headers })).json()).toEqual({ items: { Pear: 2 }, count: 2 });
    expect(await shop.close()).toBe(0);
  });

  test("says which stores there are when it is given another", async () => {
    await expect(openShopWith({ SHOP_STORE: "ftp://x" }, command)).rejects.toThrow("ended before it opened");
  });
});
