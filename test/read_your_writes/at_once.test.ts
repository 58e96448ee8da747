import { describe, expect, test } from "vitest";
import type { Session } from "../../mod.ts";
import { readYourWrites } from "../../src/read_your_writes.ts";
import { cloudflareKvStore } from "../../src/stores/cloudflare_kv.ts";
import type { SimulatedNamespace } from "../../src/testing.ts";
import { userSessions } from "../../src/user_sessions.ts";
import { openOldSession } from "./old_session.ts";
import {
  answer,
  type Data,
  everything,
  get,
  id,
  logOut,
  managerIn,
  openWorld,
  pairs,
  PLACES,
  plant,
  recentWrites,
  secrets,
  set,
  SHOP,
  visit,
  type World,
} from "./world.ts";

/** A world in which a write in Paris waits until the test lets it go on. */
function holdParis(world: World): { readonly slow: World; readonly begun: Promise<void>; readonly letGo: () => void } {
  const [first, second] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const kv = world.kv.at("Paris");
  const put: typeof kv.put = async (...args) => {
    first.resolve();
    await second.promise;
    await kv.put(...args);
  };
  const slow = { ...world, at: () => managerIn(world, "Paris", { store: cloudflareKvStore({ ...kv, put }) }) };
  return { slow, begun: first.promise, letGo: second.resolve };
}

describe("readYourWrites() with two requests at once", () => {
  test("keeps what two tabs write under different keys in two places, also after the cookies have ended", async () => {
    const world = await openOldSession();
    const one = await answer(world, "Paris", set("one", 1));
    const two = await answer(world, "Tokyo", set("two", 2));
    world.jar.store(SHOP, two.response);
    world.jar.store(SHOP, one.response);
    expect(recentWrites(world).size).toBe(2);
    for (const each of PLACES) expect(await visit(world, each, everything)).toEqual({ old: 1, one: 1, two: 2 });
    expect(recentWrites(world).size).toBe(1);
    world.clock.advance(200);
    for (const each of PLACES) expect(await visit(world, each, everything)).toEqual({ old: 1, one: 1, two: 2 });
  });

  test.each(["write", "window"])(
    "leaves two cookies when a read that began before a write sees it, and the next %s ends both",
    async (end) => {
      const world = openWorld();
      await visit(world, "Paris", set("visits", 1));
      const written = Promise.withResolvers<void>();
      // For example, a browser requests an icon by itself while its user goes on.
      const read = answer(world, "Paris", async (session) => {
        await written.promise;
        return await everything(session);
      });
      world.clock.advance(1);
      const write = await answer(world, "Paris", set("visits", 2));
      written.resolve();
      for (const each of [write, await read]) world.jar.store(SHOP, each.response);
      expect((await read).result).toEqual({ visits: 2 });
      const both = [...recentWrites(world).keys()];
      expect(both).toHaveLength(2);
      if (end === "window") {
        world.clock.advance(121);
        expect(recentWrites(world).size).toBe(0);
      } else {
        expect(await visit(world, "Tokyo", everything)).toEqual({ visits: 2 });
        await visit(world, "Tokyo", set("visits", 3));
        const left = [...recentWrites(world).keys()];
        expect(left).toHaveLength(1);
        expect(both).not.toContain(left[0]);
      }
      for (const each of PLACES)
        expect(await visit(world, each, everything)).toEqual({ visits: end === "window" ? 2 : 3 });
    },
  );

  test("keeps the later one of two tabs when its write is done first", async () => {
    const world = await openOldSession();
    const { slow, begun, letGo } = holdParis(world);
    const earlier = answer(slow, "Paris", set("one", 1));
    await begun;
    world.clock.advance(1);
    const later = await answer(world, "Tokyo", set("two", 2));
    letGo();
    world.jar.store(SHOP, (await earlier).response);
    world.jar.store(SHOP, later.response);
    world.clock.advance(1);
    expect(await visit(world, "Lima", everything)).toEqual({ old: 1, one: 1, two: 2 });
    world.clock.advance(200);
    for (const each of PLACES) expect(await visit(world, each, everything)).toEqual({ old: 1, one: 1, two: 2 });
  });

  test.each([
    { Paris: 0, Tokyo: 0, Lima: 0 },
    { Paris: -300, Tokyo: 300, Lima: 300 },
    { Paris: 0, Tokyo: 300, Lima: -300 },
  ])("writes again what a writer that began before has overwritten, with clocks ahead by %o", async (skews) => {
    const world = await openOldSession({ skews });
    const { slow, begun, letGo } = holdParis(world);
    const server = slow.at("Paris").open((await visit(world, "Paris", id)) ?? "");
    await server.get("old");
    server.set("theirs", 1);
    const saving = server.save();
    await begun;
    world.clock.advance(1);
    await visit(world, "Tokyo", set("mine", 2));
    letGo();
    await saving;
    world.clock.advance(61);
    expect(await visit(world, "Lima", everything)).toEqual({ old: 1, mine: 2, theirs: 1 });
    world.clock.advance(200);
    expect(await visit(world, "Lima", everything)).toEqual({ old: 1, mine: 2, theirs: 1 });
  });
});

