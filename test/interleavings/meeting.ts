import { SessionManager, type SessionOptions, type SessionStore } from "../../mod.ts";
import { readMetadata } from "../../src/core/metadata.ts";
import { fakeClock } from "../../src/testing.ts";
import { type ClockPlan, RIGHT, serverClock } from "../setup/clocks.ts";
import { quiet, startProcess, takeOverTime, within } from "../setup/processes.ts";
import type { Choose } from "../setup/schedules.ts";
import { keyOf, SHOP } from "../setup/sessions.ts";
import { BEGINNING, GRACE, IDLE, type ProgramName } from "./programs.ts";
import { type Fate, Stage, stagedStore } from "./stage.ts";
import { type Live, violations } from "./verdict.ts";
import { expectVisit, hear, requestWith, visit, type Visited } from "./visit.ts";

/** The conditions under which two requests meet. */
export interface Meeting {
  readonly store: SessionStore;
  readonly names: readonly [ProgramName, ProgramName];
  /** Seconds since the session was last used. */
  readonly after: number;
  /** The clocks of their servers. */
  readonly clocks: readonly [ClockPlan, ClockPlan];
  /** Whether one process serves both. Requests in one process store their changes together. */
  readonly isOneProcess?: boolean;
  /** Whether one call of the first request fails. The schedules try each call and each kind of fault. */
  readonly faults?: boolean;
  readonly options?: SessionOptions;
}

/** In seconds. */
export const TOUCH = 500;

const FAULTS: readonly Fate[] = ["done", "rejects", "done, rejects", "done twice"];
const ID_LENGTH = 22;
let made = 0;

/** Plays one schedule of a meeting. Returns the promises that were broken, and the order of events. */
export async function meet(meeting: Meeting, choose: Choose): Promise<{ trace: string; wrong: string[] }> {
  // After a conflict the library waits for a random time. Here the schedule decides which request goes first, so the
  // random numbers are fixed.
  const giveBack = takeOverTime(() => 0);
  try {
    return await play(meeting, choose);
  } finally {
    giveBack();
  }
}

async function play(
  { store, names, after, clocks, isOneProcess = false, faults = false, options: more }: Meeting,
  choose: Choose,
) {
  const clock = fakeClock(1_800_000_000_000);
  const ids: string[] = [];
  const trace: string[] = [];
  const visits = new Map<Request, Visited>();
  const options: SessionOptions = {
    ...more,
    idleTimeout: Number(BEGINNING[IDLE]),
    touchInterval: TOUCH,
    storeTimeout: 60,
    now: clock.now,
    onEvent: (event) => {
      const visited = event.request && visits.get(event.request);
      if (visited !== undefined) hear(visited, event);
    },
    generateId: () => {
      ids.push(`${++made}`.padStart(ID_LENGTH, "0"));
      return ids.at(-1) ?? "";
    },
  };
  const sessions = new SessionManager({ ...options, store });
  const firstId = await begin(sessions);
  const lastSeenAt = clock.now();
  const times = clocks.map((plan) => serverClock(clock.now, plan));
  clock.advance(after);

  const stage = new Stage({ hear: (line) => trace.push(line) });
  const processes = isOneProcess ? [startProcess()] : [startProcess(), startProcess()];
  const managers = processes.map((process, at) =>
    within(process, () => {
      const whose = isOneProcess ? "" : at === 0 ? "left " : "right ";
      return new SessionManager({
        ...options,
        now: times[at] ?? clock.now,
        store: stagedStore(stage, process, store, whose),
      });
    }),
  );
  const enter = (program: ProgramName, at: number): Visited => {
    const visited = expectVisit(program, at === 0 ? "left" : "right");
    const request = requestWith(firstId);
    visits.set(request, visited);
    const [process, manager] = [processes[at] ?? processes[0], managers[at] ?? managers[0]];
    if (process !== undefined && manager !== undefined) void within(process, () => visit(request, visited, manager));
    return visited;
  };
  const visited = [enter(names[0], 0), enter(names[1], 1)] as const;
  let mayFail = faults;
  for (await quiet(); stage.waiting.length > 0;) {
    const { waiting } = stage;
    const next = waiting[waiting.length === 1 ? 0 : choose(waiting.length)];
    if (next === undefined) break;
    const fate = mayFail && next.process === processes[0] ? (FAULTS[choose(FAULTS.length)] ?? "done") : "done";
    mayFail &&= fate === "done";
    if (fate === "done twice") visited[0].isRepeated = true;
    await stage.step(next, fate);
  }

  const wrong = visited
    .filter(({ response, error }) => response === undefined && error === undefined)
    .map(({ program }) => `"${program}" never ends`);
  const toTokens = await Promise.all(
    ids.map(
      async (id) => (await more?.ids?.toToken(id, { name: "__Host-session", runtimeArguments: [] } as never)) ?? id,
    ),
  );
  const live = await liveAmong(sessions, store, toTokens);
  const loaded = await Promise.all(ids.map((id) => store.load(keyOf(id))));
  const records = loaded.filter((record) => record !== null).length;
  const reached = await sessions.open(firstId).id();
  const now = clock.now();
  clock.advance(GRACE + 601);
  const reachedAfterGrace = await sessions.open(firstId).id();
  const guests = visited.map((each, at) => {
    const own = (times[isOneProcess ? 0 : at]?.() ?? 0) - (clock.now() - now);
    return { visited: each, now: own, isTouchDue: own - lastSeenAt >= TOUCH * 1000 };
  });
  const [left, right] = guests;
  if (left === undefined || right === undefined) throw new Error("Somebody is missing");
  wrong.push(...violations({ guests: [left, right], firstId, live, records, reached, reachedAfterGrace, lastSeenAt }));
  return { trace: trace.join("\n      "), wrong };
}

async function begin(sessions: SessionManager): Promise<string> {
  const session = sessions.start(new Request(SHOP));
  const { [IDLE]: _, note, ...contents } = BEGINNING;
  session.set(contents);
  session.flash("note", note);
  await session.save();
  return (await session.id()) ?? "";
}

/** Every session that one of the ids gives, read without touching it. */
async function liveAmong(sessions: SessionManager, store: SessionStore, tokens: readonly string[]): Promise<Live[]> {
  const live = new Map<string, Live>();
  for (const each of tokens) {
    const session = sessions.open(each);
    const token = await session.id();
    if (token === null) continue;
    const { lastSeenAt } = await session.info();
    const key = keyOf(token.slice(0, ID_LENGTH));
    const record = await store.load(key);
    const metadata = record === null ? "corrupt" : readMetadata(record, key);
    const idle = (typeof metadata === "string" ? undefined : metadata.timeouts?.idle) ?? BEGINNING[IDLE];
    live.set(token, {
      id: token,
      contents: { ...(await session.all()), [IDLE]: idle },
      lastSeenAt: Number(lastSeenAt),
    });
  }
  return [...live.values()];
}

export const CLOCKS: Readonly<Record<string, readonly [ClockPlan, ClockPlan]>> = {
  "clocks that are right": [RIGHT, RIGHT],
  "the first clock five minutes ahead, the other one behind": [
    { ...RIGHT, ahead: 300 },
    { ...RIGHT, ahead: -300 },
  ],
  "the first clock five minutes behind, the other one ahead": [
    { ...RIGHT, ahead: -300 },
    { ...RIGHT, ahead: 300 },
  ],
};
