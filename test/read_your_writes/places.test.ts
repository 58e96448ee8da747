import { describe, expect, onTestFinished, test, vi } from "vitest";
import { memoryStore } from "../../mod.ts";
import { encryption } from "../../src/encryption.ts";
import { signedIds } from "../../src/signed_ids.ts";
import { readYourWrites } from "../../src/read_your_writes.ts";
import { cookieJar } from "../../src/testing.ts";
import { cloudflareKvStore } from "../../src/stores/cloudflare_kv.ts";
import { openOldSession } from "./old_session.ts";
import {
  answer,
  everything,
  get,
  id,
  logOut,
  managerIn,
  openWorld,
  pairs,
  type Place,
  PLACES,
  plant,
  recentWrites,
  secrets,
  set,
  SHOP,
  typesOf,
  type Use,
  visit,
  type World,
} from "./world.ts";
import { codeOf, counted, FAKED } from "../setup/sessions.ts";

/** A world in which a load in Tokyo takes so long that there is no time for a second one. */
function withSlowTokyo(world: World): World {
  const store = cloudflareKvStore(world.kv.at("Tokyo"));
  const slow = {
    ...store,
    load: async (key: string) => {
      await Promise.resolve();
      vi.advanceTimersByTime(80);
      return await store.load(key);
    },
  };
  vi.useFakeTimers(FAKED);
  onTestFinished(() => void vi.useRealTimers());
  return { ...world, at: () => managerIn(world, "Tokyo", { store: slow, storeTimeout: 0.12 }) };
}

