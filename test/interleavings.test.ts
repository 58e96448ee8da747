import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { memoryStore, SessionManager, type SessionOptions, type SessionStore } from "../mod.ts";
import { PLAIN, signedForm } from "../src/signing.ts";
import { fileStore } from "../src/stores/file.ts";
import { fakeClock } from "../src/testing.ts";
import { BEGINNING, GRACE, IDLE, type ProgramName, programs, visit } from "./setup/programs.ts";
import { type Choose, everySchedule, type Fault, startParty } from "./setup/schedules.ts";
import { cookieOf, keyOf, SHOP, temporaryDirectory, visitor } from "./setup/sessions.ts";
import { type Live, violations } from "./setup/verdict.ts";

const run = promisify(execFile);

/** Where and how two requests meet. */
interface Meeting {
  readonly store: SessionStore;
  readonly names: readonly [ProgramName, ProgramName];
  /** Seconds since the session was last used; after ten of them it is due to be touched. */
  readonly after: number;
  /** Whether one call of the first request fails: each one in turn, in either way. */
  readonly faults: boolean;
  readonly options?: SessionOptions;
}

const names = Object.keys(programs) as ProgramName[];
const pairs = names.flatMap((one, index) => names.slice(index).map((other) => [one, other] as const));
/** The pairs for stores on which a schedule takes longer. */
const chosenPairs: readonly (readonly [ProgramName, ProgramName])[] = [
  ["set", "set"],
  ["update", "update"],
  ["update", "destroy"],
  ["update", "regenerate"],
  ["touch", "destroy"],
  ["touch", "regenerate"],
  ["set, save, set", "destroy"],
  ["set, save, set", "regenerate with grace"],
  ["flash", "take flash"],
  ["setTimeouts", "regenerate"],
  ["destroy", "destroy"],
  ["destroy", "regenerate"],
  ["destroy", "regenerate with grace"],
  ["regenerate", "regenerate"],
  ["regenerate", "regenerate with grace"],
];
/** The programs that put an end to an id, which a failure in the middle could harm, and those that they meet then. */
const delicate: readonly ProgramName[] = [
  "destroy",
  "destroy, save",
  "destroy, set",
  "set, save, destroy",
  "regenerate",
  "regenerate with grace",
  "log in",
  "regenerate, save, set",
  "regenerate, destroy",
];
const met: readonly ProgramName[] = [
  "read",
  "update",
  "touch",
  "setTimeouts",
  "take flash",
  "set, save, set",
  "destroy",
  "destroy, set",
  "regenerate",
  "regenerate with grace",
];

const totals = new Map<string, number>();

afterAll(() => {
  for (const [what, schedules] of totals) console.log(`${what}: ${schedules} schedules, which are all that there are`);
  console.log(`Together: ${[...totals.values()].reduce((sum, each) => sum + each, 0)} schedules`);
});

afterEach(() => {
  vi.restoreAllMocks();
});

let made = 0;

/** Plays all schedules of a meeting, and holds each against the contract. */
async function playAll(what: string, meeting: Meeting): Promise<void> {
  // After a conflict a request waits at random, so that machines get out of step. Here it is said who goes first, and a
  // timer of no time, which would take a millisecond, is none.
  vi.spyOn(Math, "random").mockReturnValue(0);
  const wait = globalThis.setTimeout;
  const orNot = (act: () => void, delay?: number): unknown => (delay === 0 ? setImmediate(act) : wait(act, delay));
  vi.spyOn(globalThis, "setTimeout").mockImplementation(orNot as typeof wait);
  const wrong: string[] = [];
  const played = await everySchedule(async (choose) => {
    const { trace, found } = await play(meeting, choose);
    for (const violation of found) wrong.push(`${violation}\n    when ${trace}`);
  });
  totals.set(what, (totals.get(what) ?? 0) + played);
  expect(wrong.slice(0, 5), `${wrong.length} violations in ${played} schedules`).toEqual([]);
}

