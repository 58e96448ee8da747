import { createHash } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Hono } from "hono";
import { onTestFinished } from "vitest";
import { type Session, SessionError, type SessionErrorCode, SessionManager, withSession } from "../../mod.ts";
import type { Loaded, SessionOptions, SessionRecord, SessionStore, UntypedData } from "../../mod.ts";
import { session as middleware } from "../../src/hono.ts";
import { type CookieJar, cookieJar, type JarRequestInit } from "../../src/testing.ts";

export const SHOP = "https://shop.example/";

/** What one request came to. */
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

/** Sends one request, which is answered by `use`; what that returns is the response if it is one. */
export type Visitor<Data extends object> = <Result>(
  use: (session: Session<Data>, request: Request) => Result | Promise<Result>,
  init?: VisitInit,
) => Promise<Visit<Result>>;

/** A client with its cookies. Another one with the same options and jar is the same client. */
export function visitor<Data extends object = UntypedData>(
  options: SessionOptions<Data> | SessionManager<Data> = {},
  { jar = cookieJar(), through = "withSession" }: { jar?: CookieJar; through?: "withSession" | "Hono" } = {},
): Visitor<Data> {
  const sessions = options instanceof SessionManager ? options : new SessionManager<Data>(options);
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

/** The id that a line of Set-Cookie gives, or null for the line that expires the cookie. */
export function idIn(cookies: readonly string[]): string | null {
  return /^[^=]+=([^;]+)/.exec(cookies[0] ?? "")?.[1] ?? null;
}

/** The name and value of the only cookie that a response sets, as a client sends it back. */
export function cookieOf({ cookies }: { readonly cookies: readonly string[] }): string {
  return cookies[0]?.split(";")[0] ?? "";
}

/** The store key of an id. */
export function keyOf(id: string): string {
  return createHash("sha256").update(id).digest("hex");
}

/** What stands in place of a store's verb: it gets the verb itself, to call or not. */
export type Overrides = {
  [Verb in "load" | "create" | "change" | "touch" | "delete"]?: (
    verb: SessionStore[Verb],
    ...args: Parameters<SessionStore[Verb]>
  ) => ReturnType<SessionStore[Verb]>;
};

/** A store some of whose verbs do something else. */
export function altered(store: SessionStore, overrides: Overrides): SessionStore {
  const { load, create, change, touch, delete: remove } = overrides;
  return {
    ...store,
    load: (...args) => (load === undefined ? store.load(...args) : load(store.load, ...args)),
    create: (...args) => (create === undefined ? store.create(...args) : create(store.create, ...args)),
    change: (...args) => (change === undefined ? store.change(...args) : change(store.change, ...args)),
    touch: (...args) => (touch === undefined ? store.touch(...args) : touch(store.touch, ...args)),
    delete: (...args) => (remove === undefined ? store.delete(...args) : remove(store.delete, ...args)),
  };
}

/** A store whose calls are written down, by verb, in order. */
export function counted(store: SessionStore): { readonly store: SessionStore; readonly calls: string[] } {
  const calls: string[] = [];
  const note =
    (name: string) =>
    <Args extends unknown[], Answer>(verb: (...args: Args) => Answer, ...args: Args): Answer => {
      calls.push(name);
      return verb(...args);
    };
  const overrides: Overrides = {
    load: note("load"),
    create: note("create"),
    change: note("change"),
    touch: note("touch"),
    delete: note("delete"),
  };
  return { store: altered(store, overrides), calls };
}

/** A store in a map that a test may look into and spoil. */
export function openStore(): { readonly store: SessionStore; readonly records: Map<string, Loaded> } {
  const records = new Map<string, Loaded>();
  let writes = 0;
  const put = (key: string, { fields, lastSeenAt }: SessionRecord): number => {
    records.set(key, { fields: new Map(fields), lastSeenAt, version: ++writes });
    return writes;
  };
  const store: SessionStore = {
    traits: {
      compareAndSet: true,
      consistency: "strong",
      persistent: false,
      shared: false,
      minTtl: 0,
      maxBytes: Infinity,
    },
    load: async (key) => {
      const found = records.get(key);
      return found === undefined ? null : { ...found, fields: new Map(found.fields) };
    },
    create: async (key, record) => (records.has(key) ? "taken" : put(key, record)),
    change: async (key, { record }, expected) => {
      const found = records.get(key);
      if (found === undefined) return "gone";
      return found.version === expected ? put(key, record) : "conflict";
    },
    touch: async (key, lastSeenAt, _expiresAt, loaded) => {
      const found = records.get(key);
      if (found !== undefined && loaded !== undefined && found.version !== loaded.version) return "conflict";
      if (found !== undefined) put(key, { fields: found.fields, lastSeenAt });
      return found !== undefined;
    },
    delete: async (key, expected) => {
      const found = records.get(key);
      if (found !== undefined && expected !== undefined && found.version !== expected) return "conflict";
      records.delete(key);
    },
  };
  return { store, records };
}

/** A promise, and what settles it. */
export function gate(): { readonly opened: Promise<void>; readonly open: () => void } {
  const { promise, resolve } = Promise.withResolvers<void>();
  return { opened: promise, open: resolve };
}

/** The code of the SessionError that a call throws; anything else that it does is a failure of the test. */
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

/** A folder that goes with the test. */
export async function temporaryDirectory(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "with-session-"));
  onTestFinished(() => rm(directory, { recursive: true, force: true }));
  return directory;
}
