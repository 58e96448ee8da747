/**
 * `npm run torture [seconds=600]`: plays the model with new seeds, and lets processes loose on every engine while calls
 * fail, connections break and processes are killed. Prints totals, and fails if anything was lost or revived.
 *
 * @module
 */
import { setTimeout as sleep } from "node:timers/promises";
import fc from "fast-check";
import { memoryStore, type SessionStore } from "../mod.ts";
import { explain } from "./linearizability/checker.ts";
import { type Engine, type EngineName, engines, openStore } from "./linearizability/engines.ts";
import {
  APPENDS,
  begin,
  collect,
  type Data,
  type Deed,
  type Entry,
  INITIAL,
  operationsOf,
  record,
  startProcesses,
  type Told,
} from "./linearizability/history.ts";
import { type Program, programs, programsWithPeacefulEnds } from "./model/program.ts";
import { totals as played, unexplained, withoutCompareAndSet } from "./model/verdict.ts";

const PROCESSES = 3;
const DEEDS: readonly Deed[] = ["count", "count", "append", "append", "both", "set", "read"];
/** An id that was regenerated leads through so many others at most, however long its grace. */
const LONGEST_CHAIN = 8;
const names = Object.keys(engines) as EngineName[];
const totals = {
  histories: 0,
  requests: 0,
  unanswered: 0,
  conflicts: 0,
  faults: 0,
  lost: 0,
  revived: 0,
  unexplained: 0,
};

const seconds = Number(process.argv[2] ?? 600);
const end = performance.now() + seconds * 1000;
const running = new Map<EngineName, Engine>();
try {
  for (const name of names) running.set(name, await engines[name]());
  for (let round = 0; performance.now() < end; round++) {
    await playModel(programs, memoryStore);
    await playModel(programsWithPeacefulEnds, withoutCompareAndSet);
    for (const [name, engine] of running) {
      if (performance.now() < end) await torture(name, engine, round % 2 === 1);
    }
    console.log(`${Math.round(performance.now() / 1000)} s: ${summary()}`);
  }
} finally {
  for (const engine of running.values()) await engine.stop();
}
console.log(summary());
process.exit(totals.lost + totals.revived + totals.unexplained === 0 ? 0 : 1);

async function playModel(programs: fc.Arbitrary<Program>, open: () => SessionStore): Promise<void> {
  const seed = Math.floor(Math.random() * 2 ** 31);
  const property = fc.asyncProperty(programs, fc.scheduler(), async (program, scheduler) => {
    const cause = await unexplained(program, open(), scheduler);
    if (cause !== null) throw new Error(cause);
  });
  const result = await fc.check(property, { seed, numRuns: 500 });
  if (!result.failed) return;
  totals.unexplained++;
  console.error(
    `The model, seed ${seed}: ${String(result.errorInstance)}\n${JSON.stringify(result.counterexample?.[0])}`,
  );
}

/** Several processes on one session, while the engine fails; in every other round somebody ends the session. */
async function torture(name: EngineName, engine: Engine, ends: boolean): Promise<void> {
  const { store, close } = await openStore(name, engine.address);
  const id = await begin(store);
  const many = Array.from({ length: 10 }, () => DEEDS).flat();
  const deeds = [...many, "regenerate" as const, ...(ends ? ["end" as const] : [])];
  const processes = await startProcesses(name, engine.address, id, PROCESSES, { lanes: 2, times: 40, deeds });
  let isDone = false;
  const told = processes.told.finally(() => (isDone = true));
  await sleep(Math.random() * 100);
  processes.kill();
  totals.faults++;
  while (!isDone) {
    totals.faults += await engine.disturb(0.05);
    await Promise.race([told, sleep(20 + Math.random() * 80)]);
  }
  totals.faults += await engine.disturb(0);
  const { entries, conflicts } = collect(await told);
  const last = await inTheEnd(store, entries);
  close();
  judge(name, entries, last);
  totals.conflicts += conflicts;
}

/** What each id that anybody held leads to when all is quiet again; those that lead nowhere are left out. */
async function inTheEnd(store: SessionStore, entries: readonly Entry[]): Promise<Entry[]> {
  const found: Entry[] = [];
  for (const id of new Set(entries.map((each) => each.id))) {
    let read: Entry | undefined;
    // A connection that was broken may take a moment to come back.
    for (let attempt = 0; attempt < 20 && (read === undefined || read.answer === "unknown"); attempt++) {
      if (attempt > 0) await sleep(50);
      const told: Told[] = [];
      const tell = (each: Told): number => told.push(each);
      await record(store, id, { name: `end ${id}`, lanes: 1, times: 1, deeds: ["read"], tell });
      [read] = collect(told).entries;
    }
    if (read !== undefined && read.answer !== null) found.push(read);
  }
  return found;
}

function judge(name: EngineName, entries: readonly Entry[], last: readonly Entry[]): void {
  const regenerated = entries.filter(({ deed, answer }) => deed === "regenerate" && answer !== "gone").length;
  // Who came late, with the first id, may have found nothing although the session lives.
  const mayHaveMissed = ({ deed, answer }: Entry): boolean =>
    regenerated >= LONGEST_CHAIN && answer === null && deed !== "end";
  const history = operationsOf([...entries.filter((each) => !mayHaveMissed(each)), ...last]);
  const { isLinearizable, order } = explain(INITIAL, history);
  const acknowledged = entries.filter(({ deed, answer }) => APPENDS.has(deed) && isAlive(answer));
  const ended = entries.filter(({ deed, answer }) => deed === "end" && answer === null);
  const mayBeOver = entries.some(({ deed }) => deed === "end");
  const lastWord = Math.min(...ended.map(({ returned }) => returned));
  const logs = last.map(({ answer }) => new Set(isAlive(answer) ? answer.log : []));
  const isLost = ({ tag }: Entry): boolean => logs.some((log) => !log.has(tag)) || (logs.length === 0 && !mayBeOver);
  const lost = acknowledged.filter(isLost).length;
  const revived = [...entries, ...last].filter(({ invoked, answer }) => invoked > lastWord && isAlive(answer)).length;
  // Whatever id was held: all that lead anywhere lead to one session.
  const isForked = new Set(last.map(({ id }) => id)).size > 1;
  totals.histories++;
  totals.requests += entries.length;
  totals.unanswered += entries.filter(({ answer }) => answer === "unknown").length;
  totals.lost += lost;
  totals.revived += revived;
  if (isLinearizable && !isForked) return;
  totals.unexplained++;
  if (isForked) console.error(`${name}: several sessions have come of one`);
  const stuck = history.filter((each) => !order.includes(each)).map(({ label }) => label);
  const came = order
    .slice(-20)
    .map(({ label }) => label)
    .join("\n");
  console.error(
    `${name}: no order explains this history after\n${came}\n\nat the latest:\n${stuck.slice(0, 20).join("\n")}`,
  );
}

function isAlive(answer: Entry["answer"]): answer is Partial<Data> {
  return typeof answer === "object" && answer !== null;
}

function summary(): string {
  const { histories, requests, unanswered, conflicts, faults, lost, revived, unexplained } = totals;
  return [
    `${played.requests + requests} requests`,
    `${played.conflicts + conflicts} conflicts`,
    `${faults} faults`,
    `lost ${lost}`,
    `revived ${revived}`,
    `(${played.programs} programs and ${histories} histories, of which ${unexplained} unexplained; ${unanswered} requests without an answer)`,
  ].join(", ");
}