describe("readYourWrites() after a logout", () => {
  test("shows the session in no place, even if a response that was under way sets its cookies again", async () => {
    for (const where of PLACES) {
      const world = await openOldSession();
      const tab = await answer(world, "Tokyo", (session) => {
        session.touch();
        session.set("late", 1);
      });
      const copy = pairs(world.jar.header(SHOP));
      await visit(world, where, logOut);
      world.jar.store(SHOP, tab.response);
      plant(world, copy);
      for (const each of PLACES) expect(await visit(world, each, everything)).toEqual({});
    }
  });

  test("shows the session in no place when the request of the logout has written to it before", async () => {
    const world = await openOldSession();
    const copy = pairs(world.jar.header(SHOP));
    await visit(world, "Paris", async (session) => {
      session.set("last", 1);
      await session.save();
      await session.destroy();
    });
    for (const each of PLACES) {
      plant(world, copy);
      expect(await visit(world, each, everything)).toEqual({});
    }
  });

  test("shows the session in no place, although the browser has another one since, and holds one cookie for each", async () => {
    const world = await openOldSession();
    const copy = pairs(world.jar.header(SHOP));
    await visit(world, "Paris", logOut);
    await visit(world, "Paris", set("new", 1));
    const renewed = pairs(world.jar.header(SHOP)).filter(([name]) => !name.includes("~"));
    expect(recentWrites(world).size).toBe(2);
    for (const each of PLACES) {
      plant(world, copy);
      expect(await visit(world, each, everything)).toEqual({});
    }
    // The client logs out with the old id once more, and begins a third session.
    plant(world, copy);
    await visit(world, "Paris", async (session) => {
      await session.destroy();
      await session.save();
      session.set("newest", 1);
    });
    expect(recentWrites(world).size).toBe(2);
    plant(world, renewed);
    expect(await visit(world, "Paris", everything)).toEqual({ new: 1 });
  });

  test("ends a session of signed ids in every place, although it was never loaded", async () => {
    const { signedIds } = await import("../../src/signed_ids.ts");
    const options = { ids: signedIds({ secrets }) };
    const world = await openOldSession({ options });
    const copy = pairs(world.jar.header(SHOP));
    await visit(world, "Paris", logOut);
    plant(world, copy);
    for (const each of PLACES) expect(await visit(world, each, everything)).toEqual({});
  });

  test("tells the client nothing of a session that began and ended in one request", async () => {
    const world = openWorld();
    const { response } = await answer(world, "Paris", async (session) => {
      session.set("a", 1);
      await session.save();
      await session.destroy();
    });
    expect(response.headers.getSetCookie().filter((line) => line.includes("~"))).toEqual([]);
  });
});

