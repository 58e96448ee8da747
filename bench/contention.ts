/**
 * The cost of concurrent writes to one session. Several writers, in one process or in several, update the same key again and
 * again; each write is a request of its own. `contention.ts <plan>` runs one of several processes.
 *
 * @module
 */
import { fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { SessionError, SessionManager, type SessionStore } from "../mod.ts";
import { type EngineName, openStore, startEngine } from "./engines.ts";
import { percentile } from "./figures.ts";
import { type PauseName, usePause } from "./pauses.ts";

/** The measurements of the writers of one session. Times are in milliseconds. */
export interface Contention {
  readonly engine: EngineName;
  readonly pause: PauseName;
  readonly processes: number;
  /** In each process. */
  readonly writers: number;
  readonly commitsPerSecond: number;
  /** Writes to the store for each commit, including failed ones. A value below 1 means that several requests were stored together. */
  readonly writesPerCommit: number;
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
  /** Jain's index of the writers' commits: 1 if all writers got the same number, 1 ÷ writers if one of them got all. */
  readonly fairness: number;
  /** Updates that failed after the five seconds of `storeTimeout`. */
  readonly conflicts: number;
  /** Updates that the store did not answer in time. */
  readonly timeouts: number;
}

/** How much to measure. */
export interface ContentionOptions {
  readonly names: readonly EngineName[];
  /** The crowds to measure: how many processes, and how many writers in each. */
  readonly crowds: readonly (readonly [processes: number, writers: number])[];
  /** How long each cell is measured. */
  readonly seconds: number;
  /** The pauses between attempts that are compared. Default: only the library's own. */
  readonly pauses?: readonly PauseName[];
}

/** Processes cannot share memory. */
const ALONE: ReadonlySet<EngineName> = new Set(["memory"]);

/** Measures each engine, and checks that no update was lost. */
export async function measureContention(options: ContentionOptions): Promise<Contention[]> {
  const { names, crowds, seconds, pauses = ["library"] } = options;
  const rows: Contention[] = [];
  for (const engine of names) {
    const { address, stop } = await startEngine(engine);
    const { store, close } = await openStore(engine, address);
    for (const [processes, writers] of crowds) {
      if (processes > 1 && ALONE.has(engine)) continue;
      for (const pause of pauses) {
        const plan = { engine, address, pause, writers, seconds };
        rows.push({ engine, pause, processes, writers, ...(await contend(store, processes, plan)) });
      }
    }
    await close();
    await stop();
  }
  return rows;
}

interface Data {
  readonly n: number;
}

/** The measurements of one process. */
interface Done {
  /** The commits of each writer. */
  readonly commits: readonly number[];
  readonly times: readonly number[];
  readonly conflicts: number;
  readonly timeouts: number;
  readonly writes: number;
}

async function contend(
  store: SessionStore,
  processes: number,
  { seconds, ...rest }: Omit<Plan, "id">,
): Promise<Omit<Contention, "engine" | "pause" | "processes" | "writers">> {
  const sessions = new SessionManager<Data>({ store });
  const first = sessions.start(new Request("https://shop.example/"));
  first.set("n", 0);
  await first.save();
  const id = (await first.id()) ?? "";
  const plan: Plan = { ...rest, id, seconds };
  const all = processes === 1 ? [await writeMany(store, plan)] : await inProcesses(processes, plan);

  const commits = all.flatMap((each) => each.commits);
  const times = all.flatMap((each) => each.times);
  const sum = total(commits);
  const timeouts = total(all.map((each) => each.timeouts));
  const counted = await sessions.open(id).get("n");
  // An update that was not answered in time may have been stored or not.
  if (!(counted !== undefined && counted >= sum && counted <= sum + timeouts)) {
    throw new Error(`${rest.engine}: ${sum} updates were acknowledged, and ${counted} counted`);
  }
  const last = sessions.open(id);
  await last.destroy();
  await last.save();
  return {
    commitsPerSecond: sum / seconds,
    writesPerCommit: total(all.map((each) => each.writes)) / sum,
    p50: percentile(times, 50),
    p95: percentile(times, 95),
    p99: percentile(times, 99),
    fairness: sum ** 2 / (commits.length * total(commits.map((each) => each ** 2))),
    conflicts: total(all.map((each) => each.conflicts)),
    timeouts,
  };
}

function total(list: readonly number[]): number {
  return list.reduce((sum, each) => sum + each, 0);
}

/** The task of one process. */
interface Plan {
  readonly engine: EngineName;
  readonly address: string;
  readonly pause: PauseName;
  readonly id: string;
  readonly writers: number;
  readonly seconds: number;
}

/** Updates one session with this many writers until the time is over. */
async function writeMany(own: SessionStore, { pause, id, writers, seconds }: Plan): Promise<Done> {
  const restore = usePause(pause);
  let writes = 0;
  const save: SessionStore["save"] = (key, write, signal) => {
    writes++;
    return own.save(key, write, signal);
  };
  const sessions = new SessionManager<Data>({ store: { ...own, save } });
  const commits = Array.from({ length: writers }, () => 0);
  const times: number[] = [];
  let conflicts = 0;
  let timeouts = 0;
  const end = performance.now() + seconds * 1000;

  async function write(writer: number): Promise<void> {
    while (performance.now() < end) {
      // Real requests arrive through the event loop. Without this turn, a store that answers at once would serve one
      // writer to the end.
      await new Promise(setImmediate);
      const begun = performance.now();
      try {
        await sessions.open(id).update("n", (n = 0) => n + 1);
        commits[writer]! += 1;
      } catch (error) {
        if (!(error instanceof SessionError)) throw error;
        if (error.code === "ERR_CONFLICT") conflicts++;
        else if (error.code === "ERR_STORE_TIMEOUT") timeouts++;
        else throw error;
      }
      times.push(performance.now() - begun);
    }
  }

  await Promise.all(commits.map((_none, writer) => write(writer)));
  restore();
  return { commits, times, conflicts, timeouts, writes };
}

/** Runs the plan in several processes, which begin at the same time. */
async function inProcesses(processes: number, plan: Plan): Promise<Done[]> {
  const script = fileURLToPath(import.meta.url);
  const children = Array.from({ length: processes }, () => fork(script, [JSON.stringify(plan)], { stdio: "inherit" }));
  await Promise.all(children.map((child) => once(child, "message")));
  return await Promise.all(
    children.map(async (child) => {
      child.send("begin");
      const [done] = (await once(child, "message")) as [Done];
      child.send("end");
      return done;
    }),
  );
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const plan = JSON.parse(process.argv[2] ?? "") as Plan;
  const { store } = await openStore(plan.engine, plan.address);
  // The first call takes longer, because it opens the connection.
  await store.load("0".repeat(64));
  process.send?.("ready");
  await once(process, "message");
  const heard = once(process, "message");
  process.send?.(await writeMany(store, plan));
  await heard;
  process.exit(0);
}
