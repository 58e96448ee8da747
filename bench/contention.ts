/**
 * What it costs when many write to one session at once: k writers, each of which updates the same key again and again, in
 * one process. The pause between attempts is the one of `src/deadline.ts`, or another one that was tried.
 *
 * @module
 */
import { memoryStore, SessionError, SessionManager, type SessionStore } from "../mod.ts";
import { Deadline } from "../src/deadline.ts";
import { type EngineName, engines, openStore } from "../test/linearizability/engines.ts";
import { percentile } from "./figures.ts";

/** What k writers on one session saw. Times are in milliseconds. */
export interface Contention {
  readonly engine: string;
  readonly pause: string;
  readonly writers: number;
  readonly commitsPerSecond: number;
  readonly attemptsPerCommit: number;
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
  /** Jain's index of the writers' commits: 1 if all got the same, 1 ÷ writers if one got all. */
  readonly fairness: number;
  /** Updates that were given up after the five seconds of `storeTimeout`. */
  readonly conflicts: number;
  /** Updates that the store did not answer in time. */
  readonly timeouts: number;
}

/** How much to measure. */
export interface ContentionOptions {
  readonly names: readonly (EngineName | "memory")[];
  readonly writers: readonly number[];
  /** Each cell lasts until every writer could have committed so often, within the seconds. */
  readonly commitsPerWriter: number;
  readonly mostSeconds: number;
  /** The pauses to try, by name; none is the library's own. */
  readonly pauses?: readonly (keyof typeof PAUSES)[];
  /** Hears of each row when it is measured. */
  readonly onRow?: (row: Contention) => void;
}

export const EVERY_ENGINE: ContentionOptions["names"] = ["memory", ...(Object.keys(engines) as EngineName[])];

/** Measures each engine, and checks that no update was lost. */
export async function measureContention(options: ContentionOptions): Promise<Contention[]> {
  const rows: Contention[] = [];
  for (const name of options.names) {
    const { store, close } = await openEngine(name);
    for (const writers of options.writers) {
      for (const pause of options.pauses ?? ["library"]) {
        const row = { engine: name, pause, ...(await contend(store, writers, pause, options)) };
        options.onRow?.(row);
        rows.push(row);
      }
    }
    await close();
  }
  return rows;
}

async function contend(
  store: SessionStore,
  writers: number,
  pause: keyof typeof PAUSES,
  { commitsPerWriter, mostSeconds }: ContentionOptions,
): Promise<Omit<Contention, "engine" | "pause">> {
  let lost = 0;
  const sessions = new SessionManager<{ n: number }>({
    store,
    observe: ({ type }) => void (type === "conflict" && lost++),
  });
  const first = sessions.start(new Request("https://shop.example/"));
  first.set("n", 0);
  await first.save();
  const id = (await first.id()) ?? "";

  const restore = usePause(PAUSES[pause]);
  const times: number[] = [];
  const commits = Array.from({ length: writers }, () => 0);
  let conflicts = 0;
  let timeouts = 0;
  let sum = 0;
  const start = performance.now();
  const isOver = (): boolean =>
    sum + conflicts + timeouts >= commitsPerWriter * writers || performance.now() - start > mostSeconds * 1000;

  async function write(writer: number): Promise<void> {
    while (!isOver()) {
      // Requests come in by the event loop; without it the memory store would serve one writer to the end.
      await new Promise(setImmediate);
      const session = sessions.open(id);
      const begun = performance.now();
      try {
        await session.update("n", (n = 0) => n + 1);
        await session.save();
        sum++;
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
  const seconds = (performance.now() - start) / 1000;
  restore();
  const last = sessions.open(id);
  const counted = await last.get("n");
  // Of an update that was not answered in time nobody knows whether it was stored.
  if (!(counted !== undefined && counted >= sum && counted <= sum + timeouts)) {
    throw new Error(`${sum} updates were acknowledged, and ${counted} counted`);
  }
  await last.destroy();
  await last.save();
  return {
    writers,
    commitsPerSecond: sum / seconds,
    attemptsPerCommit: 1 + lost / sum,
    p50: percentile(times, 50),
    p95: percentile(times, 95),
    p99: percentile(times, 99),
    fairness: sum ** 2 / (writers * commits.reduce((squares, each) => squares + each ** 2, 0)),
    conflicts,
    timeouts,
  };
}

/** Starts an engine, and opens its store. */
export async function openEngine(
  name: EngineName | "memory",
): Promise<{ store: SessionStore; close: () => Promise<void> }> {
  if (name === "memory") return { store: memoryStore(), close: async () => {} };
  const engine = await engines[name]();
  const { store, close } = await openStore(name, engine.address);
  const closeBoth = async (): Promise<void> => {
    close();
    await engine.stop();
  };
  return { store, close: closeBoth };
}

/** Milliseconds to wait after n conflicts, the last attempt having taken so long, and so long being left. */
type Pause = (n: number, took: number, left: number) => number;

const jitter =
  (longest: Pause): Pause =>
  (n, took, left) =>
    Math.random() * Math.min(left, longest(n, took, left));

/** The pauses that were tried. What the library itself does is null. */
export const PAUSES = {
  "library": null,
  "none": () => 0,
  "0, then doubling from 1 ms, ≤ 50 ms": jitter((n) => Math.min(50, 2 ** (n - 1) - 1)),
  "0, then doubling from 1 ms, ≤ 400 ms": jitter((n) => Math.min(400, 2 ** (n - 1) - 1)),
  "doubling from one attempt, ≤ ¼ of what is left": jitter((n, took, left) => Math.min(left / 4, took * 2 ** (n - 1))),
  "growing by 4 attempts, ≤ ¼ of what is left": jitter((n, took, left) => Math.min(left / 4, 4 * took * n)),
  "growing by 8 attempts, ≤ ¼ of what is left": jitter((n, took, left) => Math.min(left / 4, 8 * took * n)),
  "doubling from 4 attempts, ≤ ¼ of what is left": jitter((n, took, left) => Math.min(left / 4, took * 2 ** (n + 1))),
} satisfies Record<string, Pause | null>;

/** Puts another pause in the place of the library's own, until it is put back. */
function usePause(pause: Pause | null): () => void {
  const { prototype } = Deadline;
  const own = prototype.pause;
  if (pause === null) return () => {};
  const states = new WeakMap<Deadline, { n: number; begun: number; end: number }>();
  const call = prototype.call;
  prototype.call = function <T>(this: Deadline, action: string, start: () => Promise<T>): Promise<T> {
    const now = performance.now();
    const state = states.get(this);
    if (state === undefined) states.set(this, { n: 0, begun: now, end: now + 5000 });
    else if (Number.isNaN(state.begun)) state.begun = now;
    return call.call(this, action, start) as Promise<T>;
  };
  prototype.pause = async function (this: Deadline): Promise<void> {
    const now = performance.now();
    const state = states.get(this) ?? { n: 0, begun: now, end: now + 5000 };
    const took = now - state.begun;
    const left = state.end - now - took;
    if (left <= 0) throw new SessionError("ERR_CONFLICT", "Never won");
    const milliseconds = pause(++state.n, took, left);
    state.begun = Number.NaN;
    if (milliseconds > 0) await new Promise((resolve) => setTimeout(resolve, milliseconds));
  };
  return () => {
    prototype.pause = own;
    prototype.call = call;
  };
}