describe("readYourWrites() after regenerate()", () => {
  test.each([0, 30])(
    "lets the old id lead to the new one in every place as long as a grace of %s says",
    async (grace) => {
      const world = await openOldSession();
      const old = pairs(world.jar.header(SHOP));
      await visit(world, "Paris", async (session) => {
        session.set("user", "ada");
        await session.regenerate(grace === 0 ? {} : { grace });
      });
      plant(world, [old[0]!]);
      expect(await visit(world, "Tokyo", everything)).toEqual(grace === 0 ? {} : { old: 1, user: "ada" });
      world.clock.advance(30);
      plant(world, [old[0]!]);
      expect(await visit(world, "Tokyo", everything)).toEqual({});
    },
  );

  test("keeps a request with the old id from beginning a session in place of the new one", async () => {
    const world = await openOldSession();
    const old = pairs(world.jar.header(SHOP));
    await visit(world, "Paris", (session) => session.regenerate());
    plant(world, [old[0]!]);
    const { response } = await answer(world, "Tokyo", set("seen", 1));
    expect(response.headers.getSetCookie().filter((line) => !line.includes("Max-Age=0"))).toEqual([]);
  });

  test("never lets the old id lead anywhere without a grace, whatever the clocks say", async () => {
    for (const skews of [
      { Paris: -300, Tokyo: 300, Lima: 0 },
      { Paris: 300, Tokyo: -300, Lima: 0 },
    ]) {
      const world = await openOldSession({ skews });
      const old = pairs(world.jar.header(SHOP));
      await visit(world, "Paris", (session) => session.regenerate());
      plant(world, [old[0]!]);
      for (const each of ["Tokyo", "Lima"] as const) expect(await visit(world, each, everything)).toEqual({});
    }
  });

  test("renews an id in a place that does not show the session yet, and a logout with the old id ends the new one", async () => {
    const world = openWorld({ simulated: { delay: 30 } });
    await visit(world, "Paris", set("a", 1));
    const old = pairs(world.jar.header(SHOP));
    await visit(world, "Tokyo", (session) => session.regenerate({ grace: 30 }));
    const renewed = pairs(world.jar.header(SHOP));
    expect(renewed[0]).not.toEqual(old[0]);
    for (const each of PLACES) expect(await visit(world, each, everything)).toEqual({ a: 1 });
    plant(world, [old[0]!]);
    expect(await visit(world, "Tokyo", everything)).toEqual({ a: 1 });
    const server = world.at("Tokyo").open(old[0]![1]);
    await server.destroy();
    await server.save();
    for (const pair of [old[0]!, renewed[0]!]) {
      const stranger = { ...world, jar: openWorld().jar };
      plant(stranger, [pair]);
      expect(await visit(stranger, "Tokyo", everything)).toEqual({});
    }
  });

  test.each([
    ["logs out", (session: Session<Data>) => session.destroy()],
    ["renews the id again, without a grace,", (session: Session<Data>) => session.regenerate()],
  ])("does not let the old id lead on when the client %s in another place", async (_what, end) => {
    const world = await openOldSession({ simulated: { delay: 60 } });
    const old = pairs(world.jar.header(SHOP));
    await visit(world, "Paris", (session) => session.regenerate({ grace: 900 }));
    // Every place shows the new id, and the cookie that says so is over.
    world.clock.advance(130);
    await visit(world, "Paris", end);
    plant(world, [old[0]!]);
    expect(await visit(world, "Tokyo", everything)).toEqual({});
  });

  test("puts the session back under its old id when the handler fails afterwards", async () => {
    const world = await openOldSession();
    const { withSession } = await import("../../mod.ts");
    const handle = withSession<Record<string, number | string>>(async (_request, session) => {
      session.set("user", "ada");
      await session.regenerate();
      await session.save();
      throw new Error("no");
    }, world.at("Paris"));
    const headers = { Cookie: world.jar.header(SHOP) ?? "" };
    await expect(handle(new Request(SHOP, { headers }))).rejects.toThrow("no");
    world.clock.advance(1);
    expect(await visit(world, "Paris", get("old"))).toBe(1);
    expect(await visit(world, "Paris", set("a", 2))).toBeUndefined();
    for (const each of PLACES) expect(await visit(world, each, get("a"))).toBe(2);
  });
});

