import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { memoryStore, type Session, SessionManager, type SessionOptions, withSession } from "../../mod.ts";
import { encryption } from "../../src/encryption.ts";
import { signedIds } from "../../src/signed_ids.ts";
import { fakeClock, faultyStore } from "../../src/testing.ts";
import { runsOf } from "../setup/random.ts";
import { living, openStore, SHOP } from "../setup/sessions.ts";
import {
  beginVisit,
  contentsOf,
  discarded,
  EMPTY,
  finished,
  follow,
  labelOf,
  NEW_WORLD,
  type Outcome,
  type Step,
  stepped,
  type Told,
  type Visit,
  type World,
} from "./sequential_model.ts";

interface Data {
  a?: number;
  b?: number;
  n?: number;
  f?: number;
}

type Fault = "none" | "rejects" | "does it but rejects" | "does it twice";
const VERBS = ["load", "save", "delete"] as const;

/** One request of the client: the calls of its handler, the faults of the store, and which of the client's ids it presents. */
interface Visiting {
  readonly steps: readonly Step[];
  readonly throws: boolean;
  /** Which id it presents: 0 for the present one, 1 for the one before it, and so on. */
  readonly back: number;
  /** In seconds, before the request. */
  readonly pause: number;
  readonly faults: readonly { readonly verb: (typeof VERBS)[number]; readonly at: number; readonly kind: Fault }[];
}

const value = fc.integer({ min: 0, max: 1_000_000 });
const key = fc.constantFrom("a", "b");
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ call: fc.constant("set" as const), key, value }) },
  { weight: 1, arbitrary: fc.record({ call: fc.constant("set" as const), key, value: fc.constant(-1) }) },
  {
    weight: 3,
    arbitrary: fc.record({ call: fc.constantFrom("delete" as const, "get" as const, "pull" as const), key }),
  },
  { weight: 4, arbitrary: fc.record({ call: fc.constant("update" as const), isBad: fc.constant(false) }) },
  { weight: 1, arbitrary: fc.record({ call: fc.constant("update" as const), isBad: fc.constant(true) }) },
  { weight: 2, arbitrary: fc.record({ call: fc.constant("flash" as const), value }) },
  { weight: 3, arbitrary: fc.record({ call: fc.constant("regenerate" as const), grace: fc.constantFrom(0, 0, 30) }) },
  {
    weight: 12,
    arbitrary: fc.record({
      call: fc.constantFrom(
        "clear" as const,
        "getFlash" as const,
        "save" as const,
        "save" as const,
        "destroy" as const,
        "create" as const,
        "id" as const,
        "touch" as const,
        "setTimeouts" as const,
      ),
    }),
  },
);

const requests = (mostFaults: number): fc.Arbitrary<Visiting[]> =>
  fc.array(
    fc.record({
      steps: fc.array(step, { maxLength: 7 }),
      throws: fc.constantFrom(false, false, false, true),
      back: fc.constantFrom(0, 0, 0, 0, 1, 2),
      pause: fc.constantFrom(0, 0, 20, 45, 100),
      faults: fc.array(
        fc.record({
          verb: fc.constantFrom("save" as const, "save" as const, "load" as const, "delete" as const),
          at: fc.nat(4),
          kind: fc.constantFrom<Fault>("rejects", "does it but rejects", "does it twice"),
        }),
        { maxLength: mostFaults },
      ),
    }),
    { minLength: 1, maxLength: 8 },
  );

/** Makes one call of a session. */
async function act(session: Session<Data>, step: Step): Promise<unknown> {
  switch (step.call) {
    case "set":
      return session.set({ [step.key]: step.value });
    case "delete":
      return session.delete(step.key as keyof Data);
    case "clear":
      return session.clear();
    case "get":
      return await session.get(step.key as keyof Data);
    case "pull":
      return await session.pull(step.key as keyof Data);
    case "update":
      return await session.update("n", (n = 0) => (step.isBad ? -1 : n + 1));
    case "flash":
      return session.flash("f", step.value);
    case "getFlash":
      return await session.get("f");
    case "touch":
      return session.touch();
    case "setTimeouts":
      return session.setTimeouts({ idle: 50_000 });
    case "save":
      return await session.save();
    case "regenerate":
      return await session.regenerate({ grace: step.grace });
    case "create":
      return await session.create();
    case "id":
      return await session.id();
    case "destroy":
      return await session.destroy();
  }
}

const MINE = new Error("mine");

