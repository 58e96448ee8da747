import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, open, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Session, SessionError, SessionManager, type SessionStore } from "../../mod.ts";
import type { Operation } from "./checker.ts";
import type { EngineName } from "./engines.ts";

/** The data of a session in these tests. */
export interface Data {
  /** A counter that is sometimes set to another value. */
  n: number;
  /** The tags of the operations that appended themselves, each once. */
  log: string[];
}

/** One operation on a session. */
export type Deed = "count" | "append" | "set" | "read" | "regenerate" | "end";

/** One operation as recorded. Instants are in microseconds of the machine's monotonic clock, which all processes share. */
export interface Entry {
  readonly process: string;
  /** Names the operation. An append adds it to the log. */
  readonly tag: string;
  readonly deed: Deed;
  readonly value: number;
  readonly invoked: number;
  readonly returned: number;
  /**
   * The data of the session afterwards, or null if the session did not exist any more. `"gone"`: the session ended or
   * was regenerated meanwhile, and nothing was stored. `"unknown"`: there was no answer.
   */
  readonly answer: Partial<Data> | null | "gone" | "unknown";
  /** The id that it presented. Once it is done, the id that the session had afterwards. */
  readonly id: string;
}

/** A message of a recorder: the operation that it begins, its result, or a conflict with another writer. */
export type Told = { readonly begun: Entry } | { readonly done: Entry } | { readonly conflict: true };

/** Options of {@linkcode record}. */
export interface Recording {
  /** The name of the recorder. */
  readonly name: string;
  /** How many operations run at the same time in this process. */
  readonly lanes: number;
  readonly times: number;
  /** The possible operations. One that is listed more often is made more often. */
  readonly deeds: readonly Deed[];
  readonly tell: (told: Told) => void;
}

/** Makes operations on one session, and reports each. */
export async function record(store: SessionStore, id: string, recording: Recording): Promise<void> {
  const { name, lanes, times, deeds, tell } = recording;
  const onEvent = ({ type }: { readonly type: string }): void => {
    if (type === "conflict") tell({ conflict: true });
  };
  const sessions = new SessionManager<Data>({ store, onEvent, storeTimeout: 60 });

  async function lane(number: number): Promise<void> {
    // After an operation without an answer, the lane takes another name, because the operation may still be done later.
    let process = `${name}.${number}`;
    let held = id;
    for (let time = 0; time < times; time++) {
      const tag = `${name}.${number}.${time}`;
      const deed = deeds[Math.floor(Math.random() * deeds.length)] ?? "read";
      const value = Math.floor(Math.random() * 1_000_000);
      const begun = { process, tag, deed, value, invoked: now(), returned: 0, answer: "unknown", id: held } as const;
      tell({ begun });
      const session = sessions.open(held);
      const answer = await answered(session, begun);
      const returned = now();
      // As a browser does with the cookie that it receives.
      if (typeof answer === "object") held = (await session.id()) ?? held;
      tell({ done: { ...begun, returned, answer, id: held } });
      if (answer === "unknown") process = tag;
      if (answer === null) return;
    }
  }

  await Promise.all(Array.from({ length: lanes }, (_, number) => lane(number)));
}

/** Puts the messages together. The result of an operation that was begun but not reported as done is unknown. */
export function collect(told: readonly Told[]): { entries: Entry[]; conflicts: number } {
  const entries = new Map<string, Entry>();
  let conflicts = 0;
  for (const each of told) {
    if ("conflict" in each) conflicts++;
    else if ("begun" in each) entries.set(each.begun.tag, each.begun);
    else entries.set(each.done.tag, each.done);
  }
  return { entries: [...entries.values()], conflicts };
}

/** Begins a session for the recorders, and returns its id. */
export async function begin(store: SessionStore): Promise<string> {
  const session = new SessionManager<Data>({ store }).start(new Request("https://shop.example/"));
  session.set({ n: 0, log: [] });
  await session.save();
  return (await session.id()) ?? "";
}

/** Several processes that record at once. */
export interface Processes {
  /** Kills one of them, as a crash would. */
  readonly kill: () => void;
  /** Their messages, when all have ended. */
  readonly told: Promise<Told[]>;
}