describe("readYourWrites() in a place that does not show the session yet", () => {
  test("shows all of it to a client that has got a new id by its old one, as the first response with it was lost", async () => {
    const world = await openOldSession({ simulated: { delay: 50 } });
    const lost = await answer(world, "Paris", (session) => session.regenerate({ grace: 30 }));
    expect(lost.response.headers.getSetCookie()).not.toEqual([]);
    expect(await visit(world, "Paris", everything)).toEqual({ old: 1 });
    for (const each of PLACES) expect(await visit(world, each, everything)).toEqual({ old: 1 });
  });

  /** A session that began elsewhere, with a handler that renews its id and then fails. */
  async function failAfterRegenerate(put: (kv: SimulatedNamespace) => SimulatedNamespace["put"]): Promise<World> {
    const world = openWorld({ simulated: { delay: 50 } });
    await visit(world, "Paris", set("a", 1));
    const kv = world.kv.at("Tokyo");
    const tokyo = managerIn(world, "Tokyo", { store: cloudflareKvStore({ ...kv, put: put(kv) }) });
    const failing = visit({ ...world, at: () => tokyo }, "Tokyo", async (session) => {
      await session.regenerate();
      await session.save().catch(() => {});
      throw new Error("no");
    });
    await expect(failing).rejects.toThrow("no");
    return world;
  }

  test("puts it back under its old id when the handler fails after a new one was stored", async () => {
    const world = await failAfterRegenerate((kv) => kv.put);
    for (const each of PLACES) expect(await visit(world, each, everything)).toEqual({ a: 1 });
    world.clock.advance(200);
    for (const each of PLACES) expect(await visit(world, each, everything)).toEqual({ a: 1 });
  });

  test("ends the new one when the old one could not be stored to be retired, and fails as the handler does", async () => {
    const puts: string[] = [];
    const world = await failAfterRegenerate((kv) => async (key, value, options) => {
      puts.push(key);
      if (puts.indexOf(key) === 1) throw new Error("KV PUT failed: 500");
      await kv.put(key, value, options);
    });
    const [successor, old] = [...new Set(puts)];
    expect(puts.slice(0, 2)).toEqual([successor, old]);
    const left = (await world.kv.at("Tokyo").get(successor!)) ?? "";
    expect(left).not.toContain("=a");
    for (const each of PLACES) expect(await visit(world, each, everything)).toEqual({ a: 1 });
  });
});

describe("readYourWrites() beside userSessions()", () => {
  test.each(["first", "last"])(
    "does not bring back a session whose user was signed out everywhere, as the %s plugin",
    async (place) => {
      const users = userSessions();
      const recent = readYourWrites({ secrets });
      const plugins = place === "first" ? [recent, users] : [users, recent];
      const world = openWorld();
      const manager = managerIn(world, "Paris", { plugins });
      const paris = { ...world, at: () => manager };
      await visit(paris, "Paris", set("a", 1));
      await visit(paris, "Paris", (session) => users.bind(session, "ada"));
      expect(await visit(paris, "Paris", get("a"))).toBe(1);
      expect(await users.revokeAll("ada")).toBe(1);
      expect(recentWrites(world).size).toBe(1);
      expect(await visit(paris, "Paris", everything)).toEqual({});
      world.clock.advance(61);
      expect(await visit(paris, "Paris", everything)).toEqual({});
    },
  );
});
