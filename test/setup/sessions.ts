import { createHash } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Hono } from "hono";
import { onTestFinished } from "vitest";
import { type Session, SessionError, type SessionErrorCode, SessionManager, withSession } from "../../mod.ts";
import type { SessionEvent, SessionOptions, SessionStore, StoredRecord, UntypedData, Write } from "../../mod.ts";
import { session as middleware } from "../../src/hono.ts";
import { type CookieJar, cookieJar, type JarRequestInit } from "../../src/testing.ts";

export const SHOP = "https://shop.example/";

/**
 * The `storeTimeout`, in seconds, for tests that do not test the time-out: on a busy machine, a call of an engine can take more than the default
 * of five seconds. It is not longer, because the pauses after conflicts grow with it.
 */
export const PATIENCE = 60;

/** The result of one request. */
export interface Visit<Result> {
  /** What the handler's body returned. */
  readonly result: Result;
  readonly response: Response;
  /** The lines of Set-Cookie. */
  readonly cookies: string[];
}

export interface VisitInit extends JarRequestInit {
  readonly url?: string;
}

/** Sends one request. `use` runs in the handler; if it returns a response, that is the response. */
export type Visitor<Data extends object> = <Result>(
  use: (session: Session<Data>, request: Request) => Result | Promise<Result>,
  init?: VisitInit,
) => Promise<Visit<Result>>;

/**
 * A client with its cookies. A second one with the same options and jar is the same client. Unless the options say otherwise, `storeTimeout` is {@linkcode
 * PATIENCE}.
 */
export function visitor<Data extends object = UntypedData>(
  options: SessionOptions<Data> | SessionManager<Data> = {},
  { jar = cookieJar(), through = "withSession" }: { jar?: CookieJar; through?: "withSession" | "Hono" } = {},
): Visitor<Data> {
  const sessions =
    options instanceof SessionManager ? options : new SessionManager<Data>({ storeTimeout: PATIENCE, ...options });
  return async (use, { url = SHOP, ...init } = {}) => {
    const results: Awaited<ReturnType<typeof use>>[] = [];
    const answer = async (request: Request, session: Session<Data>): Promise<Response> => {
      const result = await use(session, request);
      results.push(result);
      return result instanceof Response ? result : new Response("Hello");
    };
    const app = new Hono<{ Variables: { session: Session<Data> } }>();
    app.onError((error) => {
      throw error;
    });
    app.use(middleware<Data>(sessions));
    app.all("*", (c) => answer(c.req.raw, c.var.session));
    const handle = through === "Hono" ? (request: Request) => app.fetch(request) : withSession<Data>(answer, sessions);
    const response = await jar.fetch(handle, url, init);
    if (results.length === 0) throw new Error("The handler did not finish");
    return { result: results[0]!, response, cookies: response.headers.getSetCookie() };
  };
}

/** The id in a line of Set-Cookie, or null if the line expires the cookie. */
export function idIn(cookies: readonly string[]): string | null {
  return /^[^=]+=([^;]+)/.exec(cookies[0] ?? "")?.[1] ?? null;
}

/** The name and value of the only cookie that a response sets, as a client would send it back. */
export function cookieOf({ cookies }: { readonly cookies: readonly string[] }): string {
  return cookies[0]?.split(";")[0] ?? "";
}

/** The store key of an id. */
export function keyOf(id: string): string {
  return createHash("sha256").update(id).digest("hex");
}

/** The kinds of `save`: it creates a record, changes its fields, or changes only `lastSeenAt`. */
export type SaveKind = "create" | "change" | "touch";

/** The kind of a `save`. */
export function kindOf({ expected, changed }: Write): SaveKind {
  if (expected === null) return "create";
  return changed.size === 0 ? "touch" : "change";
}

type Verb<Name extends "load" | "save" | "delete"> = (
  verb: SessionStore[Name],
  ...args: Parameters<SessionStore[Name]>
) => ReturnType<SessionStore[Name]>;

/** Replacements for a store's calls, or for one kind of `save`. Each gets the original call, and may make it or not. */
export interface Overrides {
  readonly load?: Verb<"load">;
  readonly save?: Verb<"save">;
  readonly create?: Verb<"save">;
  readonly change?: Verb<"save">;
  readonly touch?: Verb<"save">;
  readonly delete?: Verb<"delete">;
}

/** A store with some of its calls replaced. */
export function altered(store: SessionStore, overrides: Overrides): SessionStore {
  return {
    ...store,
    load: (...args) => (overrides.load === undefined ? store.load(...args) : overrides.load(store.load, ...args)),
    save: (...args) => {
      const save = overrides[kindOf(args[1])] ?? overrides.save;
      return save === undefined ? store.save(...args) : save(store.save, ...args);
    },
    delete: (...args) =>
      overrides.delete === undefined ? store.delete(...args) : overrides.delete(store.delete, ...args),
  };
}

