import { describe, expect, test } from "vitest";
import { SessionManager, withSession } from "../../mod.ts";
import { readYourWrites } from "../../src/read_your_writes.ts";
import { cloudflareKvStore } from "../../src/stores/cloudflare_kv.ts";
import { kvSimulator } from "../../src/testing.ts";
import { answer, type Data, get, openWorld, recentWrites, secrets, set, SHOP, type Use, visit } from "./world.ts";
import { openOldSession } from "./old_session.ts";

describe("a recent-writes cookie", () => {
  test("has the attributes of the session cookie and a name of its own, and ends after two minutes", async () => {
    const world = openWorld();
    const { response } = await answer(world, "Paris", set("a", 1));
    const [main = "", recent = "", ...others] = response.headers.getSetCookie();
    expect(others).toEqual([]);
    expect(recent.replace(/~[\w-]+=[^;]+/, "=…").replace("Max-Age=120", "Max-Age=86400")).toBe(
      main.replace(/=[^;]+/, "=…"),
    );
    expect(response.headers.get("Cache-Control")).toBe("no-store");
    world.jar.store(SHOP, response);
    world.clock.advance(119);
    expect(recentWrites(world).size).toBe(1);
    world.clock.advance(1);
    expect(recentWrites(world).size).toBe(0);
    expect((await answer(world, "Paris", get("a"))).response.headers.getSetCookie()).toEqual([]);
  });

  test("lives for twice the staleness of the store", async () => {
    const world = openWorld();
    const store = cloudflareKvStore(world.kv.at("Paris"));
    const handle = withSession((_request, session) => (session.set("a", 1), new Response()), {
      store: { ...store, traits: { ...store.traits, staleness: 300 } },
      plugins: [readYourWrites({ secrets })],
    });
    const cookies = (await handle(new Request(SHOP))).headers.getSetCookie();
    expect(cookies[1]).toContain("; Max-Age=600;");
  });

  test("has no prefix and no Secure on plain http to loopback", async () => {
    const store = cloudflareKvStore(kvSimulator().at("Paris"));
    const handle = withSession((_request, session) => (session.set("a", 1), new Response()), {
      store,
      plugins: [readYourWrites({ secrets })],
    });
    const cookies = (await handle(new Request("http://localhost/"))).headers.getSetCookie();
    expect(cookies[1]).toMatch(/^session~[\w-]+=[^;]+; Max-Age=120; Path=\/; HttpOnly; SameSite=Lax$/);
  });

  test("is one, however many writes follow each other, and none comes for a read of what was seen", async () => {
    const world = openWorld();
    for (const value of [1, 2, 3]) {
      await visit(world, "Paris", set("a", value));
      expect(recentWrites(world).size).toBe(1);
      expect((await answer(world, "Tokyo", get("a"))).response.headers.getSetCookie()).toEqual([]);
    }
  });

  test("comes with a read that shows what another client has written of late, and only with the first", async () => {
    const world = await openOldSession();
    const server = world.at("Tokyo").open((await visit(world, "Paris", (session) => session.id())) ?? "");
    server.set("news", 2);
    await server.save();
    expect(await visit(world, "Tokyo", get("news"))).toBe(2);
    expect(recentWrites(world).size).toBe(1);
    expect(await visit(world, "Paris", get("news"))).toBe(2);
    const { response } = await answer(world, "Tokyo", get("news"));
    expect(response.headers.getSetCookie()).toEqual([]);
  });

  test("comes with a read of a job's write, whatever the clocks say", async () => {
    for (const skews of [
      { Paris: -300, Tokyo: 300, Lima: 0 },
      { Paris: 300, Tokyo: -300, Lima: 0 },
    ]) {
      const world = await openOldSession({ skews });
      const job = world.at("Paris").open((await visit(world, "Lima", (session) => session.id())) ?? "");
      job.set("news", 2);
      await job.save();
      world.clock.advance(60);
      expect(await visit(world, "Tokyo", get("news"))).toBe(2);
      expect(recentWrites(world).size).toBe(1);
    }
  });

  test("says in a later request what was written after the response was sent, whatever the clocks say", async () => {
    const world = await openOldSession({ skews: { Paris: -300, Tokyo: 300, Lima: 0 } });
    const written = Promise.withResolvers<void>();
    const handle = withSession<Data>(async (_request, session) => {
      await session.get("old");
      const body = new ReadableStream({
        async start(controller) {
          await new Promise((resolve) => setTimeout(resolve, 20));
          await session.update("late", () => 2);
          controller.close();
          written.resolve();
        },
      });
      return new Response(body);
    }, world.at("Paris"));
    const headers = { Cookie: world.jar.header(SHOP) ?? "" };
    world.jar.store(SHOP, await handle(new Request(SHOP, { headers })));
    await written.promise;
    expect(recentWrites(world).size).toBe(0);
    world.clock.advance(60);
    expect(await visit(world, "Tokyo", get("late"))).toBe(2);
    expect(recentWrites(world).size).toBe(1);
    expect(await visit(world, "Lima", get("late"))).toBe(2);
  });

  test("keeps to its size: the largest texts are left out, then the oldest names", async () => {
    const sizeAfter = async (use: Use<void>): Promise<number> => {
      const world = openWorld();
      await visit(world, "Paris", use);
      const [[name, value] = ["", ""]] = recentWrites(world);
      return name.length + value.length;
    };
    expect(await sizeAfter(set("a", 1))).toBeLessThan(450);
    expect(await sizeAfter(set("a", "x".repeat(1_000_000)))).toBeLessThan(450);
    expect(await sizeAfter(set("a", "é".repeat(1100)))).toBeLessThan(450);
    const many = Object.fromEntries(Array.from({ length: 500 }, (_, i) => [`key ${i}`, "value"]));
    const size = await sizeAfter((session) => session.set(many));
    expect(size).toBeGreaterThan(2900);
    expect(size).toBeLessThan(3110);
  });

  test("shows nothing of the session to whoever reads it", async () => {
    const world = openWorld();
    await visit(world, "Paris", set("basket", "three apples"));
    const session = await visit(world, "Paris", (found) => found.id());
    const [[, value] = ["", ""]] = recentWrites(world);
    expect(value.startsWith("1")).toBe(true);
    expect(Buffer.from(value.slice(1), "base64url").toString("latin1")).not.toMatch(/basket|apples|fields/);
    expect(Buffer.from(value.slice(1), "base64url").toString("latin1")).not.toContain(session);
  });
});

