import fc from "fast-check";
import { expect, test } from "vitest";
import { type Session, SessionError, SessionManager, withSession } from "../../mod.ts";
import { fakeClock } from "../../src/testing.ts";
import { runsOf } from "../setup/random.ts";
import { passTime, type Process, quiet, seededRandom, startProcess, takeOverTime, within } from "../setup/processes.ts";
import { openStore, SHOP } from "../setup/sessions.ts";
import { Stage, stagedStore, type Waiting } from "./stage.ts";

/** One call of a handler. `save` and `update` are caught if the store fails. `throw` makes the request fail. */
const ACTS = ["id", "set", "set", "update", "save", "save", "grace", "regenerate", "login", "touch", "throw"] as const;
type Act = (typeof ACTS)[number];

/** What becomes of one call of the store. A call that hangs is not done, is done without an answer, or is done at the end. */
const FAULTS = ["rejects", "done, rejects", "hangs", "done, hangs", "late"] as const;

/** Two requests of one session, one of whose store calls fails. */
interface Program {
  /** Whether the id is due by age. */
  readonly isDue: boolean;
  readonly onStoreError: "throw" | "anonymous";
  /** Whether one process serves both requests. */
  readonly isShared: boolean;
  readonly requests: readonly (readonly Act[])[];
  /** Which request goes on, step by step. In the end, both go on until they are done. */
  readonly order: readonly number[];
  readonly fault: { readonly who: number; readonly nth: number; readonly kind: (typeof FAULTS)[number] };
}

const programs: fc.Arbitrary<Program> = fc.record({
  isDue: fc.boolean(),
  onStoreError: fc.constantFrom("throw", "anonymous"),
  isShared: fc.constantFrom(false, false, true),
  requests: fc.array(fc.array(fc.constantFrom(...ACTS), { minLength: 1, maxLength: 4 }), {
    minLength: 2,
    maxLength: 2,
  }),
  order: fc.array(fc.nat(1), { maxLength: 24, size: "max" }),
  fault: fc.record({ who: fc.nat(1), nth: fc.nat(12), kind: fc.constantFrom(...FAULTS) }),
});

/** One request, and its result. */
interface Visit {
  readonly acts: readonly Act[];
  readonly events: string[];
  /** The keys that were stored, as the program was told. */
  readonly stored: Set<string>;
  /** The keys that were set and not stored yet. */
  readonly pending: Set<string>;
  told: string | undefined;
  outcome: "under way" | "answered" | "failed";
}

/** Plays a program, and returns the promises that it broke. */
async function violations(program: Program): Promise<string[]> {
  const giveBack = takeOverTime(seededRandom(1));
  try {
    return await play(program);
  } finally {
    giveBack();
  }
}

