import { describe, expect, test } from "vitest";
import { cloudflareKvStore } from "../../src/stores/cloudflare_kv.ts";
import { openOldSession } from "./old_session.ts";
import { answer, get, managerIn, openWorld, recentWrites, set, SHOP, typesOf, visit } from "./world.ts";

describe("readYourWrites() on a store that is too busy", () => {
  test("tries a write again, and the response goes out when it is stored", async () => {
    const world = await openOldSession();
    let refusals = 3;
    const kv = world.kv.at("Paris");
    const put: typeof kv.put = async (...args) => {
      if (refusals-- > 0) throw new Error("KV PUT failed: 429 Too Many Requests");
      await kv.put(...args);
    };
    const manager = managerIn(world, "Paris", { store: cloudflareKvStore({ ...kv, put }) });
    await visit({ ...world, at: () => manager }, "Paris", set("a", 1));
    expect(refusals).toBe(-1);
    expect(await kv.get((await kv.list()).keys[0]?.name ?? "")).toContain("\n=a\n1");
  });

  test("rejects when the time is over, and no cookie says that anything was stored", async () => {
    const world = await openOldSession({ options: { storeTimeout: 0.3 }, simulated: { writeInterval: 1 } });
    await visit(world, "Paris", set("a", 1));
    const before = recentWrites(world);
    await expect(answer(world, "Paris", set("a", 2))).rejects.toMatchObject({ code: "ERR_STORE" });
    expect(recentWrites(world)).toEqual(before);
    world.clock.advance(1);
    expect(await visit(world, "Paris", get("a"))).toBe(1);

    const tolerant = await openOldSession({
      options: { storeTimeout: 0.3, onStoreError: "anonymous" },
      simulated: { writeInterval: 1 },
    });
    await visit(tolerant, "Paris", set("a", 1));
    const { response } = await answer(tolerant, "Paris", set("a", 2));
    expect(response.headers.getSetCookie()).toEqual([]);
  });

  test("keeps what the client knows of the old session when a rotation fails, and tells it of no other", async () => {
    const world = await openOldSession({ options: { storeTimeout: 0.3, onStoreError: "anonymous" } });
    await visit(world, "Paris", set("a", 1));
    const before = world.jar.header(SHOP);
    const kv = world.kv.at("Paris");
    let puts = 0;
    const put: typeof kv.put = async (...args) => {
      // The successor is stored, but the retirement is not.
      if (++puts === 2) throw new Error("KV PUT failed: 500");
      await kv.put(...args);
    };
    const options = { store: cloudflareKvStore({ ...kv, put }), onStoreError: "anonymous" } as const;
    const manager = managerIn(world, "Paris", options);
    await visit({ ...world, at: () => manager }, "Paris", (session) => session.regenerate());
    expect(world.jar.header(SHOP)).toBe(before);
    expect(await visit(world, "Tokyo", get("a"))).toBe(1);
  });

  test("is not asked again for a touch", async () => {
    const world = openWorld({ options: { touchInterval: 0, storeTimeout: 0.2 }, simulated: { writeInterval: 1 } });
    await visit(world, "Paris", set("a", 1));
    world.clock.advance(0.5);
    world.events.length = 0;
    expect(await visit(world, "Paris", get("a")).catch((error: unknown) => error)).toBe(1);
    expect(typesOf(world)).toEqual(["loaded"]);
    world.clock.advance(1);
    await visit(world, "Paris", get("a"));
    expect(typesOf(world)).toContain("touched");
  });
});
