import fc from "fast-check";
import { expect, test } from "vitest";
import { type Session, SessionError, SessionManager, type SessionStore, withSession } from "../../mod.ts";
import { exclusive } from "../../src/exclusive.ts";
import { fakeClock } from "../../src/testing.ts";
import { withoutComparing } from "../setup/broken_stores.ts";
import { type ClockPlan, clockPlans, serverClock } from "../setup/clocks.ts";
import {
  kill,
  passTime,
  type Process,
  quiet,
  seededRandom,
  startProcess,
  takeOverTime,
  within,
} from "../setup/processes.ts";
import { runsOf } from "../setup/random.ts";
import { openStore, SHOP } from "../setup/sessions.ts";
import { Stage, stagedStore, type Fate } from "./stage.ts";

/** In seconds. */
const LEASE = 30;

/** One call of a handler. Each `exclusive` runs its function in turn; the second one throws in it. */
const ACTS = ["get", "exclusive", "exclusive", "exclusive", "exclusive that fails", "set"] as const;
type Act = (typeof ACTS)[number];

/** A step: seconds pass, or one of the waiting calls goes on. */
type Step = { readonly later: number } | { readonly who: number; readonly fate: Fate };

/** Several requests of one session, on servers with clocks of their own. */
interface Program {
  readonly clocks: readonly ClockPlan[];
  readonly requests: readonly { readonly server: number; readonly acts: readonly Act[] }[];
  readonly steps: readonly Step[];
}

const call = (fates: fc.Arbitrary<Fate>): fc.Arbitrary<Step> => fc.record({ who: fc.nat(20), fate: fates });
const done = fc.constantFrom<Fate>("done", "done", "done", "done, answered later", "done twice");
const fails = fc.constantFrom<Fate>("rejects", "done, rejects", "crashes", "done, crashes");
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 30, arbitrary: call(done) },
  { weight: 1, arbitrary: call(fails) },
  { weight: 1, arbitrary: fc.record({ later: fc.constantFrom(1, LEASE - 1, LEASE + 1, 1200) }) },
);

const programs: fc.Arbitrary<Program> = fc.record({
  clocks: fc.array(clockPlans, { minLength: 3, maxLength: 3 }),
  requests: fc.array(
    fc.record({ server: fc.nat(2), acts: fc.array(fc.constantFrom(...ACTS), { minLength: 1, maxLength: 3 }) }),
    { minLength: 2, maxLength: 4 },
  ),
  steps: fc.array(step, { maxLength: 80, size: "max" }),
});

/** One run of a function: it appends its name to the list. Seconds are those of the true time. */
interface Run {
  readonly name: string;
  readonly process: Process;
  /** When `exclusive` was called. The lease begins later. */
  readonly calledAt: number;
  /** Whether more time than the lease has passed when the request ended. */
  isOverdue?: boolean;
  /** Whether the function has not ended yet. */
  isRunning: boolean;
  hasResult?: boolean;
}

interface Server {
  process: Process;
  sessions: SessionManager;
}

/** Plays a program, and returns the promises that it broke. */
async function violations(program: Program, breaking?: (store: SessionStore) => SessionStore): Promise<string[]> {
  const giveBack = takeOverTime(seededRandom(1));
  try {
    return await play(program, breaking);
  } finally {
    giveBack();
  }
}

