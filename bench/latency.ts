/**
 * How long a read and a write of a session take on each engine, compared with the engine's own read and write on the same client.
 * Both take turns in one run.
 *
 * @module
 */
import { type SessionStore, withSession } from "../mod.ts";
import { percentile } from "./figures.ts";
import { LATENCY_ENGINES, type LatencyEngine } from "./latency_engines.ts";
import { answerPage, bareText, type LatencyData } from "./latency_page.ts";

/** The microseconds that 50 % and 99 % of the requests do not exceed. */
export interface Percentiles {
  readonly p50: number;
  readonly p99: number;
}

/** One engine. */
export interface LatencyCost {
  readonly engine: string;
  /** How often each lane was measured. */
  readonly rounds: number;
  readonly bareRead: Percentiles;
  /** A request that reads: one load. */
  readonly read: Percentiles;
  readonly bareWrite: Percentiles;
  /** A request that writes: a load, and a conditional write. */
  readonly write: Percentiles;
}

/** How much to measure on each engine: until all rounds are done or the time is over. */
export interface LatencyOptions {
  readonly rounds: number;
  readonly seconds: number;
  /** How many sessions take turns, so that no session is written again within milliseconds. */
  readonly sessions: number;
}

const LANES = ["bareRead", "read", "bareWrite", "write"] as const;
type Lane = (typeof LANES)[number];

/** Measures every engine that starts on this machine, one after the other, and reports those that do not start. */
export async function measureLatency(options: LatencyOptions): Promise<LatencyCost[]> {
  const starting = Object.entries(LATENCY_ENGINES).map(async ([name, start]) => {
    try {
      return [{ name, engine: await start() }];
    } catch (error) {
      console.error(`${name} does not start here: ${error instanceof Error ? error.message : error}`);
      return [];
    }
  });
  const started = (await Promise.all(starting)).flat();
  const costs: LatencyCost[] = [];
  for (const { name, engine } of started) costs.push({ engine: name, ...(await measureEngine(engine, options)) });
  await Promise.all(started.map(({ engine }) => engine.stop()));
  return costs;
}

/** One call of each lane, for one of the sessions. */
type Calls = Readonly<Record<Lane, (session: number) => unknown>>;

async function measureEngine(
  { subject }: LatencyEngine,
  options: LatencyOptions,
): Promise<Omit<LatencyCost, "engine">> {
  const { rounds, seconds, sessions } = options;
  const calls =
    subject instanceof URL ? await callsOverHttp(subject, sessions) : await callsInProcess(subject, sessions);
  const times: Record<Lane, number[]> = { bareRead: [], read: [], bareWrite: [], write: [] };
  const end = performance.now() + seconds * 1000;
  for (let round = -sessions; round < rounds && (performance.now() < end || round < 20); round++) {
    for (const lane of shuffled(LANES)) {
      const begun = performance.now();
      await calls[lane]((round + sessions) % sessions);
      if (round >= 0) times[lane].push((performance.now() - begun) * 1000);
    }
  }
  const of = (lane: Lane): Percentiles => ({ p50: percentile(times[lane], 50), p99: percentile(times[lane], 99) });
  return {
    rounds: times.read.length,
    bareRead: of("bareRead"),
    read: of("read"),
    bareWrite: of("bareWrite"),
    write: of("write"),
  };
}

interface InProcess {
  readonly store: SessionStore;
  get(key: string): unknown;
  set(key: string, text: string): unknown;
}

async function callsInProcess({ store, get, set }: InProcess, sessions: number): Promise<Calls> {
  const handler = withSession<LatencyData>(answerPage, { store });
  const cookies: string[] = [];
  for (let session = 0; session < sessions; session++) {
    const response = await handler(new Request("https://shop.example/first"));
    cookies.push(response.headers.getSetCookie()[0]?.split(";")[0] ?? "");
    await set(keyOf(session), bareText());
  }
  const ask = async (path: string, session: number): Promise<void> => {
    const headers = { Cookie: cookies[session] ?? "" };
    await expectDone(await handler(new Request(`https://shop.example/${path}`, { headers })));
  };
  return {
    bareRead: (session) => get(keyOf(session)),
    read: (session) => ask("read", session),
    bareWrite: (session) => set(keyOf(session), bareText()),
    write: (session) => ask("write", session),
  };
}

/** All four include the way to the Worker and back. */
async function callsOverHttp(address: URL, sessions: number): Promise<Calls> {
  const cookies: string[] = [];
  const send = async (path: string, init?: RequestInit): Promise<Response> => await fetch(new URL(path, address), init);
  const bareWrite = async (session: number): Promise<void> =>
    await expectDone(await send(`bare/write/${keyOf(session)}`, { method: "POST", body: bareText() }));
  for (let session = 0; session < sessions; session++) {
    const response = await send("session/first");
    cookies.push(response.headers.getSetCookie()[0]?.split(";")[0] ?? "");
    await expectDone(response);
    await bareWrite(session);
  }
  const ask = async (path: string, session: number): Promise<void> =>
    await expectDone(await send(`session/${path}`, { headers: { Cookie: cookies[session] ?? "" } }));
  return {
    bareRead: async (session) => await expectDone(await send(`bare/read/${keyOf(session)}`)),
    read: (session) => ask("read", session),
    bareWrite,
    write: (session) => ask("write", session),
  };
}

async function expectDone(response: Response): Promise<void> {
  const text = await response.text();
  if (text !== "done") throw new Error(`The page answered ${response.status}, ${text}`);
}

/** A key as long as those of the library. */
function keyOf(session: number): string {
  return `bare-${String(session).padStart(59, "0")}`;
}

function shuffled<T>(list: readonly T[]): T[] {
  const keyed = list.map((item) => ({ item, key: Math.random() }));
  return keyed.sort((left, right) => left.key - right.key).map(({ item }) => item);
}