describe("readYourWrites(), where the store does not show a session yet,", () => {
  test("shows it and lets it be written", async () => {
    const world = openWorld({ simulated: { delay: 30 } });
    await visit(world, "Paris", set("a", 1));
    const began = await visit(world, "Paris", id);
    expect(await visit(world, "Tokyo", everything)).toEqual({ a: 1 });
    await visit(world, "Tokyo", set("b", 2));
    expect(await visit(world, "Lima", everything)).toEqual({ a: 1, b: 2 });
    world.clock.advance(200);
    expect(await visit(world, "Lima", everything)).toEqual({ a: 1, b: 2 });
    expect(await visit(world, "Lima", id)).toBe(began);
  });

  test("shows it with signed ids and encrypted records as well", async () => {
    const world = openWorld({
      simulated: { delay: 30 },
      options: { ids: signedIds({ secrets }), encryption: encryption({ secrets }) },
    });
    await visit(world, "Paris", set("a", 1));
    expect(await visit(world, "Tokyo", everything)).toEqual({ a: 1 });
    await visit(world, "Tokyo", set("b", 2));
    expect(await visit(world, "Lima", everything)).toEqual({ a: 1, b: 2 });
    await visit(world, "Lima", (session) => session.regenerate());
    expect(await visit(world, "Paris", everything)).toEqual({ a: 1, b: 2 });
    world.clock.advance(200);
    for (const each of PLACES) expect(await visit(world, each, everything)).toEqual({ a: 1, b: 2 });
  });

  test("does not bring it back when it was ended elsewhere", async () => {
    const world = openWorld();
    await visit(world, "Paris", set("a", 1));
    const server = world.at("Tokyo").open((await visit(world, "Paris", id)) ?? "");
    await server.destroy();
    await server.save();
    expect(recentWrites(world).size).toBe(1);
    expect(await visit(world, "Lima", everything)).toEqual({});
  });

  test("ends it when the logout comes there, for good and everywhere", async () => {
    for (const isOn of [true, false]) {
      const world = openWorld({ simulated: { delay: 30 }, isOn });
      await visit(world, "Paris", set("a", 1));
      const cookies = pairs(world.jar.header(SHOP));
      await visit(world, "Tokyo", async (session) => {
        await session.get("a").catch(() => {});
        await session.destroy();
      });
      world.clock.advance(3500);
      plant(world, [cookies[0]!]);
      for (const each of PLACES) expect(await visit(world, each, everything)).toEqual({});
    }
  });

  test("does not begin another one when it is too large for the cookie", async () => {
    for (const onStoreError of ["throw", "anonymous"] as const) {
      const world = openWorld({ options: { onStoreError }, simulated: { delay: 30 } });
      await visit(world, "Paris", set("a", "x".repeat(5000)));
      const before = world.jar.header(SHOP);
      const late = answer(world, "Tokyo", set("b", 2));
      if (onStoreError === "throw") await expect(late).rejects.toMatchObject({ code: "ERR_STORE" });
      else expect((await late).response.headers.getSetCookie()).toEqual([]);
      expect(typesOf(world)).toContain("stale");
      expect(world.jar.header(SHOP)).toBe(before);
      world.clock.advance(90);
      await visit(world, "Tokyo", set("b", 2));
      expect(await visit(world, "Tokyo", get("b"))).toBe(2);
    }
  });

  test("fails with ERR_STORE, not with a conflict, when no time is left to read again", async () => {
    const world = openWorld({ simulated: { delay: 30 } });
    await visit(world, "Paris", set("a", "x".repeat(5000)));
    await expect(answer(withSlowTokyo(world), "Tokyo", get("a"))).rejects.toMatchObject({ code: "ERR_STORE" });
    expect(typesOf(world)).not.toContain("conflict");
  });

  test("shows what is old when the store is slow and no time is left to read again", async () => {
    const world = await openOldSession();
    await visit(world, "Paris", set("old", "x".repeat(5000)));
    expect(await visit(withSlowTokyo(world), "Tokyo", get("old"))).toBe(1);
    expect(typesOf(world)).toContain("stale");
  });

  test("does not take it for complete when a later change of it was too large for the cookie", async () => {
    const world = openWorld({ simulated: { delay: 30 } });
    await visit(world, "Paris", set("a", 1));
    const complete = recentWrites(world);
    await visit(world, "Paris", set("a", "x".repeat(5000)));
    plant(world, complete);
    await expect(answer(world, "Tokyo", get("a"))).rejects.toMatchObject({ code: "ERR_STORE" });
  });

  test("does not take it for complete when its beginning is too long ago for the cookie", async () => {
    const world = openWorld({ simulated: { delay: 2000 } });
    await visit(world, "Paris", set("a", 1));
    for (let times = 0; times < 7; times++) {
      world.clock.advance(110);
      await visit(world, "Paris", (session) => {
        session.set("b", times);
        session.setTimeouts({ idle: 7200 + times });
      });
    }
    await expect(answer(world, "Tokyo", everything)).rejects.toMatchObject({ code: "ERR_STORE" });
  });

  test("does not take it for complete when it was written to long after its beginning", async () => {
    const world = openWorld({ simulated: { delay: 2000 } });
    await visit(world, "Paris", set("a", 1));
    world.clock.advance(800);
    expect(recentWrites(world).size).toBe(0);
    await visit(world, "Paris", set("b", 2));
    await expect(answer(world, "Tokyo", everything)).rejects.toMatchObject({ code: "ERR_STORE" });
  });

  test("shows it whole when the request that began it has stored it twice", async () => {
    const world = openWorld({ simulated: { delay: 30 } });
    await visit(world, "Paris", async (session) => {
      session.set("a", 1);
      await session.save();
      session.set("b", 2);
    });
    expect(await visit(world, "Tokyo", everything)).toEqual({ a: 1, b: 2 });
  });

  test("does not write it because somebody reads it", async () => {
    const world = openWorld({ simulated: { delay: 100 } });
    await visit(world, "Paris", set("a", 1));
    world.clock.advance(70);
    world.events.length = 0;
    expect(await visit(world, "Tokyo", get("a"))).toBe(1);
    expect(typesOf(world)).toEqual(["loaded"]);
  });

  test("does not write it because somebody reads it, who has written in two tabs: it may have been ended elsewhere", async () => {
    const world = openWorld({ simulated: { delay: 30 } });
    await visit(world, "Paris", set("a", 1));
    const tabs = [await answer(world, "Paris", set("one", 1)), await answer(world, "Paris", set("two", 2))];
    for (const { response } of tabs) world.jar.store(SHOP, response);
    const server = world.at("Paris").open((await visit(world, "Paris", id)) ?? "");
    await server.destroy();
    await server.save();
    world.clock.advance(1);
    await visit(world, "Tokyo", everything);
    world.clock.advance(100);
    for (const each of PLACES) expect(await visit(world, each, everything)).toEqual({});
  });

  test.each(["the site", "the session"])("takes it as over when its time is by the timeout of %s", async (whose) => {
    const isOwn = whose === "the session";
    const options = isOwn ? { touchInterval: 60 } : { idleTimeout: 30 };
    const world = openWorld({ options: { ...options, cookie: { maxAge: 600 } } });
    await visit(world, "Paris", (session) => {
      session.set("a", "x".repeat(5000));
      if (isOwn) session.setTimeouts({ idle: 30 });
    });
    const copy = pairs(world.jar.header(SHOP));
    world.clock.advance(30);
    plant(world, copy);
    expect(recentWrites(world).size).toBe(1);
    const at = (place: Place) =>
      managerIn(world, place, {
        ...options,
        store: { ...cloudflareKvStore(world.kv.at(place)), load: () => null },
      });
    const look = async (session: Parameters<typeof everything>[0]) => [
      await everything(session),
      (await session.info()).ended,
    ];
    expect(await visit({ ...world, at }, "Tokyo", look)).toEqual([{}, "expired"]);
  });

  test("takes it as ended when the store leaves no tombstones, so that nobody can tell whether it is only late", async () => {
    const world = openWorld({ simulated: { delay: 30 } });
    const at = (place: Place) => {
      const store = cloudflareKvStore(world.kv.at(place));
      return managerIn(world, place, { store: { ...store, traits: { ...store.traits, consistency: "strong" } } });
    };
    await visit({ ...world, at }, "Paris", set("a", 1));
    expect(await visit({ ...world, at }, "Tokyo", everything)).toEqual({});
  });
});

