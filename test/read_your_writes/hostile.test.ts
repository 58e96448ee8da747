import { describe, expect, test } from "vitest";
import { withSession } from "../../mod.ts";
import { readYourWrites } from "../../src/read_your_writes.ts";
import { cloudflareKvStore } from "../../src/stores/cloudflare_kv.ts";
import { openOldSession } from "./old_session.ts";
import {
  type Data,
  everything,
  get,
  id,
  logOut,
  managerIn,
  openWorld,
  type Options,
  pairs,
  plant,
  recentWrites,
  secrets,
  set,
  SHOP,
  visit,
  type World,
} from "./world.ts";

const NAME = "__Host-session~0123456789abcdef";

/** A browser that has written 2 in Paris, while Tokyo still shows the older value. */
async function openStale(): Promise<World> {
  const world = await openOldSession();
  await visit(world, "Paris", set("old", 2));
  return world;
}

/** The same browser in Tokyo, where the site has other options. */
function inTokyo(world: World, options: Options): World {
  return { ...world, at: () => managerIn(world, "Tokyo", options) };
}

describe("a recent-writes cookie is rejected or harmless", () => {
  test("when any character of it is another one", async () => {
    const world = await openStale();
    const [[name, value] = ["", ""]] = recentWrites(world);
    for (let at = 0; at < value.length; at += 7) {
      const other = value[at] === "A" ? "B" : "A";
      plant(world, [[name, value.slice(0, at) + other + value.slice(at + 1)]]);
      expect(await visit(world, "Tokyo", get("old"))).toBe(1);
    }
    plant(world, [[name, value]]);
    expect(await visit(world, "Tokyo", get("old"))).toBe(2);
  });

  test("when it comes under another name", async () => {
    const world = await openStale();
    const [[name, value] = ["", ""]] = recentWrites(world);
    plant(world, [
      [name, "-"],
      [NAME, value],
    ]);
    expect(await visit(world, "Tokyo", get("old"))).toBe(1);
  });

  test("when it is of another session of the same browser", async () => {
    const [one, two] = [await openStale(), await openOldSession()];
    plant(two, recentWrites(one));
    expect(await visit(two, "Tokyo", get("old"))).toBe(1);
    await visit(two, "Tokyo", set("a", 1));
    expect(recentWrites(two).size).toBe(1);
  });

  test("when it was sealed with a secret that is no longer one; while it is an older one, it counts", async () => {
    const world = await openStale();
    const newer = "another secret of at least thirty-two bytes";
    const withSecrets = (...list: string[]) => inTokyo(world, { plugins: [readYourWrites({ secrets: () => list })] });
    expect(await visit(withSecrets(newer, ...secrets), "Tokyo", get("old"))).toBe(2);
    expect(await visit(withSecrets(newer), "Tokyo", get("old"))).toBe(1);
  });

  test("when it was sealed for another cookie", async () => {
    const world = await openStale();
    plant(
      world,
      world.jar.cookies().map(({ name, value }) => [name.replace("session", "other"), value] as const),
    );
    expect(await visit(inTokyo(world, { cookie: { name: "__Host-other" } }), "Tokyo", get("old"))).toBe(1);
    expect(await visit(world, "Tokyo", get("old"))).toBe(2);
  });

  test("when an older one is played again: what is newer in the store counts", async () => {
    const world = await openStale();
    const older = recentWrites(world);
    await visit(world, "Paris", set("old", 3));
    for (const name of recentWrites(world).keys()) plant(world, [[name, "-"]]);
    plant(world, older);
    expect(await visit(world, "Paris", get("old"))).toBe(3);
    await visit(world, "Paris", set("a", 1));
    expect(await visit(world, "Lima", everything)).toEqual({ old: 3, a: 1 });
  });

  test("when one is played again at any time later, whatever the clocks say", async () => {
    for (const skews of [
      { Paris: 0, Tokyo: 0, Lima: 0 },
      { Paris: 300, Tokyo: -300, Lima: -300 },
      { Paris: -300, Tokyo: 300, Lima: -300 },
    ]) {
      const world = await openOldSession({ skews });
      await visit(world, "Paris", set("old", 2));
      const older = recentWrites(world);
      world.clock.advance(60);
      await visit(world, "Tokyo", set("old", 3));
      // Because of writes to other fields, the record forgets old marks.
      for (let minute = 0; minute < 45; minute++) {
        world.clock.advance(60);
        await visit(world, minute % 2 === 0 ? "Paris" : "Lima", set("other", minute));
        world.clock.advance(60);
        const copy = { ...world, jar: openWorld().jar };
        plant(copy, [pairs(world.jar.header(SHOP))[0]!, ...older]);
        expect(await visit(copy, "Lima", get("old"))).toBe(3);
      }
    }
  });

  test("when it is older than any clock can make it", async () => {
    const world = await openStale();
    const older = recentWrites(world);
    const server = world.at("Paris").open((await visit(world, "Paris", id)) ?? "");
    server.set("old", 3);
    await server.save();
    world.clock.advance(721);
    plant(world, older);
    expect(await visit(world, "Tokyo", get("old"))).toBe(3);
  });

  test("when it says that a session has ended, and is older than any clock can make it: then the store is asked", async () => {
    const world = openWorld();
    const loads: string[] = [];
    const store = cloudflareKvStore(world.kv.at("Paris"));
    const counted = { ...store, load: (key: string) => (loads.push(key), store.load(key)) };
    const site = { ...world, at: () => managerIn(world, "Paris", { store: counted }) };
    await visit(site, "Paris", set("a", 1));
    const [main] = pairs(world.jar.header(SHOP));
    await visit(site, "Paris", logOut);
    const ended = recentWrites(world);
    for (const [seconds, wanted] of [
      [0, 0],
      [721, 1],
    ] as const) {
      world.clock.advance(seconds);
      plant(world, [main!, ...ended]);
      loads.length = 0;
      expect(await visit(site, "Paris", get("a"))).toBeUndefined();
      expect(loads.length).toBe(wanted);
    }
  });

  test("when it tells of a complete session that was ended since, an hour ago or less", async () => {
    const world = openWorld();
    await visit(world, "Paris", set("a", 1));
    const copy = pairs(world.jar.header(SHOP));
    const server = world.at("Paris").open(copy[0]![1]);
    await server.destroy();
    await server.save();
    for (const minutes of [0, 1, 10, 13, 30]) {
      world.clock.advance(minutes * 60);
      const thief = { ...world, jar: openWorld().jar };
      plant(thief, copy);
      expect(await visit(thief, "Tokyo", everything)).toEqual({});
    }
  });

  test("when more than any browser has come before it", async () => {
    const world = await openStale();
    const real = recentWrites(world);
    world.jar.store(SHOP, {
      headers: new Headers([...real.keys()].map((name) => ["Set-Cookie", `${name}=; Path=/; Secure; Max-Age=0`])),
    });
    plant(
      world,
      Array.from({ length: 64 }, (_, i) => [`__Host-session~${String(i).padStart(16, "0")}`, "AAAA"] as const),
    );
    plant(world, real);
    expect(await visit(world, "Tokyo", get("old"))).toBe(1);
  });

  test("when its name is one that we never give: it is neither cleared nor in the way, whatever its length", async () => {
    const world = await openStale();
    const others = [`__Host-session~${"a".repeat(5000)}`, "__Host-session~admin"];
    const Cookie = [world.jar.header(SHOP), ...others.map((name) => `${name}=x`)].join("; ");
    const handle = withSession<Data>((_request, session) => (session.set("a", 1), new Response()), world.at("Tokyo"));
    const response = await handle(new Request(SHOP, { headers: { Cookie } }));
    expect(response.headers.getSetCookie().filter((line) => others.includes(line.split("=")[0]!))).toEqual([]);
  });

  test("when there are more of them than any browser has", async () => {
    const world = await openStale();
    plant(
      world,
      Array.from({ length: 100 }, (_, i) => [`__Host-session~${String(i).padStart(16, "0")}`, "AAAA"] as const),
    );
    expect(await visit(world, "Tokyo", get("old"))).toBe(2);
    await visit(world, "Tokyo", set("a", 1));
    expect(recentWrites(world).size).toBe(1);
  });

  test("when another program has spoiled the marks of the record", async () => {
    const world = await openStale();
    const kv = world.kv.at("Paris");
    const [{ name } = { name: "" }] = (await kv.list()).keys;
    for (const spoiled of ["x", "[]", '[1,{"1":2}]', "[0,null]"]) {
      await kv.put(name, ((await kv.get(name)) ?? "").replace(/(\*recent\n).*/, `$1${spoiled}`));
      expect(await visit(world, "Paris", get("old"))).toBe(2);
    }
  });
});