async function play(
  { clocks, requests, steps }: Program,
  breaking = (store: SessionStore) => store,
): Promise<string[]> {
  const broken: string[] = [];
  const clock = fakeClock(1_800_000_000_000);
  /** A pause in a process ends at once, and advances its clock. */
  const seconds = (): number => Math.max(clock.now(), ...servers.map(({ process }) => process.now)) / 1000;
  const { store } = openStore();
  const network = startProcess();
  /** How many calls of the store failed in each process. */
  const failures = new Map<Process, number>();
  const failuresOf = (process: Process): number => failures.get(process) ?? 0;
  const stage = new Stage({ onCrash: (process) => restart(process) });
  const options = { idleTimeout: 1e6, absoluteTimeout: false, storeTimeout: 1e6 } as const;
  const start = (at: number): Server => {
    const process = startProcess();
    process.now = clock.now();
    const now = serverClock(clock.now, clocks[at]!);
    const staged = stagedStore(stage, process, breaking(store));
    return { process, sessions: within(process, () => new SessionManager({ store: staged, now, ...options })) };
  };
  const servers = clocks.map((_, at) => start(at));
  const restart = (process: Process): void => {
    const at = servers.findIndex((each) => each.process === process);
    // Calls that were under way in a crashed process can still be done.
    if (at >= 0) servers[at] = start(at);
  };
  /** Time passes, for all processes alike. */
  const pass = (later: number): void => {
    clock.advance(seconds() + later - clock.now() / 1000);
    const now = clock.now();
    for (const { process } of servers) {
      while ([...process.timers].some(({ due }) => due <= now)) passTime(process);
      process.now = now;
    }
  };

  const begun = new SessionManager({ store, now: clock.now, ...options }).open("");
  begun.set("list", []);
  await begun.save();
  const id = String(await begun.id());

  const runs: Run[] = [];
  /** The lists that `exclusive` returned. */
  const returned: (readonly string[])[] = [];

  async function visit(session: Session, process: Process, acts: readonly Act[], who: string): Promise<void> {
    let seen: readonly string[] | undefined;
    for (const [index, act] of acts.entries()) {
      const name = `${who}${index}`;
      if (act === "get") seen = await session.get("list", [] as string[]);
      else if (act === "set") session.set(name, true);
      else {
        const calledAt = seconds();
        const runIn = (list: readonly string[] = []): Promise<string[]> =>
          run(list, seen, { name, process, calledAt, isRunning: true }, act);
        const list = await exclusive(session as Session<{ list?: string[] }>, "list", runIn, { lease: LEASE });
        returned.push(list ?? []);
        seen = list;
      }
      // If the client of the store sent its own result twice, the request may have loaded a newer one than it shows.
      if (runs.some((each) => each.name.startsWith(who))) seen = undefined;
    }
  }

  async function run(
    list: readonly string[],
    seen: readonly string[] | undefined,
    own: Run,
    act: Act,
  ): Promise<string[]> {
    const { name } = own;
    const mayHoldLease = ({ calledAt }: Run): boolean => seconds() - calledAt < LEASE;
    // A process that stands still for longer than its lease can begin beside the next one.
    const others = mayHoldLease(own) ? runs.filter((each) => each.isRunning && mayHoldLease(each)) : [];
    for (const other of others) if (other.process.isAlive) broken.push(`${name} runs beside ${other.name}`);
    if (seen !== undefined && list.length > seen.length) broken.push(`${name} runs although there is a new result`);
    runs.push(own);
    await stage.call(network, `${name} runs`, () => {});
    own.isRunning = false;
    if (act === "exclusive that fails") throw new RangeError("on purpose");
    own.hasResult = true;
    return [...list, name];
  }

  const met = requests.map(({ server, acts }, index) => {
    const who = "abcd"[index] ?? "";
    const state = { process: network, isOver: false };
    void (async () => {
      await stage.call(network, `${who} begins`, () => {});
      const { process, sessions } = servers[server]!;
      state.process = process;
      const handle = withSession(async (_request, session) => {
        await visit(session, process, acts, who);
        return new Response();
      }, sessions);
      const request = new Request(SHOP, { headers: { Cookie: `__Host-session=${id}` } });
      await within(process, () => Promise.resolve(handle(request))).catch((error: unknown) => {
        const own = runs.filter(({ name }) => name.startsWith(who));
        for (const each of own) each.isOverdue = seconds() - each.calledAt >= LEASE;
        const isOverdue = own.some((each) => each.isOverdue);
        const code = error instanceof SessionError ? error.code : String(error);
        const isExcused =
          code === "RangeError: on purpose" ||
          (code === "ERR_STORE" && failuresOf(process) > 0) ||
          (code === "ERR_CONFLICT" && isOverdue);
        if (!isExcused) broken.push(`${who} hears ${code}`);
      });
      state.isOver = true;
    })();
    return state;
  });

  const isUnderWay = (): boolean => met.some(({ isOver, process }) => !isOver && process.isAlive);
  for (const each of steps) {
    await quiet();
    pass(0);
    if ("later" in each) pass(each.later);
    else {
      const { waiting } = stage;
      const next = waiting[each.who % waiting.length];
      if (next === undefined) break;
      const isNetwork = next.process === network;
      if (!isNetwork && FAILING.has(each.fate)) failures.set(next.process, failuresOf(next.process) + 1);
      await stage.step(next, isNetwork ? "done" : each.fate);
    }
  }
  // All go on by turns. The time that passes is enough for the leases of crashed processes to end.
  for (let turn = 0; turn < 2000 && isUnderWay(); turn++) {
    await quiet();
    const [next] = stage.waiting;
    if (next !== undefined) await stage.step(next, "done");
    pass(next === undefined ? LEASE : 1 / 8);
  }
  if (isUnderWay()) broken.push("a request never ends");
  for (const each of Array.from(stage.waiting)) await stage.step(each, "done");
  const list = await new SessionManager({ store, now: clock.now, ...options }).open(id).get("list", [] as string[]);
  if (new Set(list).size < list.length) broken.push(`a result counts twice: ${list.join(" ")}`);
  for (const { name, process, isOverdue, hasResult } of runs) {
    // A result is stored once more if that fails.
    const mayBeLost = !process.isAlive || failuresOf(process) > 1 || isOverdue === true;
    if (hasResult === true && !mayBeLost && !list.includes(name)) broken.push(`the result of ${name} is lost`);
  }
  for (const each of returned)
    if (each.some((name, at) => list[at] !== name))
      broken.push(`${each.join(" ")} was returned, but not kept: ${list.join(" ")}`);
  for (const { process } of servers) kill(process);
  return broken;
}

const FAILING: ReadonlySet<Fate> = new Set(["rejects", "done, rejects"]);

test("exclusive() runs one function at a time for as long as its lease, and keeps each result that it returned, whatever fails", async () => {
  const property = fc.asyncProperty(programs, async (program) => {
    expect(await violations(program)).toEqual([]);
  });
  await fc.assert(property, runsOf(800));
});

test("which it does not on a store that says that it compares, and does not", async () => {
  const property = fc.asyncProperty(
    programs,
    async (program) => (await violations(program, withoutComparing)).length === 0,
  );
  expect((await fc.check(property, { seed: 1, numRuns: 500, endOnFailure: true })).failed).toBe(true);
});