/** Lets several processes record at the same time, on one engine and session. All begin when all are ready. */
export async function startProcesses(
  engine: EngineName,
  address: string,
  id: string,
  processes: number,
  recording: Omit<Recording, "name" | "tell">,
): Promise<Processes> {
  const binary = fileURLToPath(new URL("../../node_modules/.bin/node", import.meta.url));
  const script = fileURLToPath(new URL("./process.ts", import.meta.url));
  const folder = await mkdtemp(join(tmpdir(), "with-session-told-"));
  const children = await Promise.all(
    Array.from({ length: processes }, async (_, number) => {
      const path = join(folder, String(number));
      const file = await open(path, "w");
      const args = [script, engine, address, id, JSON.stringify({ ...recording, name: `p${number}` })];
      const child = spawn(binary, args, { stdio: ["ignore", file.fd, "inherit", "ipc"] });
      await Promise.race([once(child, "message"), ended(child)]);
      await file.close();
      return { child, path };
    }),
  );
  const killed = new Set<ChildProcess>();
  const told = Promise.all(
    children.map(async ({ child, path }) => {
      const code = await ended(child);
      if (code !== 0 && !killed.has(child)) throw new Error("A process failed");
      const lines = (await readFile(path, "utf8")).trimEnd().split("\n");
      return lines.filter((line) => line !== "").map((line): Told => JSON.parse(line));
    }),
  );
  for (const { child } of children) child.send("go");
  return {
    kill() {
      const child = children[killed.size]?.child;
      if (child === undefined) return;
      killed.add(child);
      child.kill("SIGKILL");
    },
    told: told.then((all) => all.flat()).finally(() => rm(folder, { recursive: true, force: true })),
  };
}

async function ended(child: ChildProcess): Promise<number | null> {
  if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
  return child.exitCode;
}

/** The data of the session; null if it has ended. */
export type State = Data | null;

export const INITIAL: State = { n: 0, log: [] };

/** The operations that append their tag. */
export const APPENDS: ReadonlySet<Deed> = new Set(["append"]);

/** The history for the checker: each operation must return the state that the previous one left, with its own change. */
export function operationsOf(entries: readonly Entry[]): Operation<State>[] {
  const logged = new Set(entries.flatMap(({ answer }) => (typeof answer === "object" ? (answer?.log ?? []) : [])));
  const leavesNothing = ({ deed, tag, answer }: Entry): boolean =>
    answer === "gone" ||
    (answer === "unknown" && (deed === "read" || deed === "regenerate" || (APPENDS.has(deed) && !logged.has(tag))));
  // An operation without an effect fits in everywhere, and would only multiply the possible orders.
  const inOrder = entries.filter((each) => !leavesNothing(each)).sort((left, right) => left.invoked - right.invoked);
  return inOrder.map((entry) => {
    const { process, tag, deed, answer, invoked, returned } = entry;
    return {
      process,
      invoked,
      returned: answer === "unknown" ? Infinity : returned,
      label: `${tag} ${deed} ${invoked}–${returned} → ${JSON.stringify(answer)}`,
      apply(state) {
        const next = after(state, entry);
        return typeof answer === "string" || sameState(next, answer) ? [next] : [];
      },
    };
  });
}

function after(state: State, { deed, tag, value }: Entry): State {
  if (state === null || deed === "end") return null;
  const n = deed === "set" ? value : deed === "count" ? state.n + 1 : state.n;
  const log = deed === "append" ? [...state.log, tag] : state.log;
  return { n, log };
}

function sameState(state: State, answer: Partial<Data> | null): boolean {
  if (state === null || answer === null) return state === answer;
  return state.n === answer.n && String(state.log) === String(answer.log);
}

async function answered(session: Session<Data>, { deed, tag, value }: Entry): Promise<Entry["answer"]> {
  const count = () => session.update("n", (n = 0) => n + 1);
  const append = () => session.update("log", (log = []) => [...log, tag]);
  try {
    if ((await session.id()) === null) return null;
    // Each `update` is committed at once, so an operation makes only one.
    if (deed === "count") await count();
    if (deed === "append") await append();
    if (deed === "set") session.set("n", value);
    if (deed === "regenerate") await session.regenerate({ grace: 600 });
    if (deed === "end") await session.destroy();
    await session.save();
    return deed === "end" ? null : { ...(await session.all()) };
  } catch (error) {
    if (!(error instanceof SessionError)) throw error;
    return error.code === "ERR_SESSION_GONE" ? "gone" : "unknown";
  }
}

/** On Linux, all processes share one monotonic clock. */
function now(): number {
  return Number(process.hrtime.bigint() / 1000n);
}
