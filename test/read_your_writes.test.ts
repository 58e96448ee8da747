import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { memoryStore, SessionManager, type SessionEvent, type SessionOptions, withSession } from "../mod.ts";
import { cloudflareKvStore } from "../src/stores/cloudflare_kv.ts";
import {
  type CookieJar,
  cookieJar,
  type FakeClock,
  fakeClock,
  type KvSimulator,
  kvSimulator,
  type KvSimulatorOptions,
} from "../src/testing.ts";
import { counted, gate, SHOP } from "./setup/sessions.ts";

const secrets = ["a secret of at least thirty-two bytes"];
const PLACES = ["Paris", "Tokyo", "Lima"] as const;
type Place = (typeof PLACES)[number];
type Data = Record<string, number | string>;

/** One browser, and one site in several places. */
interface World {
  readonly clock: FakeClock;
  readonly kv: KvSimulator;
  readonly jar: CookieJar;
  readonly events: SessionEvent[];
  readonly at: (place: Place) => SessionManager<Data>;
}

function openWorld(options: SessionOptions<Data> = {}, simulated: KvSimulatorOptions = {}): World {
  const clock = fakeClock(1_800_000_000_000);
  const kv = kvSimulator({ now: clock.now, writeInterval: 0, ...simulated });
  const events: SessionEvent[] = [];
  const managers = new Map<Place, SessionManager<Data>>();
  const observe = (event: SessionEvent): void => void events.push(event);
  const managerAt = (place: Place): SessionManager<Data> => {
    const store = cloudflareKvStore(kv.at(place));
    return new SessionManager<Data>({ store, secrets, now: clock.now, observe, ...options });
  };
  const at = (place: Place): SessionManager<Data> => {
    const manager = managers.get(place) ?? managerAt(place);
    managers.set(place, manager);
    return manager;
  };
  return { clock, kv, jar: cookieJar({ now: clock.now }), events, at };
}

type Use<Result> = (session: ReturnType<SessionManager<Data>["start"]>) => Result | Promise<Result>;

/** One request of the browser to one place. */
async function visit<Result>(world: World, place: Place, use: Use<Result>): Promise<Result> {
  const { result, response } = await answer(world, place, use);
  world.jar.store(SHOP, response);
  return result;
}

/** The same, with the response still under way. */
async function answer<Result>(
  world: World,
  place: Place,
  use: Use<Result>,
): Promise<{ readonly result: Result; readonly response: Response }> {
  const results: Result[] = [];
  const handle = withSession<Data>(async (_request, session) => {
    results.push(await use(session));
    return new Response("Hello");
  }, world.at(place));
  const cookies = world.jar.header(SHOP);
  const response = await handle(new Request(SHOP, cookies === null ? {} : { headers: { Cookie: cookies } }));
  return { result: results[0]!, response };
}

const everything: Use<Data> = async (session) => ({ ...(await session.all()) }) as Data;

/** What a browser or a server does next, and how long after. */
type Step = { readonly place: Place; readonly after: number } & (
  | { readonly does: "read" | "login" | "logout" | "remember" | "serve" }
  | { readonly does: "set" | "delete"; readonly key: string }
  | { readonly does: "both"; readonly other: Place }
);

const place = fc.constantFrom(...PLACES);
const key = fc.constantFrom("a", "b", "c");
const alone = (after: fc.Arbitrary<number>): fc.Arbitrary<Step> =>
  fc.oneof(
    { weight: 6, arbitrary: fc.record({ does: fc.constant("read" as const), place, after }) },
    { weight: 6, arbitrary: fc.record({ does: fc.constant("set" as const), place, after, key }) },
    { weight: 2, arbitrary: fc.record({ does: fc.constant("delete" as const), place, after, key }) },
    {
      weight: 1,
      arbitrary: fc.record({ does: fc.constantFrom("login" as const, "logout", "remember"), place, after }),
    },
  );
/** Two tabs at once. */
const inTabs = (after: fc.Arbitrary<number>): fc.Arbitrary<Step> =>
  fc.oneof(
    { weight: 8, arbitrary: alone(after) },
    { weight: 2, arbitrary: fc.record({ does: fc.constant("both" as const), place, other: place, after }) },
  );
/** And a job that writes into the session, in one place, without knowing what the browser has seen. */
const withJob = (after: fc.Arbitrary<number>): fc.Arbitrary<Step> =>
  fc.oneof(
    { weight: 8, arbitrary: inTabs(after) },
    {
      weight: 2,
      arbitrary: fc.record({ does: fc.constant("serve" as const), place: fc.constant("Lima" as const), after }),
    },
  );

