/**
 * How the cost grows with the size of a session, with the number of live sessions, and with the options that keep
 * sessions secret.
 *
 * @module
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { memoryStore, parseRecord, serializeRecord, SessionManager } from "../mod.ts";
import type { SessionOptions, SessionRecord, SessionStore } from "../mod.ts";
import { metadataText } from "../src/core/metadata.ts";
import { createWriteId } from "../src/core/session_id.ts";
import { encryption } from "../src/encryption.ts";
import { signedIds } from "../src/signed_ids.ts";
import { fileStore } from "../src/stores/file.ts";
import { median } from "./figures.ts";
import { hashOf } from "./own.ts";

/**
 * The cost of a session with this many bytes in this many keys, in a store that keeps the bytes of a text, as Redis does. Times are in
 * microseconds.
 */
export interface SizeCost {
  readonly bytes: number;
  readonly keys: number;
  /** Parsing the JSON of the record, in which each value is a text. A store that keeps records as JSON needs this for each read. */
  readonly parse: number;
  readonly read: number;
  readonly write: number;
}

/** The cost of a store with this many live sessions. */
export interface CrowdCost {
  readonly store: "memory" | "file";
  readonly sessions: number;
  /** Bytes of heap for each session, and the part of them that is its encoded data. Null for files. */
  readonly heap: number | null;
  readonly data: number;
  /** Microseconds for one session. */
  readonly create: number;
  readonly read: number;
  /** Milliseconds for pruning when one session in a hundred has expired. */
  readonly prune: number;
}

/** Microseconds with one option. */
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

/** Measures reading and writing one key, for sessions of every size. */
export async function measureSizes(rounds: number): Promise<SizeCost[]> {
  const costs: SizeCost[] = [];
  for (const { bytes, keys } of SIZES) {
    const store = textStore();
    const { sessions, id } = await sessionOf({ store }, keys, Math.max(1, Math.floor(bytes / keys)));
    const record = await store.load(hashOf(id));
    if (record === null) throw new Error("There is no record");
    const text = JSON.stringify([record.lastSeenAt, ...record.fields]);
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

/** A store that keeps records as the bytes of their texts, without a network. */
function textStore(): SessionStore {
  const [encoder, decoder] = [new TextEncoder(), new TextDecoder()];
  const entries = new Map<string, { readonly bytes: Uint8Array; readonly version: number }>();
  let writes = 0;
  return {
    traits: memoryStore().traits,
    load(key) {
      const entry = entries.get(key);
      return entry === undefined ? null : { ...parseRecord(decoder.decode(entry.bytes)), version: entry.version };
    },
    save(key, { record, expected }) {
      if ((entries.get(key)?.version ?? null) !== expected) return "conflict";
      entries.set(key, { bytes: encoder.encode(serializeRecord(record)), version: ++writes });
      return writes;
    },
    delete: (key) => void entries.delete(key),
  };
}

/** Measures reading, writing and creating with the options that keep a session secret. */
export async function measureOptions(rounds: number): Promise<OptionCost[]> {
  const secrets = ["a secret of at least 32 bytes, for the benchmark"];
  const options: Readonly<Record<string, SessionOptions<Data>>> = {
    "none": {},
    "`signedIds`": { ids: signedIds({ secrets }) },
    "`encryption`": { encryption: encryption() },
    "`encryption` with secrets": { encryption: encryption({ secrets }) },
    "`signedIds` and `encryption`": { ids: signedIds({ secrets }), encryption: encryption() },
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

/** Measures stores that hold this many sessions. */
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
  const metadata = { createdAt: start, absoluteSince: start, writtenAt: start, writes: "0123456789abcdef" };
  const recordOf = (key: string): SessionRecord => ({
    fields: new Map([
      ["=user", '"ada"'],
      ["=n", "1"],
      ["@", metadataText(metadata, key)],
    ]),
    lastSeenAt: start,
  });
  const lanes = kind === "memory" ? 1 : 32;
  const before = heap();
  let next = 0;
  const begun = performance.now();
  const lane = async (): Promise<void> => {
    for (let at = next++; at < sessions; at = next++) {
      const expiresAt = at % 100 === 0 ? start + 1 : start + 86_400_000;
      const record = recordOf(keyOf(at));
      await store.save(keyOf(at), { id: createWriteId(), record, changed: record.fields, expected: null, expiresAt });
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
    data: serializeRecord(recordOf(keyOf(0))).length,
    create: (created * 1000) / sessions,
    read: median(reads),
    prune,
  };
}

function keyOf(number: number): string {
  return number.toString(16).padStart(64, "0");
}

/** The heap in use after garbage collection. */
function heap(): number {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  collect();
  collect();
  return process.memoryUsage().heapUsed;
}

type Data = Record<string, string | number>;

/** A session with this many keys of this many bytes each. */
async function sessionOf(
  options: SessionOptions<Data>,
  keys: number,
  bytes: number,
): Promise<{ sessions: SessionManager<Data>; id: string }> {
  const sessions = new SessionManager<Data>(options);
  const session = sessions.start(new Request("https://shop.example/"));
  for (let key = 0; key < keys; key++) session.set(`k${key}`, "x".repeat(bytes));
  session.set("n", -1);
  await session.save();
  return { sessions, id: (await session.id()) ?? "" };
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

/** Rounds that are not counted. */
const WARM = 20;

/** Microseconds of processor time for each task: medians of rounds in which the tasks take turns. */
async function inTurns<Name extends string>(
  tasks: Readonly<Record<Name, () => Promise<void>>>,
  rounds: number,
  times: number,
): Promise<Record<Name, number>> {
  const names = Object.keys(tasks) as Name[];
  const measured = new Map(names.map((name) => [name, [] as number[]]));
  for (let round = -WARM; round < rounds; round++) {
    for (const name of names) {
      const start = process.cpuUsage();
      for (let time = 0; time < times; time++) await tasks[name]();
      const { user, system } = process.cpuUsage(start);
      if (round >= 0) measured.get(name)?.push((user + system) / times);
    }
  }
  return Object.fromEntries(names.map((name) => [name, median(measured.get(name) ?? [])])) as Record<Name, number>;
}