async function outcomeOf(call: () => Promise<unknown>): Promise<Outcome> {
  try {
    return { value: await call() };
  } catch (error) {
    const code: unknown = Object(error).code;
    if (error !== MINE && typeof code !== "string") throw error;
    return { code: error === MINE ? "mine" : String(code) };
  }
}

/** A way to keep sessions. `isSync` stands for a store that answers without promises. */
interface Kind extends Pick<SessionOptions<Data>, "ids" | "encryption"> {
  readonly isSync?: boolean;
}

/** Plays requests with the library and with the model, and compares them after each call. */
async function play(all: readonly Visiting[], { isSync, ...more }: Kind): Promise<void> {
  const { store: open, records } = openStore();
  const inner = isSync === true ? memoryStore() : open;
  const store = faultyStore(inner);
  const clock = fakeClock(1_795_800_000_000);
  const numbers = z.record(z.string(), z.number().min(0)) as unknown as z.ZodType<Data>;
  const options = { now: clock.now, schema: numbers, ...more };
  const sessions = new SessionManager<Data>({ ...options, store });
  const onlooker = new SessionManager<Data>({ ...options, store: inner });
  /** Every id that the client has received. The last one is the present id. */
  const tokens: string[] = [];
  let present: string | null = null;
  let worlds: readonly World[] = [NEW_WORLD];
  let hasFailed = false;

  for (const { steps, throws, back, pause, faults: planned } of all) {
    clock.advance(pause);
    const presented = back === 0 ? present : (tokens.at(-1 - back) ?? present);
    let visits: readonly Visit[] = worlds.map((world) => beginVisit(world, presented, clock.now()));
    const lists = { load: [] as Fault[], save: [] as Fault[], delete: [] as Fault[] };
    for (const { verb, at, kind } of planned) {
      while (lists[verb].length <= at) lists[verb].push("none");
      lists[verb][at] = kind;
    }
    store.plan(lists);
    const before = { load: 0, save: 0, delete: 0 };
    /** The faults since the last call. */
    const faults = (): Fault[] => {
      const since = VERBS.flatMap((verb) => lists[verb].slice(before[verb], store.calls[verb]));
      Object.assign(before, store.calls);
      return since.filter((kind) => kind !== "none");
    };
    const trace: string[] = [];
    const handler = withSession<Data>(async (_request, session) => {
      for (const each of steps) {
        const outcome = await outcomeOf(() => act(session, each));
        const failed = faults();
        trace.push(`${JSON.stringify(each)} → ${JSON.stringify(outcome)} ${failed.join()}`);
        visits = visits.flatMap((visit) => stepped(visit, each, outcome, failed));
        if (visits.length === 0) throw new Error(`No outcome fits:\n${trace.join("\n")}`);
      }
      if (throws) throw MINE;
      return new Response();
    }, sessions);
    const headers = presented === null ? {} : { Cookie: `__Host-session=${presented}` };
    let response: Response | undefined;
    const outcome = await outcomeOf(async () => {
      response = await handler(new Request(SHOP, { headers }));
    });
    const failed = faults();
    const line = response?.headers.getSetCookie()[0];
    const said = line === undefined ? undefined : (/^__Host-session=([^;]*)/.exec(line)?.[1] ?? "");
    trace.push(
      `the end → ${JSON.stringify(outcome)} ${failed.join()} ${line === undefined ? "" : `told ${JSON.stringify(said)}`}`,
    );
    const isMine = "code" in outcome && outcome.code === "mine";
    const ends = visits.flatMap((visit) => (isMine ? discarded(visit, failed) : finished(visit, outcome, failed)));
    worlds = distinct(ends.flatMap(({ world, told }) => heard(world, told, said, presented)));
    if (worlds.length === 0) throw new Error(`No end fits:\n${trace.join("\n")}`);
    if (said !== undefined) present = said === "" ? null : said;
    if (said !== undefined && said !== "" && tokens.at(-1) !== said) tokens.push(said);

    // Each id that the client ever had must give exactly the session of the model.
    store.plan({});
    const views = await Promise.all(
      tokens.map(async (token) => {
        const session = onlooker.open(token);
        const { f, ...data } = await session.all();
        return { token, isLive: (await session.id()) !== null, data, flash: f };
      }),
    );
    worlds = worlds.filter((world) =>
      views.every(({ token, isLive, data, flash }) => {
        const found = follow(world, labelOf(world, token), clock.now());
        const contents = typeof found === "object" ? contentsOf(world, found.live) : EMPTY;
        return (
          isLive === (typeof found === "object") &&
          JSON.stringify(sorted(contents.data)) === JSON.stringify(sorted(data)) &&
          contents.flash === flash
        );
      }),
    );
    if (worlds.length === 0) throw new Error(`No world fits to ${JSON.stringify(views)}:\n${trace.join("\n")}`);
    // Without a fault, the store holds no session whose id the client never received.
    hasFailed ||= planned.length > 0 || "code" in outcome;
    if (!hasFailed) expect(living(records).length).toBeLessThanOrEqual(new Set(tokens).size);
  }
}