async function play(meeting: Meeting, choose: Choose): Promise<{ trace: string; found: string[] }> {
  const clock = fakeClock(1_000_000_000);
  const ids: string[] = [];
  const options: SessionOptions = {
    ...meeting.options,
    idleTimeout: Number(BEGINNING[IDLE]),
    touchInterval: 10,
    storeTimeout: 60,
    now: clock.now,
    generateId: () => {
      ids.push(`${++made}`.padStart(22, "0"));
      return ids.at(-1) ?? "";
    },
  };
  const sessions = new SessionManager({ ...options, store: meeting.store });
  const firstId = await begin(sessions);
  const lastSeenAt = clock.now();
  clock.advance(meeting.after);

  const enter = (program: ProgramName, name: string) =>
    startParty(meeting.store, (store) => visit(program, name, firstId, { ...options, store }));
  const parties = [await enter(meeting.names[0], "left"), await enter(meeting.names[1], "right")] as const;
  const trace: string[] = [];
  let mayFail = meeting.faults;
  for (;;) {
    const waiting = parties.filter(({ waits }) => waits !== null);
    if (waiting.length === 0) break;
    const party = waiting[waiting.length === 1 ? 0 : choose(waiting.length)] ?? parties[0];
    const fault: Fault = mayFail && party === parties[0] ? (FAULTS[choose(FAULTS.length)] ?? "none") : "none";
    mayFail &&= fault === "none";
    trace.push(`${party === parties[0] ? "left" : "right"} ${party.waits}${fault === "none" ? "" : ` (${fault})`}`);
    await party.step(fault);
  }

  const [left, right] = parties.map(({ result }) => result);
  if (left === undefined || right === undefined) throw new Error("A request did not end");
  const now = clock.now();
  const { toWire } = options.secrets === undefined ? PLAIN : signedForm(options.secrets);
  const live = await liveAmong(sessions, ids.map(toWire));
  const loaded = await Promise.all(ids.map((id) => meeting.store.load(keyOf(id))));
  const records = loaded.filter((record) => record !== null).length;
  const reached = await sessions.open(firstId).id();
  clock.advance(GRACE);
  const reachedAfterGrace = await sessions.open(firstId).id();
  const aftermath = { visits: [left, right] as const, firstId, live, records, reached, reachedAfterGrace };
  const found = [...violations({ ...aftermath, isTouchDue: meeting.after >= 10, lastSeenAt, now })];
  return { trace: trace.join(", "), found };
}

const FAULTS: readonly Fault[] = ["none", "rejects", "does it but rejects"];

async function begin(sessions: SessionManager): Promise<string> {
  const session = sessions.start(new Request(SHOP));
  const { [IDLE]: _, note, ...contents } = BEGINNING;
  session.set(contents);
  session.flash("note", note);
  await session.save();
  return (await session.id()) ?? "";
}

/** Every session that one of the ids leads to, looked at without touching it. */
async function liveAmong(sessions: SessionManager, ids: readonly string[]): Promise<Live[]> {
  const live = new Map<string, Live>();
  for (const each of ids) {
    const session = sessions.open(each);
    const id = await session.id();
    if (id === null) continue;
    const { lastSeenAt, expiresAt } = await session.info();
    const idle = (Number(expiresAt) - Math.max(Number(lastSeenAt), 0)) / 1000;
    live.set(id, { id, contents: { ...(await session.all()), [IDLE]: idle }, lastSeenAt: Number(lastSeenAt) });
  }
  return [...live.values()];
}

describe.each([
  ["was just used", 1],
  ["is due to be touched", 50],
])("Two requests of a session that %s, on memory", (state, after) => {
  test.each(pairs)("keep every promise in every schedule when %s meets %s", async (one, other) => {
    await playAll(`Memory, the session ${state}`, { store: memoryStore(), names: [one, other], after, faults: false });
  });
});

describe("A request whose store fails once, and another one, on memory", () => {
  const both = delicate.flatMap((one) => met.map((other) => [one, other] as const));
  // Two of them have 26 000 schedules each, which a busy machine takes minutes for.
  test.each(both)("keep every promise in every schedule when %s meets %s", { timeout: 400_000 }, async (one, other) => {
    await playAll("Memory, one call fails", { store: memoryStore(), names: [one, other], after: 1, faults: true });
  });
});

describe("Two requests of an encrypted session with a signed id, on memory", () => {
  const options = { secrets: ["a secret of at least thirty-two bytes"], encrypt: true };
  test.each(chosenPairs)("keep every promise in every schedule when %s meets %s", async (one, other) => {
    const meeting = { store: memoryStore(), names: [one, other], after: 50, faults: false, options } as const;
    await playAll("Memory, signed and encrypted", meeting);
  });
});

describe("Two requests, on files", () => {
  let directory: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), "with-session-"));
    return () => rm(directory, { recursive: true });
  });

  test.each(chosenPairs)("keep every promise in every schedule when %s meets %s", async (one, other) => {
    await playAll("Files", { store: fileStore({ directory }), names: [one, other], after: 50, faults: false });
  });
});

describe("Many requests", () => {
  test.each([
    ["memory", async () => memoryStore()],
    ["files", async () => fileStore({ directory: await temporaryDirectory() })],
  ])("update() counts every one when fifty requests overlap, on %s", async (_name, open) => {
    const send = visitor<{ count: number }>({ store: await open() });
    await send((session) => session.set("count", 0));
    const visits = await Promise.all(
      Array.from({ length: 50 }, () => send((session) => session.update("count", (count = 0) => count + 1))),
    );
    expect(visits).toHaveLength(50);
    expect((await send((session) => session.get("count"))).result).toBe(50);
  });

  test("update() counts every one when two processes send two hundred requests each, on one folder", async () => {
    const directory = await temporaryDirectory();
    const send = visitor({ store: fileStore({ directory }) });
    const cookie = cookieOf(await send((session) => session.set("count", 0)));
    const worker = join(import.meta.dirname, "interleavings.worker.ts");
    await Promise.all([1, 2].map(() => run(process.execPath, [worker, directory, cookie, "200"])));
    const { count, ...own } = (await send((session) => session.all())).result;
    expect(count).toBe(400);
    expect(Object.values(own)).toEqual([200, 200]);
  }, 60_000);
});
