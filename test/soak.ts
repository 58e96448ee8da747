/**
 * `npm run soak [-- --minutes 3]`: runs the shop under load on Redis, Postgres and files, a third of the time each, 30 minutes in total by default.
 * Three servers have clocks that are up to five minutes wrong. Every few seconds a fault happens: a server is killed or restarted, or the engine
 * crashes, is cut off, stands still, or its replica is promoted. Users compare what they get with what was acknowledged. The servers run the built
 * package, which they import by its name, as users do.
 *
 * @module
 */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { MAX_CLOCK_ERROR } from "./setup/clocks.ts";
import { type Engine, type EngineName, engines } from "./soak/engines.ts";
import type { ServerState } from "./soak/server.ts";
import { type Counts, newCounts, User } from "./soak/user.ts";

const { values } = parseArgs({
  options: { minutes: { type: "string", default: "30" }, users: { type: "string", default: "12" } },
});
const secondsEach = (Number(values.minutes) * 60) / 3;
if (!(secondsEach > 0)) throw new TypeError("--minutes must be a number of minutes");

/** In milliseconds, from the end of one fault to the next. */
const PEACE = 8000;
/**
 * Errors of a failed request that are expected: the engine or the server was not available, or another request has
 * ended the session.
 */
const EXPECTED = new Set(["ERR_STORE", "ERR_STORE_TIMEOUT", "ERR_CONFLICT", "ERR_SESSION_GONE", "no answer"]);

interface Server {
  readonly child: ChildProcess;
  readonly url: string;
}

// After an interruption, the soak prints the figures so far and stops the engines.
let isInterrupted = false;
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => (isInterrupted = true));

let faults = 0;
for (const name of ["Redis", "Postgres", "files"] as const) if (!isInterrupted) faults += await soak(name);
console.log(faults === 0 ? "Every promise was kept." : `${faults} violations.`);
process.exitCode = faults === 0 ? 0 : 1;

async function soak(name: EngineName): Promise<number> {
  const engine = await engines[name]();
  const servers: (Server | undefined)[] = [];
  const unhandled: string[] = [];
  const counts = newCounts();
  const troubles = new Map<string, number>();
  const start = async (at: number): Promise<void> => {
    // The first server is never killed, so that its memory can be compared over time.
    const ahead = at === 0 ? 0 : Math.round((Math.random() * 2 - 1) * MAX_CLOCK_ERROR);
    servers[at] = await startServer(name, engine, ahead);
  };
  const stop = async (at: number, signal: NodeJS.Signals): Promise<void> => {
    const server = servers[at];
    if (server === undefined) return;
    unhandled.push(...(await stateOf(server)).unhandled);
    servers[at] = undefined;
    const exited = once(server.child, "exit");
    server.child.kill(signal);
    await exited;
    await start(at);
  };
  const heaps: number[] = [];
  const measure = async (): Promise<void> => {
    const [first] = servers;
    if (first === undefined) throw new Error("The first server has ended");
    const { heap } = await stateOf(first);
    heaps.push(heap);
  };
  try {
    for (const at of [0, 1, 2]) await start(at);
    const urls = (): string[] => servers.flatMap((server) => server?.url ?? []);
    const users = Array.from({ length: Number(values.users) }, (_, at) => new User(`user-${at}`, urls, counts));
    const startedAt = performance.now();
    const end = new AbortController();
    const running = Promise.all(users.map((user) => user.run(end.signal)));
    const elapsed = (): number => (performance.now() - startedAt) / 1000;
    const trouble: Record<string, () => Promise<void>> = {
      ...engine.troubles,
      "a server is killed": () => stop(1 + Math.floor(Math.random() * 2), "SIGKILL"),
      "a server is restarted": () => stop(1 + Math.floor(Math.random() * 2), "SIGTERM"),
    };
    // The heap is not measured right after the start, because caches and compiled code grow with the first requests.
    await pause(Math.min(20, secondsEach / 10) * 1000);
    await measure();
    let turn = 0;
    while (elapsed() < secondsEach && !isInterrupted) {
      const [what, happen] = Object.entries(trouble)[turn++ % Object.keys(trouble).length] ?? [];
      if (what === undefined || happen === undefined) break;
      await happen();
      troubles.set(what, (troubles.get(what) ?? 0) + 1);
      await pause(Math.min(PEACE, (secondsEach * 1000) / 8));
      if (heaps.length === 1 && elapsed() > secondsEach / 2) await measure();
    }
    end.abort();
    await running;
    await Promise.all(users.map((user) => user.look()));
    await measure();
    for (const server of servers) if (server !== undefined) unhandled.push(...(await stateOf(server)).unhandled);
    return report(name, elapsed(), counts, troubles, unhandled, heaps);
  } finally {
    for (const server of servers) server?.child.kill("SIGKILL");
    await engine.stop();
  }
}

function report(
  name: EngineName,
  seconds: number,
  counts: Counts,
  troubles: ReadonlyMap<string, number>,
  unhandled: readonly string[],
  heaps: readonly number[],
): number {
  const { requests, failures, lost, revived, signedOut, others, done } = counts;
  const list = (map: ReadonlyMap<string, number>): string =>
    [...map].map(([what, times]) => `${what} ${times}`).join(", ") || "none";
  const unexpected = [...failures.keys()].filter((code) => !EXPECTED.has(code));
  console.log(`${name}: ${requests} requests in ${Math.round(seconds)} s`);
  console.log(`  done: ${list(done)}`);
  console.log(`  troubles: ${list(troubles)}`);
  console.log(`  failures by code: ${list(failures)}`);
  console.log(
    `  lost updates: ${lost.length}, revived sessions: ${revived.length}, lost sessions: ${signedOut.length}`,
  );
  console.log(`  unhandled rejections: ${unhandled.length}, unexpected answers: ${others.length + unexpected.length}`);
  console.log(`  heap in MB, start, middle, end: ${heaps.map((heap) => (heap / 1e6).toFixed(1)).join(", ")}`);
  const faults = [...lost, ...revived, ...signedOut, ...unhandled, ...others, ...unexpected];
  for (const fault of faults.slice(0, 20)) console.log(`  ${fault}`);
  return faults.length;
}

async function startServer(name: EngineName, engine: Engine, ahead: number): Promise<Server> {
  const file = fileURLToPath(new URL("./soak/server.ts", import.meta.url));
  const child = fork(file, [name, engine.address, String(ahead)]);
  const { port } = (await messageOf(child)) as { port: number };
  return { child, url: `http://127.0.0.1:${port}` };
}

async function stateOf({ child }: Server): Promise<ServerState> {
  const told = messageOf(child);
  child.send("state");
  return (await told) as ServerState;
}

/** The next message of a running server. */
function messageOf(child: ChildProcess): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const onExit = (code: number | null): void => reject(new Error(`A server ended by itself, with ${code}`));
    child.once("exit", onExit).once("message", (message) => {
      child.off("exit", onExit);
      resolve(message);
    });
  });
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