describe("readYourWrites()", () => {
  const store = cloudflareKvStore(openWorld().kv.at("Paris"));

  test("throws without secrets, without a cookie to keep them with, and for an unknown option", () => {
    const manager = (options: Options) => managerIn(openWorld(), "Paris", options);
    // @ts-expect-error The secrets are missing.
    expect(() => readYourWrites({})).toThrow(/secrets must be a list/);
    // @ts-expect-error The secrets are missing.
    expect(() => readYourWrites()).toThrow(TypeError);
    expect(() => readYourWrites({ secrets: ["short"] })).toThrow(RangeError);
    // @ts-expect-error The option is misspelt.
    expect(() => readYourWrites({ secret: secrets })).toThrow(/did you mean secrets/);
    expect(() => manager({ cookie: false, header: "X-Id" })).toThrow(/needs the session cookie/);
    expect(() => manager({ plugins: [readYourWrites({ secrets }), readYourWrites({ secrets })] })).toThrow(TypeError);
  });

  test("throws for a manager that keeps sessions in cookies", async () => {
    const { cookieSessions } = await import("../../src/cookie_sessions.ts");
    const options = { store: cookieSessions({ secrets }), plugins: [readYourWrites({ secrets })] };
    expect(() => withSession(() => new Response(), options)).toThrow(/needs a store/);
  });

  test("sends no cookie to clients without cookies", async () => {
    const cookiesOf = async (options: Options, headers: Record<string, string> = {}): Promise<number> => {
      const handle = withSession<Data>(
        (_request, session) => {
          session.set("a", 1);
          return new Response();
        },
        { store, plugins: [readYourWrites({ secrets })], ...options },
      );
      return (await handle(new Request(SHOP, { headers }))).headers.getSetCookie().length;
    };
    expect(await cookiesOf({})).toBe(2);
    expect(await cookiesOf({ store: () => store })).toBe(2);
    expect(await cookiesOf({ plugins: [] })).toBe(1);
    expect(await cookiesOf({ header: "X-Id" }, { "X-Id": "" })).toBe(0);
    expect(await cookiesOf({ header: "X-Id" }, { "X-Id": "A".repeat(32) })).toBe(0);
    expect(await cookiesOf({ header: "X-Id" })).toBe(2);
  });

  test("gets its secrets from what the runtime passes beside the request", async () => {
    const plugins = [readYourWrites({ secrets: (env: { SECRET: string }) => Promise.resolve([env.SECRET]) })];
    const handle = withSession<Data, [{ SECRET: string }]>(
      (_request, session) => (session.set("a", 1), new Response()),
      { store, plugins },
    );
    const response = await handle(new Request(SHOP), { SECRET: secrets[0]! });
    expect(response.headers.getSetCookie()).toHaveLength(2);
  });

  test("stores nothing if its secrets are wrong, because the response would not reach the client", async () => {
    const { kv } = openWorld();
    const handle = withSession<Data>((_request, session) => (session.set("a", 1), new Response()), {
      store: cloudflareKvStore(kv.at("Paris")),
      // @ts-expect-error The secret is undefined, as with an unset variable.
      plugins: [readYourWrites({ secrets: () => [undefined] })],
    });
    await expect(handle(new Request(SHOP))).rejects.toThrow(/secrets\[0\] is undefined/);
    expect((await kv.at("Paris").list()).keys).toEqual([]);
  });
});
