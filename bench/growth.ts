/**
 * How the cost grows: with the size of a session, with the number of live sessions, and with what keeps them secret.
 *
 * @module
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { memoryStore, recordToText, SessionManager, type SessionOptions, type SessionRecord } from "../mod.ts";
import { fileStore } from "../src/stores/file.ts";
import { median } from "./figures.ts";

/** A session of so many bytes in so many keys. Times are in microseconds. */
export interface SizeCost {
  readonly bytes: number;
  readonly keys: number;
  /** Parsing the JSON of the whole record, which every store that keeps a text does to read it. */
  readonly parse: number;
  readonly read: number;
  readonly write: number;
}

/** So many live sessions in a store. */
export interface CrowdCost {
  readonly store: "memory" | "file";
  readonly sessions: number;
  /** Bytes of heap a session, and of its encoded data among them; none for files. */
  readonly heap: number | null;
  readonly data: number;
  /** Microseconds for one session. */
  readonly create: number;
  readonly read: number;
  /** Milliseconds for pruning when one in a hundred has expired. */
  readonly prune: number;
}

/** Microseconds with an option. */
export interface OptionCost {
  readonly option: string;
  readonly read: number;
  readonly write: number;
  readonly create: number;
}

const SIZES: readonly { readonly bytes: number; readonly keys: number }[] = [
  { bytes: 100, keys: 1 },
  { bytes: 1_024, keys: 1 },
  { bytes: 1_024, keys: 10 },
  { bytes: 16_384, keys: 1 },
  { bytes: 16_384, keys: 100 },
  { bytes: 262_144, keys: 1 },
  { bytes: 262_144, keys: 100 },
  { bytes: 262_144, keys: 1_000 },
];

/** Measures reading and writing one key of sessions of every size. */
export async function measureSizes(rounds: number): Promise<SizeCost[]> {
  const costs: SizeCost[] = [];
  for (const { bytes, keys } of SIZES) {
    const { sessions, id, records } = await sessionOf({}, keys, Math.max(1, Math.floor(bytes / keys)));
    const record = records.at(-1);
    if (record === undefined) throw new Error("Nothing was stored");
    const text = recordToText(record);
    const times = Math.max(3, Math.min(300, Math.round(1e6 / bytes)));
    let n = 0;
    const tasks = {
      parse: async () => {
        if (!Array.isArray(JSON.parse(text))) throw new Error("Nothing was parsed");
      },
      read: () => read(sessions, id),
      write: () => write(sessions, id, n++),
    };
    costs.push({ bytes, keys, ...(await inTurns(tasks, rounds, times)) });
  }
  return costs;
}

/** Measures reading, writing and creating with `secrets` and `encrypt`. */
export async function measureOptions(rounds: number): Promise<OptionCost[]> {
  const secrets = ["a secret of at least 32 bytes, for the benchmark"];
  const options: Readonly<Record<string, SessionOptions<Data>>> = {
    "none": {},
    "`secrets`": { secrets },
    "`encrypt`": { encrypt: true },
    "`secrets` and `encrypt`": { secrets, encrypt: true },
  };
  const tasks: Record<string, () => Promise<void>> = {};
  for (const [name, each] of Object.entries(options)) {
    const { sessions, id } = await sessionOf(each, 3, 30);
    let n = 0;
    tasks[`${name} read`] = () => read(sessions, id);
    tasks[`${name} write`] = () => write(sessions, id, n++);
    tasks[`${name} create`] = () => create(sessions);
  }
  const figures = await inTurns(tasks, rounds, 100);
  const of = (task: string): number => figures[task] ?? Number.NaN;
  return Object.keys(options).map((option) => ({
    option,
    read: of(`${option} read`),
    write: of(`${option} write`),
    create: of(`${option} create`),
  }));
}

/** Measures stores that hold so many sessions. */
export async function measureCrowds(memory: readonly number[], files: readonly number[]): Promise<CrowdCost[]> {
  const costs: CrowdCost[] = [];
  for (const sessions of memory) costs.push(await measureCrowd("memory", sessions));
  for (const sessions of files) costs.push(await measureCrowd("file", sessions));
  return costs;
}

