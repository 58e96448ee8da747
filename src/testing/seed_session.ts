import { assertKnown } from "../core/known_options.ts";
import type { SessionOptions } from "../core/options.ts";
import type { DefaultData } from "../core/session.ts";
import { isManager, SessionManager } from "../core/session_manager.ts";

/** Where a seeded session is used. */
export interface SeedOptions {
  /**
   * An address of the program under test: on plain-http loopback the cookie has no prefix.
   *
   * @default {"https://localhost/"}
   */
  readonly url?: string | undefined;
  /** The arguments that the runtime passes after the request, such as a Worker's `env`. @default Nothing */
  readonly rest?: readonly unknown[] | undefined;
}

/**
 * Stores a session with data, and returns its cookie. With it, a test of your own program begins with that session:
 * signed in, with a full basket.
 *
 * @param options The options of the program under test, with the same store, or its `SessionManager`
 * @param data The data of the session
 * @returns The value of a `Cookie` header, `name=value`
 * @throws {TypeError} If the options have no store, or no cookie
 * @throws {SessionError} The errors of `session.save()`
 *
 * @example
 * ```ts
 * import { memoryStore, withSession } from "with-session";
 * import { seedSession } from "with-session/testing";
 *
 * const options = { store: memoryStore() };
 * const handler = withSession(async (_request, session) => new Response(String(await session.get("user"))), options);
 * const cookie = await seedSession(options, { user: "ada" });
 * const response = await handler(new Request("https://localhost/", { headers: { cookie } }));
 * ```
 */
export async function seedSession<Data extends object = DefaultData>(
  options: SessionOptions<Data> | SessionManager<Data>,
  data: Partial<Data>,
  where: SeedOptions = {},
): Promise<string> {
  assertKnown(where, ["url", "rest"], "seedSession");
  const { url = "https://localhost/", rest = [] } = where;
  if (typeof url !== "string" || !URL.canParse(url))
    throw new TypeError("seedSession: url must be an address, such as http://localhost:3000/");
  const isShared = isManager<Data>(options);
  const sessions = isShared ? options : new SessionManager<Data>(options);
  if (!isShared && Reflect.get(Object(options), "store") === undefined)
    throw new TypeError("seedSession needs the store of the program under test: pass options with it, or the manager");
  const session = sessions.start(new Request(url), ...rest);
  await session.create();
  session.set(data);
  const headers = await sessions.commit(session);
  const cookies = headers.getSetCookie().map((line) => line.split(";", 1)[0] ?? "");
  if (cookies.length === 0)
    throw new TypeError("seedSession needs options with a cookie; with a header, use sessions.start and session.id()");
  return cookies.join("; ");
}