/** The calls that {@linkcode altered} can replace, for tests that make each of them fail. */
export const VERBS = ["load", "create", "change", "touch", "delete"] as const;

/** A store whose calls of these kinds fail as long as it is down. A failing call does nothing. */
export function failing(
  store: SessionStore,
  verbs: readonly (typeof VERBS)[number][] = VERBS,
  isDown: () => boolean = () => true,
): SessionStore {
  const fails = (verb: (typeof VERBS)[number]): boolean => verbs.includes(verb) && isDown();
  return {
    ...store,
    load: async (...args) => (fails("load") ? down() : store.load(...args)),
    save: async (...args) => (fails(kindOf(args[1])) ? down() : store.save(...args)),
    delete: async (...args) => (fails("delete") ? down() : store.delete(...args)),
  };
}

function down(): never {
  throw new Error("down");
}

/** A store that records its calls in order, with the kind of each `save`. */
export function counted(store: SessionStore): { readonly store: SessionStore; readonly calls: string[] } {
  const calls: string[] = [];
  const watched = altered(store, {
    load: (load, ...args) => {
      calls.push("load");
      return load(...args);
    },
    save: (save, ...args) => {
      calls.push(kindOf(args[1]));
      return save(...args);
    },
    delete: (remove, ...args) => {
      calls.push("delete");
      return remove(...args);
    },
  });
  return { store: watched, calls };
}

/** A store on a map that a test may read and damage. It answers with promises, as engines do. */
export function openStore(): { readonly store: SessionStore; readonly records: Map<string, StoredRecord> } {
  const records = new Map<string, StoredRecord>();
  let writes = 0;
  const store: SessionStore = {
    traits: { consistency: "strong", compareAndSet: true, maxBytes: Infinity },
    load: async (key) => {
      const found = records.get(key);
      return found === undefined ? null : { ...found, fields: new Map(found.fields) };
    },
    save: async (key, { record: { fields, lastSeenAt }, expected }) => {
      if ((records.get(key)?.version ?? null) !== expected) return "conflict";
      records.set(key, { fields: new Map(fields), lastSeenAt, version: ++writes });
      return writes;
    },
    delete: async (key, expected) => {
      const found = records.get(key);
      if (found !== undefined && expected !== undefined && found.version !== expected) return "conflict";
      records.delete(key);
    },
  };
  return { store, records };
}

/** The records of sessions, without those of retired ids. */
export function living(records: ReadonlyMap<string, StoredRecord>): StoredRecord[] {
  return [...records.values()].filter(({ fields }) => !(fields.get("@") ?? "").includes('"successor"'));
}

/** Events without the fields that differ from run to run. */
export function bare(events: readonly SessionEvent[]): object[] {
  return events.map(({ name: _name, request: _request, durationMs: _durationMs, ...rest }) => rest);
}

/** A promise, and the function that resolves it. */
export function gate(): { readonly opened: Promise<void>; readonly open: () => void } {
  const { promise, resolve } = Promise.withResolvers<void>();
  return { opened: promise, open: resolve };
}

/** The code of the SessionError that a call throws. Any other outcome fails the test. */
export async function codeOf(call: () => unknown): Promise<SessionErrorCode> {
  return (await errorOf(call)).code;
}

/** The SessionError that a call throws. */
export async function errorOf(call: () => unknown): Promise<SessionError> {
  try {
    await call();
  } catch (error) {
    if (error instanceof SessionError) return error;
    throw error;
  }
  throw new Error("Nothing was thrown");
}

/** A folder that is removed after the test. */
export async function temporaryDirectory(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "with-session-"));
  onTestFinished(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

/** The timers that `vi.useFakeTimers` replaces in tests of a store's time limit: the test moves the clock. */
export const FAKED: { readonly toFake: ("setTimeout" | "clearTimeout" | "performance")[] } = {
  toFake: ["setTimeout", "clearTimeout", "performance"],
};

/** The value of a promise, or "is pending" if it needs a store or a timer. */
export async function soonest<Value>(promise: Promise<Value>): Promise<Value | "is pending"> {
  return await Promise.race([promise, soon("is pending" as const)]);
}

/** Returns the value after all work that needs no store and no timer is done. */
export async function soon<Value>(value: Value): Promise<Value> {
  await new Promise((resolve) => setImmediate(resolve));
  return value;
}

/** Stores a session whose timeout is endless in practice, and finds it again. */
export async function keepsEndlessSession(store: SessionStore): Promise<boolean> {
  const timeouts = { idleTimeout: Number.MAX_SAFE_INTEGER, absoluteTimeout: false } as const;
  const sessions = new SessionManager<{ a: string }>({ store, storeTimeout: PATIENCE, ...timeouts });
  const session = sessions.open("");
  session.set("a", "1");
  await session.save();
  return (await sessions.open(String(await session.id())).get("a")) === "1";
}
