import {
  type Session,
  SessionError,
  type SessionErrorCode,
  SessionManager,
  type SessionOptions,
  type SessionStore,
  type StoredRecord,
  withSession,
} from "../../mod.ts";
import { cookieSessions, type CookieSessionsOptions } from "../../src/cookie_sessions.ts";
import { type CookieJar, cookieJar } from "../../src/testing.ts";

export const SHOP = "https://shop.example/";
export const secrets: readonly string[] = ["a secret of at least thirty-two bytes"];
// oxlint-disable-next-line no-explicit-any -- tests keep whatever they like
export type Data = Record<string, any>;
export type Options = SessionOptions<Data>;

/** Options for sessions in cookies. */
export function sealed(options: Options = {}, cookies: Partial<CookieSessionsOptions> = {}): Options {
  return { store: cookieSessions({ secrets, ...cookies }), ...options };
}

/** The result of one request. */
export interface Visit<Result> {
  readonly result: Result;
  readonly response: Response;
  /** The lines of Set-Cookie. */
  readonly cookies: string[];
}

export type Visitor = <Result>(
  use: (session: Session<Data>, request: Request) => Result | Promise<Result>,
  init?: RequestInit,
) => Promise<Visit<Result>>;

/** A client with its cookies. A second one with the same options and jar is the same client. */
export function visitor(options: Options | SessionManager<Data>, jar: CookieJar = cookieJar()): Visitor {
  const sessions = options instanceof SessionManager ? options : new SessionManager<Data>(options);
  return async (use, init) => {
    const results: Awaited<ReturnType<typeof use>>[] = [];
    const handle = withSession<Data>(async (request, session) => {
      results.push(await use(session, request));
      return new Response("Hello");
    }, sessions);
    const response = await jar.fetch(handle, SHOP, init);
    if (results.length === 0) throw new Error("The handler did not finish");
    return { result: results[0]!, response, cookies: response.headers.getSetCookie() };
  };
}

/** A client that presents a copy of another client's cookie. */
export function withCopy(options: Options | SessionManager<Data>, cookie: string): Visitor {
  const visit = visitor(options);
  return (use) => visit(use, { headers: { Cookie: cookie } });
}

/** The name and value of the first cookie that a response sets, as a client would send it back. */
export function cookieOf({ cookies }: { readonly cookies: readonly string[] }): string {
  return cookies[0]?.split(";")[0] ?? "";
}

/** The code of the SessionError that a call throws. Any other outcome fails the test. */
export async function codeOf(call: () => unknown): Promise<SessionErrorCode> {
  try {
    await call();
  } catch (error) {
    if (error instanceof SessionError) return error.code;
    throw error;
  }
  throw new Error("Nothing was thrown");
}

/** A store in a map that a test can read. It records its calls. */
export interface OpenStore {
  readonly store: SessionStore;
  readonly records: Map<string, StoredRecord & { readonly expiresAt: number }>;
  readonly calls: string[];
}

/** @param now The clock by which the engine removes expired records. Without it, the engine never removes any */
export function openStore(now: () => number = () => 0): OpenStore {
  const records: OpenStore["records"] = new Map();
  const calls: string[] = [];
  let writes = 0;
  const alive = (key: string) => {
    const found = records.get(key);
    return found !== undefined && found.expiresAt > now() ? found : undefined;
  };
  const store: SessionStore = {
    traits: { consistency: "strong", compareAndSet: true, maxBytes: Infinity },
    async load(key) {
      calls.push("load");
      return alive(key) ?? null;
    },
    async save(key, { record, expected, expiresAt }) {
      calls.push("save");
      if ((alive(key)?.version ?? null) !== expected) return "conflict";
      records.set(key, { fields: new Map(record.fields), lastSeenAt: record.lastSeenAt, version: ++writes, expiresAt });
      return writes;
    },
    async delete(key) {
      calls.push("delete");
      records.delete(key);
    },
  };
  return { store, records, calls };
}
