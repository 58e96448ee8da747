import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { SessionManager, type SessionEvent, type SessionOptions, withSession } from "../mod.ts";
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
import { SHOP } from "./setup/sessions.ts";

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
