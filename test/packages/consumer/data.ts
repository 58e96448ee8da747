import {
  isFresh,
  memoryStore,
  type Plugin,
  type Session,
  SessionError,
  SessionManager,
  type SessionOptions,
  type SessionStore,
  withSession,
} from "with-session";
import { csrfToken, verifyCsrfToken } from "with-session/csrf";
import { signedIds } from "with-session/signed-ids";
import { userSessions } from "with-session/user-sessions";

/** If `Data` is given, the types of the runtime's other arguments are still inferred. */
interface Shop {
  user?: string;
  visits: number;
}
interface Env {
  readonly SECRET: string;
}

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
declare function same<A, B>(proof: Same<A, B>): void;

const worker = withSession<Shop>(
  async (request, session, env: Env, context: { waitUntil(promise: Promise<unknown>): void }) => {
    same<typeof request, Request>(true);
    same<typeof session, Session<Shop>>(true);
    const user = await session.get("user");
    same<typeof user, string | undefined>(true);
    const visits = await session.update("visits", (n = 0) => n + 1);
    same<typeof visits, number>(true);
    context.waitUntil(Promise.resolve(env.SECRET));
    // @ts-expect-error there is no such key
    session.set("usr", "ada");
    return new Response(`${user} ${visits}`);
  },
);
export const fetch: (
  request: Request,
  env: Env,
  context: { waitUntil(promise: Promise<unknown>): void },
) => Promise<Response> = worker;

// @ts-expect-error the option is called idleTimeout
withSession(async () => new Response(), { timeout: 60 });

/** A user can wrap the interface: the documented members are enough for a Session. */
export function named(session: Session<Shop>): Session<Shop> {
  return session;
}

/** A store made of its three methods. */
export const store: SessionStore = { ...memoryStore(), load: () => null };

const users = userSessions<{ browser: string }>({ limit: 5 });
export const options: SessionOptions<Shop> = {
  store: memoryStore(),
  ids: signedIds({ secrets: ["a secret that is longer than 32 bytes, for tests"] }),
  plugins: [users],
};
export const sessions: SessionManager<Shop> = new SessionManager<Shop>(options);

export function codeOf(error: unknown): string {
  return error instanceof SessionError && error.code === "ERR_STORE" ? error.code : "";
}

/** Functions of a session take one with data of any type, also one of two types. */
export async function signIn(session: Session<Shop> | Session<{ visits: bigint }>, request: Request): Promise<string> {
  if (!(await verifyCsrfToken(session, request)) || !(await isFresh(session, 300))) return "";
  await users.bind(session, "user-1815", { browser: "" });
  await users.revokeAll("user-1815", { except: session });
  return await csrfToken(session);
}

export const plugins: Plugin[] = [
  { name: "plain", answer: (_request, session: object) => ("get" in session ? undefined : new Response()) },
  { name: "typed", answer: async (_request, session: Session<Shop>) => new Response(await session.get("user")) },
  { name: "inferred", answer: async (_request, session) => new Response(String(await session.get("user"))) },
];