/** Plays a trace, and tells in which steps the browser did not see what it must see. */
async function violationsIn(
  steps: readonly Step[],
  options: SessionOptions<Data>,
  simulated: KvSimulatorOptions,
): Promise<string[]> {
  const world = openWorld(options, simulated);
  const violations: string[] = [];
  /** What the browser has written or seen last; absent for what it has removed. */
  const seen = new Map<string, number>();
  let id: string | null = null;
  let written = 0;
  let isIn = false;
  const compare = (found: Data, step: Step): void => {
    for (const name of new Set([...seen.keys(), ...Object.keys(found)])) {
      const now = typeof found[name] === "number" ? found[name] : 0;
      const before = seen.get(name) ?? 0;
      // What a server wrote may be new; all else is the browser's own.
      if (name === "server" ? now < before : now !== before) violations.push(`${step.does} in ${step.place}: ${name}`);
      if (now > 0) seen.set(name, now);
      else seen.delete(name);
    }
  };
  for (const step of steps) {
    world.clock.advance(step.after);
    const set =
      (name: string): Use<void> =>
      async (session) => {
        compare(await everything(session), step);
        seen.set(name, ++written);
        session.set(name, written);
      };
    if (step.does === "both") {
      const responses = [];
      for (const [at, name] of [
        [step.place, "one"],
        [step.other, "two"],
      ] as const) {
        if (!isIn) continue;
        const value = ++written;
        responses.push(
          await answer(world, at, (session) => {
            session.set(name, value);
          }),
        );
        seen.set(name, value);
      }
      for (const { response } of responses) world.jar.store(SHOP, response);
      continue;
    }
    if (step.does === "serve") {
      if (id === null) continue;
      const session = world.at(step.place).open(id);
      session.set("server", ++written);
      if ((await session.id()) !== null) await session.save().catch(() => {});
      continue;
    }
    id = await visit(world, step.place, async (session) => {
      if (step.does === "set") await set(step.key)(session);
      else compare(await everything(session), step);
      if (step.does === "delete") session.delete(step.key);
      if (step.does === "delete") seen.delete(step.key);
      if (step.does === "login") await session.regenerate();
      if (step.does === "remember") session.setTimeouts({ idle: 100_000 + step.after });
      if (step.does === "logout") await session.destroy();
      if (step.does === "logout") seen.clear();
      return await session.id();
    });
    isIn = id !== null;
  }
  return violations;
}

const seed = Number(process.env["SEED"] ?? Date.now() % 1_000_000);
const RUNS = Number(process.env["TRACES"] ?? 1000);

/** Seconds between two requests: at once, or after every cache has forgotten. */
const anyTime = fc.constantFrom(0, 0, 0.2, 1, 3, 10, 30, 59, 61, 90, 119, 121, 300);
/** What one of two tabs has overwritten is written again if the browser comes back in time for all places to see that. */
const withinAMinute = fc.constantFrom(0, 0, 0.2, 1, 3, 10, 30, 50);
/** The job may overwrite a change as long as it does not see it, and the browser may take as long to see that. */
const soon = fc.constantFrom(0, 0, 0.2, 1, 3, 10);

describe("readYourWrites shows a browser that hops between places its own writes, and never an older state", () => {
  for (const [name, step, simulated] of [
    ["one request after the other, at any time", alone(anyTime), { delay: 5 }],
    ["two tabs at once", inTabs(withinAMinute), { delay: 5 }],
    ["a job that writes into the session as well", withJob(soon), { cacheTtl: 30, delay: 5 }],
  ] as const) {
    const trace = fc.array(step, { minLength: 5, maxLength: 40, size: "max" });

    test(`when traces are random: ${name}`, async () => {
      console.log(`SEED=${seed}: ${RUNS} traces`);
      const property = fc.asyncProperty(trace, async (steps) => {
        expect(await violationsIn(steps, {}, simulated)).toEqual([]);
      });
      await fc.assert(property, { seed, numRuns: RUNS });
    });

    test(`which it does not without it: ${name}`, async () => {
      const traces = fc.sample(trace, { seed, numRuns: 200 });
      let violating = 0;
      for (const steps of traces) {
        if ((await violationsIn(steps, { readYourWrites: false }, simulated)).length > 0) violating++;
      }
      console.log(`Without companions, ${violating} of ${traces.length} traces show an older state`);
      expect(violating).toBeGreaterThan(traces.length / 4);
    });
  }
});

/** The browser's companions, by name. */
function companions({ jar }: World): Map<string, string> {
  return new Map(jar.cookies().flatMap(({ name, value }) => (name.includes("~") ? [[name, value] as const] : [])));
}