describe("readYourWrites()", () => {
  test("writes again what another writer has overwritten", async () => {
    const world = await openOldSession();
    const token = (await visit(world, "Paris", id)) ?? "";
    await visit(world, "Paris", set("mine", 1));
    const server = world.at("Tokyo").open(token);
    server.set("theirs", 2);
    await server.save();
    expect(await visit(world, "Tokyo", everything)).toEqual({ old: 1, mine: 1, theirs: 2 });
    world.clock.advance(200);
    expect(await visit(world, "Paris", everything)).toEqual({ old: 1, mine: 1, theirs: 2 });
  });

  test("writes it again whatever the clock of the other writer says", async () => {
    for (const [Paris, Tokyo] of [
      [300, -300],
      [-300, 300],
      [61, 0],
    ] as const) {
      const world = await openOldSession({ skews: { Paris, Tokyo, Lima: 0 } });
      const token = (await visit(world, "Paris", id)) ?? "";
      await visit(world, "Paris", set("mine", 1));
      const server = world.at("Tokyo").open(token);
      server.set("theirs", 2);
      await server.save();
      expect(await visit(world, "Tokyo", everything)).toEqual({ old: 1, mine: 1, theirs: 2 });
      world.clock.advance(200);
      expect(await visit(world, "Lima", everything)).toEqual({ old: 1, mine: 1, theirs: 2 });
    }
  });

  test("does not write again what is only late", async () => {
    const world = await openOldSession();
    await visit(world, "Paris", set("mine", 1));
    world.clock.advance(59);
    world.events.length = 0;
    expect(await visit(world, "Tokyo", get("mine"))).toBe(1);
    expect(typesOf(world)).toEqual(["loaded"]);
  });

  test("does not write again what is only late for a browser that has ended another session before", async () => {
    const world = await openOldSession();
    await visit(world, "Paris", logOut);
    await visit(world, "Paris", set("mine", 1));
    expect(await visit(world, "Tokyo", get("mine"))).toBe(1);
    await visit(world, "Paris", set("mine", 2));
    expect(recentWrites(world).size).toBe(2);
    world.events.length = 0;
    expect(await visit(world, "Tokyo", get("mine"))).toBe(2);
    expect(typesOf(world)).toEqual(["loaded"]);
  });

  test("does not write a place's old state over a change that is too large for the cookie", async () => {
    const world = openWorld({ simulated: { delay: 200 } });
    await visit(world, "Paris", set("old", 1));
    world.clock.advance(300);
    expect(await visit(world, "Lima", get("old"))).toBe(1);
    await visit(world, "Paris", set("other", 1));
    world.clock.advance(121);
    await visit(world, "Paris", (session) => session.set({ old: "x".repeat(5000), small: 2 }));
    world.clock.advance(1);
    expect(await visit(world, "Lima", everything)).toMatchObject({ old: 1, small: 2 });
    expect(typesOf(world)).toContain("stale");
    world.clock.advance(300);
    for (const each of PLACES) expect(await visit(world, each, get("old"))).toHaveLength(5000);
  });

  test("writes again what is overwritten with a later request, when the store was too busy", async () => {
    const world = await openOldSession();
    const token = (await visit(world, "Paris", id)) ?? "";
    await visit(world, "Paris", set("mine", 1));
    const server = world.at("Tokyo").open(token);
    server.set("theirs", 2);
    await server.save();
    const kv = world.kv.at("Tokyo");
    const put = () => Promise.reject(new Error("KV PUT failed: 429 Too Many Requests"));
    const busy = managerIn(world, "Tokyo", { store: cloudflareKvStore({ ...kv, put }), storeTimeout: 0.1 });
    expect(await visit({ ...world, at: () => busy }, "Tokyo", everything)).toEqual({ old: 1, mine: 1, theirs: 2 });
    expect(await visit(world, "Tokyo", everything)).toEqual({ old: 1, mine: 1, theirs: 2 });
    world.clock.advance(200);
    expect(await visit(world, "Paris", everything)).toEqual({ old: 1, mine: 1, theirs: 2 });
  });

  test("shows a deletion, a cleared session and changed timeouts in every place", async () => {
    const world = await openOldSession();
    await visit(world, "Paris", (session) => {
      session.delete("old");
      session.set("new", 1);
      session.setTimeouts({ idle: 7200 });
    });
    const look = async (session: Parameters<typeof everything>[0]) => [
      await session.all(),
      (await session.info()).expiresAt,
    ];
    expect(await visit(world, "Tokyo", look)).toEqual(await visit(world, "Paris", look));
    await visit(world, "Tokyo", (session) => session.clear());
    expect(await visit(world, "Paris", everything)).toEqual({});
  });

  test("shows flash values once, and values with a time to live, in every place", async () => {
    const world = await openOldSession();
    await visit(world, "Paris", (session) => {
      session.flash("notice", "Saved");
      session.set("code", 7, { ttl: 60 });
    });
    expect(await visit(world, "Tokyo", everything)).toEqual({ old: 1, notice: "Saved", code: 7 });
    expect(await visit(world, "Paris", everything)).toEqual({ old: 1, code: 7 });
    expect(await visit(world, "Lima", everything)).toEqual({ old: 1, code: 7 });
    world.clock.advance(60);
    expect(await visit(world, "Lima", everything)).toEqual({ old: 1 });
  });

  test("lets a session with a short idle timeout live when it was used in another place", async () => {
    const world = openWorld({ options: { idleTimeout: 40, touchInterval: 1 } });
    await visit(world, "Paris", set("a", 1));
    expect(await visit(world, "Tokyo", get("a"))).toBe(1);
    for (let times = 0; times < 3; times++) {
      world.clock.advance(19);
      expect(await visit(world, "Paris", get("a"))).toBe(1);
    }
    expect(await visit(world, "Tokyo", get("a"))).toBe(1);
  });

  test("lets it live as well when a job has used it, and the client has seen that", async () => {
    const world = openWorld({ options: { idleTimeout: 40, touchInterval: 39, cookie: { maxAge: 600 } } });
    await visit(world, "Paris", set("a", 1));
    expect(await visit(world, "Tokyo", get("a"))).toBe(1);
    world.clock.advance(30);
    const job = world.at("Paris").open((await visit(world, "Paris", id)) ?? "");
    job.touch();
    await job.save();
    expect(await visit(world, "Paris", get("a"))).toBe(1);
    world.clock.advance(20);
    expect(await visit(world, "Tokyo", get("a"))).toBe(1);
  });

  test("says that a change is too large for the cookie when a place does not show it, and tries again first", async () => {
    const world = await openOldSession();
    await visit(world, "Paris", (session) => session.set({ old: "x".repeat(5000), small: 2 }));
    expect(await visit(world, "Tokyo", everything)).toEqual({ old: 1, small: 2 });
    expect(typesOf(world).filter((type) => type === "stale")).toHaveLength(1);
    world.clock.advance(60);
    expect(await visit(world, "Tokyo", get("old"))).toHaveLength(5000);
    expect(typesOf(world).filter((type) => type === "stale")).toHaveLength(1);
  });

  test.each([2, 3, 4])(
    "reads a record that is too old again, three times in all: it is newer at the %sth",
    async (first) => {
      const world = await openOldSession();
      await visit(world, "Paris", set("old", "x".repeat(5000)));
      const [late, newest] = [cloudflareKvStore(world.kv.at("Tokyo")), cloudflareKvStore(world.kv.at("Paris"))];
      let loads = 0;
      const store = { ...late, load: (key: string) => (++loads < first ? late : newest).load(key) };
      const at = () => managerIn(world, "Tokyo", { store });
      const isSeen = first <= 3;
      expect(await visit({ ...world, at }, "Tokyo", get("old"))).toEqual(isSeen ? "x".repeat(5000) : 1);
      expect(loads).toBe(Math.min(first, 3));
      expect(typesOf(world).filter((type) => type === "stale")).toHaveLength(isSeen ? 0 : 1);
    },
  );

  test("goes on saying so when something else is written in the place that does not show it", async () => {
    const world = await openOldSession();
    await visit(world, "Paris", set("old", "x".repeat(5000)));
    await visit(world, "Tokyo", set("small", 2));
    world.events.length = 0;
    expect(await visit(world, "Tokyo", everything)).toEqual({ old: 1, small: 2 });
    expect(typesOf(world)).toContain("stale");
  });

  test("says so as well when there are more changes than the cookie has room for", async () => {
    const world = await openOldSession();
    const many = Object.fromEntries(Array.from({ length: 500 }, (_, i) => [`key ${i}`, "value"]));
    await visit(world, "Paris", (session) => session.set(many));
    await visit(world, "Tokyo", get("old"));
    expect(typesOf(world)).toContain("stale");
  });

  test("keeps the names of keys and their values from whoever reads the store when records are encrypted", async () => {
    const world = openWorld({ options: { encryption: encryption({ secrets }) } });
    await visit(world, "Paris", set("basket", "three apples"));
    expect(await visit(world, "Tokyo", get("basket"))).toBe("three apples");
    await visit(world, "Tokyo", set("basket", "four apples"));
    expect(await visit(world, "Paris", get("basket"))).toBe("four apples");
    const [{ name } = { name: "" }] = (await world.kv.at("Lima").list()).keys;
    expect(await world.kv.at("Lima").get(name)).not.toMatch(/basket|apples/);
  });

  test("stores before the response goes out, although that may be later: the response carries what was stored", async () => {
    const world = await openOldSession();
    const waiting: Promise<unknown>[] = [];
    const waitUntil = (promise: Promise<unknown>) => void waiting.push(promise);
    const at = () => managerIn(world, "Paris", { persist: "after-response", waitUntil });
    await visit({ ...world, at }, "Paris", set("a", 1));
    expect(waiting).toEqual([]);
    expect(await visit(world, "Tokyo", get("a"))).toBe(1);
  });

  test("works where a store promises strong reads and is read from replicas", async () => {
    const world = openWorld();
    const at = (place: Place, isOn: boolean) => {
      const store = cloudflareKvStore(world.kv.at(place));
      const strong = { ...store, traits: { ...store.traits, consistency: "strong" as const } };
      return managerIn(world, place, { store: strong, ...(isOn ? {} : { plugins: [] }) });
    };
    for (const isOn of [true, false]) {
      const own = { ...openWorld(), at: (place: Place) => at(place, isOn) };
      await visit(own, "Paris", set("a", 1));
      await visit(own, "Tokyo", get("a"));
      await visit(own, "Paris", set("a", 2));
      expect(await visit(own, "Tokyo", get("a"))).toBe(isOn ? 2 : 1);
    }
  });

  describe("on a store that compares and sets", () => {
    /** Two requests of one browser. The second one comes between the load and the write of the first one. */
    const overlap = async (first: Use<unknown>, second: Use<unknown>) => {
      const world = openWorld({ options: { store: memoryStore() } });
      await visit(world, "Paris", set("a", 1));
      const { response } = await answer(world, "Paris", async (session) => {
        await session.get("a");
        await visit(world, "Paris", second);
        await first(session);
      });
      world.jar.store(SHOP, response);
      return world;
    };

    test("applies a change again to what another request has stored meanwhile", async () => {
      const world = await overlap((session) => session.update("a", (n) => Number(n) + 1), set("a", 10));
      expect(await visit(world, "Paris", get("a"))).toBe(11);
      expect(typesOf(world)).toContain("conflict");
    });

    test("touches a session that another request has changed meanwhile", async () => {
      const world = await overlap((session) => session.touch(), set("b", 2));
      expect(await visit(world, "Paris", everything)).toEqual({ a: 1, b: 2 });
      expect(typesOf(world)).toContain("conflict");
    });

    test("moves what another request has stored meanwhile to the new id", async () => {
      const world = await overlap((session) => session.regenerate(), set("b", 2));
      expect(await visit(world, "Paris", everything)).toEqual({ a: 1, b: 2 });
    });

    test("drops the change of a request whose session another one has ended meanwhile", async () => {
      const world = await overlap(async (session) => {
        session.set("a", 2);
        expect(await codeOf(() => session.save())).toBe("ERR_SESSION_GONE");
      }, logOut);
      expect(await visit(world, "Paris", everything)).toEqual({});
    });
  });

  test("ends a session whose time was over in the place of the logout, for a place that does not know that", async () => {
    const world = openWorld({ options: { idleTimeout: 600 } });
    await visit(world, "Paris", set("a", 1));
    const [own = ["", ""]] = pairs(world.jar.header(SHOP));
    world.clock.advance(601);
    plant(world, [own]);
    // Another browser with a copy of the cookie, on a server with other options.
    const copied = () => {
      const copy = { ...world, jar: cookieJar({ now: world.clock.now }) };
      plant(copy, [own]);
      const at = (place: Place) => managerIn(world, place, { idleTimeout: 86_400 });
      return visit({ ...copy, at }, "Paris", everything);
    };
    expect(await copied()).toEqual({ a: 1 });
    await visit(world, "Paris", async (session) => {
      expect((await session.info()).ended).toBe("expired");
      await session.destroy();
    });
    expect(await copied()).toEqual({});
  });

  test("stores a job's change once, and rewrites no data for its touches", async () => {
    const world = await openOldSession();
    const { store, calls } = counted(cloudflareKvStore(world.kv.at("Paris")));
    const job = managerIn(world, "Paris", { store }).open((await visit(world, "Paris", id)) ?? "");
    job.touch();
    await job.save();
    job.set("a", 1);
    await job.save();
    await job.save();
    world.clock.advance(1);
    job.touch();
    await job.save();
    expect(calls).toEqual(["load", "touch", "change", "touch"]);
  });

  test("leaves records that other programs and older versions can go on with", async () => {
    const world = await openOldSession();
    await visit(world, "Paris", set("a", 1));
    const at = () => managerIn(world, "Paris", { plugins: [] });
    expect(await visit({ ...world, at }, "Paris", everything)).toEqual({ old: 1, a: 1 });
    await visit({ ...world, at }, "Paris", set("b", 2));
    expect(await visit(world, "Paris", everything)).toEqual({ old: 1, a: 1, b: 2 });
  });

  test("serves several managers with one value", async () => {
    const world = openWorld();
    const plugins = [readYourWrites({ secrets })];
    const shops = managerIn(world, "Paris", { plugins });
    const admins = managerIn(world, "Paris", { plugins, cookie: { name: "__Host-admin" } });
    await visit({ ...world, at: () => shops }, "Paris", set("a", 1));
    await visit({ ...world, at: () => admins }, "Paris", set("a", 2));
    const names = [...recentWrites(world).keys()].map((name) => name.split("~")[0]);
    expect(names.toSorted()).toEqual(["__Host-admin", "__Host-session"]);
  });
});
