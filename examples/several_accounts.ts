/**
 * Several accounts in one browser, as in mail programs: `/u/0/` and `/u/1/` are two sessions with a cookie each.
 *
 * - The address says which session a request means, so two tabs can show two accounts.
 * - `signedIds` binds each id to the name of its cookie. An id that is copied into another account's cookie is rejected.
 * - A logout of one account keeps the others. `/` lists them all; it opens each session by hand.
 *
 * @module
 */
import { memoryStore, type Session, SessionManager, type SessionOptions, withSession } from "with-session";
import { crossOriginProtection } from "with-session/cross-origin";
import { signedIds } from "with-session/signed-ids";

interface Data {
  user?: string;
}

/** Each account adds a cookie to each request. */
const MAX_ACCOUNTS = 4;

/** The program. Its secrets are at least 32 bytes each, the current one first. */
export function accounts(
  secrets: readonly string[],
  options: Pick<SessionOptions<Data>, "store" | "storeTimeout"> = { store: memoryStore() },
): (request: Request) => Promise<Response> {
  const ids = signedIds({ secrets });
  // One manager for each cookie, and one store for all.
  const managers = Array.from(
    { length: MAX_ACCOUNTS },
    (_, account) => new SessionManager<Data>({ ...options, ids, cookie: { name: `__Host-account-${account}` } }),
  );
  const handlers = managers.map((manager, account) =>
    withSession<Data>((request, session) => page(request, session, account), manager),
  );
  return crossOriginProtection(async (request) => {
    const { pathname } = new URL(request.url);
    if (pathname === "/") return await list(request, managers);
    const account = Number(/^\/u\/(\d)\//.exec(pathname)?.[1] ?? MAX_ACCOUNTS);
    return (await handlers[account]?.(request)) ?? new Response("Not found\n", { status: 404 });
  });
}

async function page(request: Request, session: Session<Data>, account: number): Promise<Response> {
  const home = new Response(null, { status: 303, headers: { Location: `/u/${account}/` } });
  if (request.method === "GET") return new Response(`Account ${account}: ${await session.get("user", "nobody")}\n`);
  if (request.url.endsWith("/login")) {
    await session.regenerate({ reauthenticated: true });
    session.set("user", String((await request.formData()).get("user")));
    return home;
  }
  await session.destroy();
  return home;
}

/** The signed-in accounts, for the menu that switches between them. Each session adds its cache headers to the response. */
async function list(request: Request, managers: readonly SessionManager<Data>[]): Promise<Response> {
  const sessions = managers.map((manager) => manager.start(request));
  const users = await Promise.all(sessions.map((session) => session.get("user")));
  let response = Response.json(users.flatMap((user, account) => (user === undefined ? [] : [{ account, user }])));
  for (const [at, manager] of managers.entries()) {
    const session = sessions[at];
    if (session !== undefined) response = await manager.respond(session, response);
  }
  return response;
}