async function measureCrowd(kind: "memory" | "file", sessions: number): Promise<CrowdCost> {
  const directory = await mkdtemp(join(tmpdir(), "with-session-growth-"));
  const store = kind === "memory" ? memoryStore() : fileStore({ directory });
  const start = Date.now();
  const record: SessionRecord = {
    fields: new Map([
      ["=user", '"ada"'],
      ["=n", "1"],
      ["@", head(start)],
    ]),
    lastSeenAt: start,
  };
  const lanes = kind === "memory" ? 1 : 32;
  const before = heap();
  let next = 0;
  const begun = performance.now();
  const lane = async (): Promise<void> => {
    for (let at = next++; at < sessions; at = next++) {
      const expiresAt = at % 100 === 0 ? start + 1 : start + 86_400_000;
      await store.create(keyOf(at), record, expiresAt);
    }
  };
  await Promise.all(Array.from({ length: lanes }, lane));
  const created = performance.now() - begun;
  const used = heap() - before;
  const reads: number[] = [];
  for (let time = 0; time < 500; time++) {
    const key = keyOf(Math.floor(((time * 7919) % 99_991) * (sessions / 99_991)));
    const at = performance.now();
    await store.load(key);
    reads.push((performance.now() - at) * 1000);
  }
  const pruning = performance.now();
  const pruned = (await store.prune?.(start + 1000)) ?? 0;
  const prune = performance.now() - pruning;
  if (pruned !== Math.ceil(sessions / 100)) throw new Error(`${pruned} of ${sessions} sessions were pruned`);
  await rm(directory, { recursive: true });
  return {
    store: kind,
    sessions,
    heap: kind === "memory" ? used / sessions : null,
    data: recordToText(record).length,
    create: (created * 1000) / sessions,
    read: median(reads),
    prune,
  };
}

/** As long as the heads that the core writes. */
function head(now: number): string {
  return JSON.stringify({ createdAt: now, since: now, writtenBy: "0123456789", format: 1, key: "0123456789abcdef" });
}

function keyOf(number: number): string {
  return number.toString(16).padStart(64, "0");
}

/** What is in use after everything else was collected. */
function heap(): number {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  collect();
  collect();
  return process.memoryUsage().heapUsed;
}

type Data = Record<string, string | number>;

/** A session of so many keys of so many bytes each, and what its store was given. */
async function sessionOf(
  options: SessionOptions<Data>,
  keys: number,
  bytes: number,
): Promise<{ sessions: SessionManager<Data>; id: string; records: SessionRecord[] }> {
  const records: SessionRecord[] = [];
  const store = memoryStore();
  const create: typeof store.create = (key, record, expiresAt) => {
    records.splice(0, 1, record);
    return store.create(key, record, expiresAt);
  };
  const sessions = new SessionManager<Data>({ ...options, store: { ...store, create } });
  const session = sessions.start(new Request("https://shop.example/"));
  for (let key = 0; key < keys; key++) session.set(`k${key}`, "x".repeat(bytes));
  await session.save();
  return { sessions, id: (await session.id()) ?? "", records };
}

async function read(sessions: SessionManager<Data>, id: string): Promise<void> {
  if ((await sessions.open(id).get("k0")) === undefined) throw new Error("There is nothing to read");
}

async function write(sessions: SessionManager<Data>, id: string, n: number): Promise<void> {
  const session = sessions.open(id);
  session.set("n", n);
  await session.save();
}

async function create(sessions: SessionManager<Data>): Promise<void> {
  const session = sessions.start(new Request("https://shop.example/"));
  session.set("n", 1);
  await session.save();
}

/** Microseconds of each task: medians of rounds in turns. */
async function inTurns<Name extends string>(
  tasks: Readonly<Record<Name, () => Promise<void>>>,
  rounds: number,
  times: number,
): Promise<Record<Name, number>> {
  const names = Object.keys(tasks) as Name[];
  const measured = new Map(names.map((name) => [name, [] as number[]]));
  for (let round = -3; round < rounds; round++) {
    for (const name of names) {
      const start = performance.now();
      for (let time = 0; time < times; time++) await tasks[name]();
      if (round >= 0) measured.get(name)?.push(((performance.now() - start) * 1000) / times);
    }
  }
  return Object.fromEntries(names.map((name) => [name, median(measured.get(name) ?? [])])) as Record<Name, number>;
}