/** The world after the client has received an answer, or no world if the model expected another answer. */
function heard(world: World, told: Told, said: string | undefined, presented: string | null): World[] {
  // The library need not expire the cookie of a client that has presented none.
  if (told === "forget") return said === "" || (said === undefined && presented === null) ? [world] : [];
  if (told === "nothing") return said === undefined || (said === "" && presented === null) ? [world] : [];
  const known = world.tokens.get(told.label);
  // No cookie is sent if the client has this token already.
  if (said === undefined) return known === presented ? [world] : [];
  if (known !== undefined) return known === said ? [world] : [];
  return [{ ...world, tokens: new Map([...world.tokens, [told.label, said]]) }];
}

function sorted(data: object): unknown {
  return Object.entries(data).toSorted(([one], [other]) => (one < other ? -1 : 1));
}

/** Equal worlds are followed only once. */
function distinct(all: readonly World[]): World[] {
  return [...new Map(all.map((world) => [JSON.stringify([...world.places, ...world.tokens]), world])).values()];
}

describe("a client whose requests come one after the other", () => {
  const secrets = ["a secret of at least thirty-two bytes"];
  const sealed = { ids: signedIds({ secrets }), encryption: encryption({ secrets }) };

  test.each<[string, number, number, Kind]>([
    ["never fails", 0, 2000, {}],
    ["never fails and answers at once", 0, 2000, { isSync: true }],
    ["fails once in a request", 1, 4000, {}],
    ["fails up to three times in a request", 3, 4000, {}],
    ["fails, and ids are signed and records encrypted", 3, 1500, sealed],
  ])(
    "finds what it was told, or what a failure left in doubt, when the store %s",
    async (_, mostFaults, numRuns, more) => {
      await fc.assert(
        fc.asyncProperty(requests(mostFaults), (all) => play(all, more)),
        runsOf(numRuns),
      );
    },
  );

  test("knows that its session exists when the store has failed twice, and then shows it", async () => {
    const steps: readonly Step[] = [
      { call: "flash", value: 0 },
      { call: "save" },
      { call: "clear" },
      { call: "save" },
      { call: "update", isBad: true },
    ];
    const faults = [
      { verb: "save", at: 0, kind: "does it but rejects" },
      { verb: "save", at: 1, kind: "rejects" },
    ] as const;
    await play([{ steps, throws: false, back: 0, pause: 0, faults }], {});
  });

  test("sees what it has recorded when two attempts to store it under a new id got no answer", async () => {
    const steps: readonly Step[] = [
      { call: "regenerate", grace: 0 },
      { call: "set", key: "b", value: 0 },
      { call: "update", isBad: false },
      { call: "update", isBad: true },
      { call: "get", key: "b" },
    ];
    const faults = [
      { verb: "load", at: 2, kind: "rejects" },
      { verb: "save", at: 1, kind: "rejects" },
    ] as const;
    const quietly = { throws: false, back: 0, pause: 0 };
    await play(
      [
        { ...quietly, steps: [{ call: "create" }], faults: [] },
        { ...quietly, steps, faults },
      ],
      {},
    );
  });

  test("has its new id although the change that comes with it is refused, when the store has failed while it was renewed", async () => {
    const steps: readonly Step[] = [
      { call: "regenerate", grace: 30 },
      { call: "save" },
      { call: "set", key: "a", value: -1 },
      { call: "update", isBad: false },
    ];
    const faults = [
      { verb: "save", at: 1, kind: "rejects" },
      { verb: "save", at: 2, kind: "rejects" },
    ] as const;
    const quietly = { throws: false, back: 0, pause: 0, faults: [] };
    await play(
      [
        { ...quietly, steps: [{ call: "set", key: "a", value: 0 }] },
        { ...quietly, steps, faults },
        { ...quietly, steps: [], pause: 100 },
      ],
      {},
    );
  });
});