async function play({ isDue, onStoreError, isShared, requests, order, fault }: Program): Promise<string[]> {
  const clock = fakeClock();
  const { store, records } = openStore();
  const stage = new Stage();
  const visits = new Map<Request, Visit>();
  const managerOf = (process?: Process): SessionManager =>
    new SessionManager({
      store: process === undefined ? store : stagedStore(stage, process, store),
      now: clock.now,
      storeTimeout: 60,
      onStoreError,
      onEvent: ({ type, request }) => request && visits.get(request)?.events.push(type),
      ...(isDue ? { rotateEvery: 600 } : {}),
    });
  const begun = managerOf().start(new Request(SHOP));
  begun.set("begun", true);
  await begun.save();
  const first = String(await begun.id());
  clock.advance(700);

  const processes = requests.map(() => startProcess());
  const processOf = (at: number): Process => processes[isShared ? 0 : at] ?? startProcess();
  const managers = processes.map((process) => managerOf(process));
  for (const [at, acts] of requests.entries()) {
    const request = new Request(SHOP, { headers: { Cookie: `__Host-session=${first}` } });
    const visit: Visit = {
      acts,
      events: [],
      stored: new Set(),
      pending: new Set(),
      told: undefined,
      outcome: "under way",
    };
    visits.set(request, visit);
    void within(processOf(at), () => send(request, visit, `${at}`, managers[isShared ? 0 : at]));
    await quiet();
  }

  const counts = requests.map(() => 0);
  const stuck = new Set<Waiting>();
  const all = [...visits.values()];
  const step = async (at: number): Promise<boolean> => {
    const process = processOf(at);
    const next = stage.waiting.find((each) => each.process === process && !stuck.has(each));
    if (next === undefined) {
      const goesOn = all[at]?.outcome === "under way" && passTime(process);
      await quiet();
      return goesOn;
    }
    const isFault = fault.who === at && counts[at] === fault.nth;
    counts[at] = (counts[at] ?? 0) + 1;
    if (!isFault) await stage.step(next, "done");
    else if (fault.kind === "rejects" || fault.kind === "done, rejects") await stage.step(next, fault.kind);
    else {
      if (fault.kind === "done, hangs") await stage.step(next, "done, answered later");
      for (const each of stage.waiting) if (each === next || each.isDone) stuck.add(each);
    }
    return true;
  };
  for (const at of order) await step(at);
  for (const at of [0, 1, 0, 1]) while (await step(at));
  // The calls after a time limit were sent, so they are done as well.
  const isLateCreation = fault.kind === "late" && [...stuck].some(({ label }) => label.startsWith("create"));
  for (const each of Array.from(stage.waiting))
    if (!stuck.has(each) || fault.kind === "late") await stage.step(each, "done");

  const broken: string[] = [];
  if (all.some(({ outcome }) => outcome === "under way")) broken.push("a request never ends");
  // A creation that arrives after everything else leaves a session whose id nobody knows.
  const living = [...records.values()].filter(({ fields }) => fields.has("=begun"));
  if (living.length !== 1 && !isLateCreation) broken.push(`${living.length} sessions live`);
  // If the response with the older id arrives last, the client holds an id that was renewed without a grace.
  const ids = [first, ...all.flatMap(({ told }) => told ?? [])];
  const opened = await Promise.all(ids.map(async (id) => await managerOf().open(id).all()));
  const found = opened.find((data) => data["begun"] === true);
  if (found === undefined) broken.push("the session is lost");
  else
    for (const { stored, acts, outcome, events } of all) {
      // A session that was renewed without a grace is put back if its request fails. A session of another begin is not judged.
      const isVoid = outcome !== "answered" && acts.some((act) => act === "regenerate" || act === "login");
      if (isVoid || !events.includes("loaded")) continue;
      for (const key of stored) if (!(key in found)) broken.push(`${key} is lost`);
    }
  const mayEnd = requests.flat().some((act) => act === "regenerate" || act === "login");
  if (!mayEnd && all.some(({ events }) => events.includes("gone"))) broken.push("a request hears gone");
  return broken;
}

async function send(request: Request, visit: Visit, name: string, sessions?: SessionManager): Promise<void> {
  const { pending, stored, events } = visit;
  let returnedAt = 0;
  const acknowledge = (): void => {
    for (const key of pending) stored.add(key);
    pending.clear();
  };
  const handle = withSession(async (_request, session) => {
    await session.get("begun");
    for (const [index, act] of visit.acts.entries()) await perform(session, act, `key ${name} ${index}`);
    returnedAt = events.length;
    return new Response();
  }, sessions);
  const perform = async (session: Session, act: Act, key: string): Promise<unknown> => {
    switch (act) {
      case "set":
        pending.add(key);
        return session.set(key, true);
      case "update":
        return await caught(
          session.update(key, () => true),
          () => stored.add(key),
        );
      case "save":
        return await caught(session.save(), acknowledge);
      case "grace":
        return await session.regenerate({ grace: 300 });
      case "regenerate":
        return await session.regenerate();
      case "login":
        return await session.regenerate({ reauthenticated: true });
      case "throw":
        throw new Error("The handler fails");
      default:
        return await session[act]();
    }
  };
  try {
    const response = await handle(request);
    visit.told = /^[^=]+=([^;]+)/.exec(response.headers.getSetCookie()[0] ?? "")?.[1];
    // The end of the request stores everything, or it reports that it did not.
    const isReported = events.includes("gone") || events.slice(returnedAt).includes("failed");
    if (!isReported) acknowledge();
    visit.outcome = "answered";
  } catch {
    visit.outcome = "failed";
  }
}

/** Waits for a call that stores. The handler goes on if the store fails, and not if the session is gone. */
async function caught(storing: Promise<unknown>, done: () => void): Promise<void> {
  try {
    await storing;
    done();
  } catch (error) {
    if (!(error instanceof SessionError) || error.code === "ERR_SESSION_GONE") throw error;
  }
}

test("One session lives on, with everything that was stored, when two requests renew its id and one store call fails", async () => {
  const property = fc.asyncProperty(programs, async (program) => {
    expect(await violations(program)).toEqual([]);
  });
  await fc.assert(property, runsOf(6000));
});