/** Puts cookies into a browser, as a script or another program of the same user may. */
function plant({ jar }: World, cookies: Iterable<readonly [string, string]>): void {
  const headers = new Headers();
  for (const [name, value] of cookies) headers.append("Set-Cookie", `${name}=${value}; Path=/; Secure; Max-Age=600`);
  jar.store(SHOP, { headers });
}

const set =
  (name: string, value: Data[string]): Use<void> =>
  (session) =>
    session.set(name, value);
const get =
  (name: string): Use<Data[string] | undefined> =>
  (session) =>
    session.get(name);
const id: Use<string | null> = (session) => session.id();
const logOut: Use<void> = (session) => session.destroy();

/** A session that every place knows, and a browser without companions. */
async function openOldSession(options: SessionOptions<Data> = {}, simulated: KvSimulatorOptions = {}): Promise<World> {
  const world = openWorld(options, simulated);
  await visit(world, "Paris", set("old", 1));
  world.clock.advance(121);
  for (const each of PLACES) expect(await visit(world, each, get("old"))).toBe(1);
  expect(companions(world).size).toBe(0);
  world.events.length = 0;
  return world;
}

describe("a companion cookie", () => {
  test("has the attributes of the session's cookie and a name of its own, and goes after two minutes", async () => {
    const world = openWorld();
    const { response } = await answer(world, "Paris", set("a", 1));
    const [main = "", companion = "", ...others] = response.headers.getSetCookie();
    expect(others).toEqual([]);
    expect(companion.replace(/~[\w-]+=[^;]+/, "=…").replace("Max-Age=120", "Max-Age=86400")).toBe(
      main.replace(/=[^;]+/, "=…"),
    );
    expect(response.headers.get("Cache-Control")).toBe("no-store");
    world.jar.store(SHOP, response);
    world.clock.advance(119);
    expect(companions(world).size).toBe(1);
    world.clock.advance(1);
    expect(companions(world).size).toBe(0);
    expect((await answer(world, "Paris", get("a"))).response.headers.getSetCookie()).toEqual([]);
  });

  test("has no prefix and no Secure on plain http to loopback", async () => {
    const store = cloudflareKvStore(kvSimulator().at("Paris"));
    const handle = withSession((_request, session) => (session.set("a", 1), new Response()), { store, secrets });
    const cookies = (await handle(new Request("http://localhost/"))).headers.getSetCookie();
    expect(cookies[1]).toMatch(/^session~[\w-]+=[^;]+; Max-Age=120; Path=\/; HttpOnly; SameSite=Lax$/);
  });

  test("is one, however many writes follow each other, and none comes for a read of what was seen", async () => {
    const world = openWorld();
    for (const value of [1, 2, 3]) {
      await visit(world, "Paris", set("a", value));
      expect(companions(world).size).toBe(1);
      expect((await answer(world, "Tokyo", get("a"))).response.headers.getSetCookie()).toEqual([]);
    }
  });

  test("comes with a read when that shows what another client has written of late, and only with the first", async () => {
    const world = await openOldSession();
    const server = world.at("Tokyo").open((await visit(world, "Paris", id)) ?? "");
    server.set("news", 2);
    await server.save();
    expect(await visit(world, "Tokyo", get("news"))).toBe(2);
    expect(companions(world).size).toBe(1);
    expect(await visit(world, "Paris", get("news"))).toBe(2);
    const { response } = await answer(world, "Tokyo", get("news"));
    expect(response.headers.getSetCookie()).toEqual([]);
  });

  test("keeps to its size: the largest texts are left out, then the oldest names", async () => {
    const sizeAfter = async (use: Use<void>): Promise<number> => {
      const world = openWorld();
      await visit(world, "Paris", use);
      const [[name, value] = ["", ""]] = companions(world);
      return name.length + value.length;
    };
    expect(await sizeAfter(set("a", 1))).toBeLessThan(400);
    expect(await sizeAfter(set("a", "x".repeat(1_000_000)))).toBeLessThan(400);
    expect(await sizeAfter(set("a", "é".repeat(1100)))).toBeLessThan(400);
    const many = Object.fromEntries(Array.from({ length: 500 }, (_, i) => [`key ${i}`, "value"]));
    const size = await sizeAfter((session) => session.set(many));
    expect(size).toBeGreaterThan(2900);
    expect(size).toBeLessThan(3100);
  });
});