describe("readYourWrites() costs", () => {
  test("no call of the store more, and a cookie with each write", async () => {
    const world = openWorld();
    const kv = world.kv.at("Paris");
    const calls: string[] = [];
    const store = cloudflareKvStore(kv);
    const counted = {
      ...store,
      load: (key: string) => (calls.push("load"), store.load(key)),
      save: (...args: Parameters<typeof store.save>) => (calls.push("save"), store.save(...args)),
      delete: (key: string) => (calls.push("delete"), store.delete(key)),
    };
    const plugins = [readYourWrites({ secrets })];
    const sessions = new SessionManager<Data>({ store: counted, plugins, now: world.clock.now });
    const cost = async (use: Use<unknown>): Promise<[string[], number]> => {
      calls.length = 0;
      const { response } = await answer({ ...world, at: () => sessions }, "Paris", use);
      world.jar.store(SHOP, response);
      return [[...calls], response.headers.getSetCookie().filter((line) => !line.includes("Max-Age=0")).length];
    };
    expect(await cost(set("a", 1))).toEqual([["save"], 2]);
    expect(await cost(get("a"))).toEqual([["load"], 0]);
    expect(await cost(set("a", 2))).toEqual([["load", "save"], 1]);
    expect(await cost(set("a", 2))).toEqual([["load"], 0]);
    expect(await cost((session) => session.touch())).toEqual([["load", "save"], 2]);
    expect(await cost((session) => session.regenerate())).toEqual([["load", "save", "save"], 3]);
    expect(await cost((session) => session.destroy())).toEqual([["load", "save"], 1]);
    expect(await cost(() => 0)).toEqual([[], 0]);
  });
});