describe("readYourWrites", () => {
  test("shows a session that has just begun, and lets it be written, where the store does not show it yet", async () => {
    const world = openWorld({}, { delay: 30 });
    await visit(world, "Paris", set("a", 1));
    const began = await visit(world, "Paris", id);
    expect(await visit(world, "Tokyo", everything)).toEqual({ a: 1 });
    await visit(world, "Tokyo", set("b", 2));
    expect(await visit(world, "Lima", everything)).toEqual({ a: 1, b: 2 });
    world.clock.advance(200);
    expect(await visit(world, "Lima", everything)).toEqual({ a: 1, b: 2 });
    expect(await visit(world, "Lima", id)).toBe(began);
  });

  test("does not bring back a session that was ended elsewhere, where the store says so", async () => {
    const world = openWorld({}, { deleteDelay: 0 });
    await visit(world, "Paris", set("a", 1));
    const server = world.at("Tokyo").open((await visit(world, "Paris", id)) ?? "");
    await server.destroy();
    await server.save();
    expect(companions(world).size).toBe(1);
    expect(await visit(world, "Lima", everything)).toEqual({});
  });

  test("does not bring back a session whose user was signed out everywhere, and shows to whom it was bound", async () => {
    const world = openWorld({}, { delay: 0, deleteDelay: 0 });
    await visit(world, "Paris", set("a", 1));
    await visit(world, "Tokyo", get("a"));
    await visit(world, "Paris", (session) => session.bind("ada"));
    expect(await visit(world, "Tokyo", (session) => session.unbind())).toBeUndefined();
    await visit(world, "Paris", (session) => session.bind("ada"));
    expect(await world.at("Lima").revokeAll("ada")).toBe(1);
    expect(companions(world).size).toBe(1);
    expect(await visit(world, "Lima", everything)).toEqual({});
    world.clock.advance(61);
    for (const each of PLACES) expect(await visit(world, each, everything)).toEqual({});
  });

  test("does not begin another session when the store does not show one that is too large for the companion", async () => {
    for (const onStoreError of ["throw", "anonymous"] as const) {
      const world = openWorld({ onStoreError }, { delay: 30 });
      await visit(world, "Paris", set("a", "x".repeat(5000)));
      const before = world.jar.header(SHOP);
      const late = answer(world, "Tokyo", set("b", 2));
      if (onStoreError === "throw") await expect(late).rejects.toMatchObject({ code: "ERR_STORE" });
      else expect((await late).response.headers.getSetCookie()).toEqual([]);
      expect(world.events).toContainEqual({ type: "stale" });
      expect(world.jar.header(SHOP)).toBe(before);
      world.clock.advance(90);
      await visit(world, "Tokyo", set("b", 2));
      expect(await visit(world, "Tokyo", get("b"))).toBe(2);
    }
  });

  test("does not take a session for complete when a later change of it was too large for the companion", async () => {
    const world = openWorld({}, { delay: 30 });
    await visit(world, "Paris", set("a", 1));
    const complete = companions(world);
    await visit(world, "Paris", set("a", "x".repeat(5000)));
    plant(world, complete);
    await expect(answer(world, "Tokyo", get("a"))).rejects.toMatchObject({ code: "ERR_STORE" });
  });

  test("does not take a session for complete when its beginning is no longer in the companion", async () => {
    const world = openWorld({}, { delay: 200 });
    await visit(world, "Paris", set("a", 1));
    world.clock.advance(110);
    await visit(world, "Paris", (session) => {
      session.set("b", 2);
      session.setTimeouts({ idle: 7200 });
    });
    world.clock.advance(15);
    await expect(answer(world, "Tokyo", everything)).rejects.toMatchObject({ code: "ERR_STORE" });
  });

  test("does not write a session that a place does not show because somebody reads it there", async () => {
    const world = openWorld({}, { delay: 100 });
    await visit(world, "Paris", set("a", 1));
    world.clock.advance(70);
    world.events.length = 0;
    expect(await visit(world, "Tokyo", get("a"))).toBe(1);
    expect(world.events).toEqual([{ type: "loaded" }]);
  });

  test("takes a session as over when its time is, where the store no longer shows it", async () => {
    const world = openWorld({ idleTimeout: 30, cookie: { maxAge: 600 } });
    await visit(world, "Paris", set("a", "x".repeat(5000)));
    world.clock.advance(90);
    expect(companions(world).size).toBe(1);
    expect(await visit(world, "Tokyo", everything)).toEqual({});
  });

  test("takes a session that the store does not show as ended, where nobody can tell whether it is only late", async () => {
    const world = openWorld({}, { delay: 30 });
    const at = (place: Place): SessionManager<Data> => {
      const { wasDeleted: _, ...store } = cloudflareKvStore(world.kv.at(place));
      return new SessionManager<Data>({ store, secrets, now: world.clock.now });
    };
    await visit({ ...world, at }, "Paris", set("a", 1));
    expect(await visit({ ...world, at }, "Tokyo", everything)).toEqual({});
    expect(await visit({ ...world, at }, "Paris", everything)).toEqual({ a: 1 });
  });

  test("costs no call of the store more, and a cookie with each write", async () => {
    const eventual = { ...memoryStore(), traits: { ...memoryStore().traits, consistency: "eventual" as const } };
    const { store, calls } = counted(eventual);
    const world = { ...openWorld(), at: () => new SessionManager<Data>({ store, secrets }) };
    const cost = async (use: Use<unknown>): Promise<[string[], number]> => {
      calls.length = 0;
      const { response } = await answer(world, "Paris", use);
      world.jar.store(SHOP, response);
      return [[...calls], response.headers.getSetCookie().filter((line) => !line.includes("Max-Age=0")).length];
    };
    expect(await cost(set("a", 1))).toEqual([["create"], 2]);
    expect(await cost(get("a"))).toEqual([["load"], 0]);
    expect(await cost(set("a", 2))).toEqual([["load", "change"], 1]);
    expect(await cost(set("a", 2))).toEqual([["load"], 0]);
    expect(await cost((session) => session.touch())).toEqual([["load", "touch"], 2]);
    expect(await cost((session) => session.regenerate())).toEqual([["load", "create", "change"], 3]);
    expect(await cost(logOut)).toEqual([["load", "delete"], 1]);
    expect(await cost(() => 0)).toEqual([[], 0]);
  });

  test("two tabs that write different keys at once, in two places, both win, also when the companions are gone", async () => {
    const world = await openOldSession();
    const one = await answer(world, "Paris", set("one", 1));
    const two = await answer(world, "Tokyo", set("two", 2));
    world.jar.store(SHOP, two.response);
    world.jar.store(SHOP, one.response);
    expect(companions(world).size).toBe(2);
    for (const each of PLACES) expect(await visit(world, each, everything)).toEqual({ old: 1, one: 1, two: 2 });
    expect(companions(world).size).toBe(1);
    world.clock.advance(200);
    for (const each of PLACES) expect(await visit(world, each, everything)).toEqual({ old: 1, one: 1, two: 2 });
  });

  /** Paris, where a write that has begun is not done before it is let go. */
  function holdParis(world: World): {
    readonly slow: World;
    readonly begun: Promise<void>;
    readonly letGo: () => void;
  } {
    const [first, second] = [gate(), gate()];
    const kv = world.kv.at("Paris");
    const put: typeof kv.put = async (...args) => {
      first.open();
      await second.opened;
      await kv.put(...args);
    };
    const store = cloudflareKvStore({ get: (...args) => kv.get(...args), put });
    const slow = { ...world, at: () => new SessionManager<Data>({ store, secrets, now: world.clock.now }) };
    return { slow, begun: first.opened, letGo: second.open };
  }

  test("the later one of two tabs wins as well when its write is done first", async () => {
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

  test("writes again, after a minute, what a writer that began before has overwritten", async () => {
    const world = await openOldSession();
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

  test("writes again what another writer has overwritten", async () => {
    const world = await openOldSession();
    const wire = (await visit(world, "Paris", id)) ?? "";
    await visit(world, "Paris", set("mine", 1));
    const server = world.at("Tokyo").open(wire);
    server.set("theirs", 2);
    await server.save();
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
    const look: Use<unknown> = async (session) => [await session.all(), (await session.info()).expiresAt];
    expect(await visit(world, "Tokyo", look)).toEqual(await visit(world, "Paris", look));
    await visit(world, "Tokyo", (session) => session.clear());
    expect(await visit(world, "Paris", everything)).toEqual({});
  });

  test("lets a session with a short idle timeout live when it was used in another place", async () => {
    const world = openWorld({ idleTimeout: 40, touchInterval: 1 });
    await visit(world, "Paris", set("a", 1));
    expect(await visit(world, "Tokyo", get("a"))).toBe(1);
    for (let times = 0; times < 3; times++) {
      world.clock.advance(19);
      expect(await visit(world, "Paris", get("a"))).toBe(1);
    }
    expect(await visit(world, "Tokyo", get("a"))).toBe(1);
  });

  test("after a logout no place shows the session, even if an answer that was under way sets its cookies again", async () => {
    for (const where of PLACES) {
      const world = await openOldSession();
      const tab = await answer(world, "Tokyo", (session) => {
        session.touch();
        session.set("late", 1);
      });
      const copy = world.jar.header(SHOP) ?? "";
      await visit(world, where, logOut);
      world.jar.store(SHOP, tab.response);
      plant(
        world,
        copy.split("; ").map((pair) => pair.split("=", 2) as [string, string]),
      );
      for (const each of PLACES) expect(await visit(world, each, everything)).toEqual({});
    }
  });

  test("after regenerate the old id is dead in every place, and leads to the new one as long as the grace says", async () => {
    for (const grace of [0, 30]) {
      const world = await openOldSession();
      const old = world.jar.header(SHOP) ?? "";
      await visit(world, "Paris", async (session) => {
        session.set("user", "ada");
        await session.regenerate({ grace });
      });
      plant(world, [old.split("=", 2) as [string, string]]);
      const inGrace = grace === 0 ? {} : { old: 1, user: "ada" };
      expect(await visit(world, "Tokyo", everything)).toEqual(inGrace);
      world.clock.advance(31);
      plant(world, [old.split("=", 2) as [string, string]]);
      expect(await visit(world, "Tokyo", everything)).toEqual({});
    }
  });

  test("says that a change is too large for the companion when a place does not show it, and tries again first", async () => {
    const world = await openOldSession();
    await visit(world, "Paris", (session) => session.set({ old: "x".repeat(5000), small: 2 }));
    expect(await visit(world, "Tokyo", everything)).toEqual({ old: 1, small: 2 });
    expect(world.events.filter(({ type }) => type === "stale")).toHaveLength(1);
    world.clock.advance(60);
    expect(await visit(world, "Tokyo", get("old"))).toHaveLength(5000);
    expect(world.events.filter(({ type }) => type === "stale")).toHaveLength(1);
  });

  test.each([2, 3, 4])(
    "reads a record that is too old again, three times in all: it is newer at the %sth",
    async (first) => {
      const world = await openOldSession();
      await visit(world, "Paris", set("old", "x".repeat(5000)));
      const [late, newest] = [cloudflareKvStore(world.kv.at("Tokyo")), cloudflareKvStore(world.kv.at("Paris"))];
      let loads = 0;
      const store = { ...late, load: (key: string) => (++loads < first ? late : newest).load(key) };
      const observe = (event: SessionEvent): void => void world.events.push(event);
      const manager = new SessionManager<Data>({ store, secrets, now: world.clock.now, observe });
      const isSeen = first <= 3;
      expect(await visit({ ...world, at: () => manager }, "Tokyo", get("old"))).toEqual(isSeen ? "x".repeat(5000) : 1);
      expect(loads).toBe(Math.min(first, 3));
      expect(world.events.filter(({ type }) => type === "stale")).toHaveLength(isSeen ? 0 : 1);
    },
  );

  test("goes on saying so when something else is written in the place that does not show it", async () => {
    const world = await openOldSession();
    await visit(world, "Paris", set("old", "x".repeat(5000)));
    await visit(world, "Tokyo", set("small", 2));
    world.events.length = 0;
    expect(await visit(world, "Tokyo", everything)).toEqual({ old: 1, small: 2 });
    expect(world.events).toContainEqual({ type: "stale" });
  });

  test("says so as well when there are more changes than the companion has room for", async () => {
    const world = await openOldSession();
    const many = Object.fromEntries(Array.from({ length: 500 }, (_, i) => [`key ${i}`, "value"]));
    await visit(world, "Paris", (session) => session.set(many));
    await visit(world, "Tokyo", get("old"));
    expect(world.events).toContainEqual({ type: "stale" });
  });

  test("keeps the names of keys and their values from whoever reads the store when records are encrypted", async () => {
    const world = openWorld({ encrypt: true });
    await visit(world, "Paris", set("basket", "three apples"));
    expect(await visit(world, "Tokyo", get("basket"))).toBe("three apples");
    await visit(world, "Tokyo", set("basket", "four apples"));
    expect(await visit(world, "Paris", get("basket"))).toBe("four apples");
    const [{ name } = { name: "" }] = (await world.kv.at("Lima").list()).keys;
    expect(await world.kv.at("Lima").get(name)).not.toMatch(/basket|apples/);
  });

  test("stores before the response goes out, although that may be later: it carries what was stored", async () => {
    const world = await openOldSession({ persist: "after-response" });
    const waiting: Promise<unknown>[] = [];
    const handle = withSession<Data>((_request, session) => {
      session.set("a", 1);
      return new Response();
    }, world.at("Paris"));
    const ctx = { waitUntil: (promise: Promise<unknown>) => void waiting.push(promise) };
    await world.jar.fetch((request) => handle(request, ctx), SHOP);
    expect(waiting).toEqual([]);
    expect(await visit(world, "Tokyo", get("a"))).toBe(1);
  });

  test("works where a store promises strong reads and is read from replicas, if it is asked for", async () => {
    const clock = fakeClock();
    const kv = kvSimulator({ now: clock.now, writeInterval: 0 });
    const replica = (place: Place, readYourWrites?: true): SessionManager<Data> => {
      const store = cloudflareKvStore(kv.at(place));
      const strong = { ...store, traits: { ...store.traits, consistency: "strong" as const } };
      return new SessionManager<Data>({
        store: strong,
        secrets,
        now: clock.now,
        ...(readYourWrites && { readYourWrites }),
      });
    };
    for (const asked of [true, undefined] as const) {
      const jar = cookieJar({ now: clock.now });
      const world = { ...openWorld(), jar, at: (each: Place) => replica(each, asked) };
      await visit(world, "Paris", set("a", 1));
      await visit(world, "Tokyo", get("a"));
      await visit(world, "Paris", set("a", 2));
      expect(await visit(world, "Tokyo", get("a"))).toBe(asked ? 2 : 1);
    }
  });
});

describe("a companion is refused or harmless", () => {
  /** A browser that has written 2 in Paris, which Tokyo does not know of. */
  async function openStale(): Promise<World> {
    const world = await openOldSession();
    await visit(world, "Paris", set("old", 2));
    return world;
  }

  test("when any character of it is another one", async () => {
    const world = await openStale();
    const [[name, value] = ["", ""]] = companions(world);
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
    const [[name, value] = ["", ""]] = companions(world);
    plant(world, [
      [name, "-"],
      ["__Host-session~0123456789", value],
    ]);
    expect(await visit(world, "Tokyo", get("old"))).toBe(1);
  });

  test("when it is of another session of the same browser", async () => {
    const [one, two] = [await openStale(), await openOldSession()];
    plant(two, companions(one));
    expect(await visit(two, "Tokyo", get("old"))).toBe(1);
    await visit(two, "Tokyo", set("a", 1));
    expect(companions(two).size).toBe(1);
  });

  /** The same browser in Tokyo, where the site has other options. */
  function inTokyo(world: World, options: SessionOptions<Data>): World {
    const store = cloudflareKvStore(world.kv.at("Tokyo"));
    return { ...world, at: () => new SessionManager<Data>({ store, secrets, now: world.clock.now, ...options }) };
  }

  test("when it was sealed with a secret that is no longer one; while it is an older one, it counts", async () => {
    const world = await openStale();
    const newer = "another secret of at least thirty-two bytes";
    expect(await visit(inTokyo(world, { secrets: [newer, ...secrets] }), "Tokyo", get("old"))).toBe(2);
    expect(await visit(inTokyo(world, { secrets: [newer] }), "Tokyo", get("old"))).toBe(1);
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
    const older = companions(world);
    await visit(world, "Paris", set("old", 3));
    for (const name of companions(world).keys()) plant(world, [[name, "-"]]);
    plant(world, older);
    expect(await visit(world, "Paris", get("old"))).toBe(3);
    await visit(world, "Paris", set("a", 1));
    expect(await visit(world, "Lima", everything)).toEqual({ old: 3, a: 1 });
  });

  test("when it is older than two minutes", async () => {
    const world = await openStale();
    const older = companions(world);
    const server = world.at("Paris").open((await visit(world, "Paris", id)) ?? "");
    server.set("old", 3);
    await server.save();
    world.clock.advance(121);
    plant(world, older);
    expect(await visit(world, "Tokyo", get("old"))).toBe(3);
  });

  test("when it says that an id is over, and is older than two minutes: then the store is asked", async () => {
    const eventual = { ...memoryStore(), traits: { ...memoryStore().traits, consistency: "eventual" as const } };
    const { store, calls } = counted(eventual);
    const { clock, ...others } = openWorld();
    const world: World = { ...others, clock, at: () => new SessionManager<Data>({ store, secrets, now: clock.now }) };
    await visit(world, "Paris", set("a", 1));
    const [main] = world.jar.cookies().map(({ name, value }) => [name, value] as const);
    await visit(world, "Paris", logOut);
    const ended = companions(world);
    for (const [seconds, wanted] of [
      [0, []],
      [121, ["load"]],
    ] as const) {
      clock.advance(seconds);
      plant(world, [main!, ...ended]);
      calls.length = 0;
      expect(await visit(world, "Paris", get("a"))).toBeUndefined();
      expect(calls).toEqual(wanted);
    }
  });

  test("when more than any browser has come before it", async () => {
    const world = await openStale();
    const real = companions(world);
    world.jar.store(SHOP, {
      headers: new Headers([...real.keys()].map((name) => ["Set-Cookie", `${name}=; Path=/; Secure; Max-Age=0`])),
    });
    plant(
      world,
      Array.from({ length: 64 }, (_, i) => [`__Host-session~${String(i).padStart(12, "0")}`, "AAAA"] as const),
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
      Array.from({ length: 100 }, (_, i) => [`__Host-session~${String(i).padStart(12, "0")}`, "AAAA"] as const),
    );
    expect(await visit(world, "Tokyo", get("old"))).toBe(2);
    await visit(world, "Tokyo", set("a", 1));
    expect(companions(world).size).toBe(1);
  });
});

describe("readYourWrites is", () => {
  const store = cloudflareKvStore(kvSimulator().at("Paris"));

  test("refused when there are no secrets, or no cookie, to keep it with", () => {
    expect(() => new SessionManager({ store, readYourWrites: true })).toThrow(TypeError);
    expect(() => new SessionManager({ store, secrets, readYourWrites: true, cookie: false, header: "X-Id" })).toThrow(
      TypeError,
    );
    // @ts-expect-error It is no word.
    expect(() => new SessionManager({ store, secrets, readYourWrites: "yes" })).toThrow(TypeError);
  });

  test("off without secrets, where it is turned off, on strong stores and for clients without cookies", async () => {
    const cookiesOf = async (options: SessionOptions<Data>, headers: Record<string, string> = {}): Promise<number> => {
      const handle = withSession<Data>((_request, session) => {
        session.set("a", 1);
        return new Response();
      }, options);
      return (await handle(new Request(SHOP, { headers }))).headers.getSetCookie().length;
    };
    expect(await cookiesOf({ store, secrets })).toBe(2);
    expect(await cookiesOf({ store: () => store, secrets })).toBe(2);
    expect(await cookiesOf({ store })).toBe(1);
    expect(await cookiesOf({ store, secrets, readYourWrites: false })).toBe(1);
    expect(await cookiesOf({ secrets })).toBe(1);
    expect(await cookiesOf({ store, secrets, header: "X-Id" }, { "X-Id": "" })).toBe(0);
    expect(await cookiesOf({ store, secrets, header: "X-Id", cookie: false })).toBe(0);
  });
});

describe("a store that is too busy", () => {
  test("is tried again for data, and the response goes out when they are stored", async () => {
    const world = await openOldSession();
    let refusals = 3;
    const kv = world.kv.at("Paris");
    const store = cloudflareKvStore({
      get: (...args) => kv.get(...args),
      put: async (...args) => {
        if (refusals-- > 0) throw new Error("KV PUT failed: 429 Too Many Requests");
        await kv.put(...args);
      },
    });
    const busy = { ...world, at: () => new SessionManager<Data>({ store, secrets, now: world.clock.now }) };
    await visit(busy, "Paris", set("a", 1));
    expect(refusals).toBe(-1);
    expect(await kv.get((await kv.list()).keys[0]?.name ?? "")).toContain('"=a"');
  });

  test("rejects when the time is over, and no cookie says that anything was stored", async () => {
    const world = await openOldSession({ storeTimeout: 0.3 }, { writeInterval: 1 });
    await visit(world, "Paris", set("a", 1));
    const before = companions(world);
    await expect(answer(world, "Paris", set("a", 2))).rejects.toMatchObject({ code: "ERR_STORE" });
    expect(companions(world)).toEqual(before);
    world.clock.advance(1);
    expect(await visit(world, "Paris", get("a"))).toBe(1);

    const tolerant = await openOldSession({ storeTimeout: 0.3, onStoreError: "anonymous" }, { writeInterval: 1 });
    await visit(tolerant, "Paris", set("a", 1));
    const { response } = await answer(tolerant, "Paris", set("a", 2));
    expect(response.headers.getSetCookie()).toEqual([]);
  });

  test("is not bothered again by a touch", async () => {
    const world = openWorld({ touchInterval: 0 }, { writeInterval: 1 });
    await visit(world, "Paris", set("a", 1));
    world.clock.advance(0.5);
    world.events.length = 0;
    expect(await visit(world, "Paris", get("a"))).toBe(1);
    expect(world.events).toEqual([{ type: "loaded" }]);
    world.clock.advance(1);
    await visit(world, "Paris", get("a"));
    expect(world.events).toContainEqual({ type: "touched" });
  });
});
