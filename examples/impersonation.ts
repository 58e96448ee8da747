/**
 * Acting as another user: support staff see the shop as a customer does.
 *
 * - The session keeps the user who signed in, and adds the customer. It stays bound to the user who signed in, so revoking that user's
 *   sessions ends it.
 * - The user's rights change at the beginning and at the end, so the id changes too.
 * - It requires a login within the last five minutes, and ends by itself after 15 minutes.
 * - Each action is logged with both names.
 *
 * @module
 */
import { isFresh, type Session, SessionManager, type SessionOptions, withSession } from "with-session";
import { crossOriginProtection } from "with-session/cross-origin";
import { type UserSessions, userSessions } from "with-session/user-sessions";

interface Data {
  user?: string;
  actingFor?: string;
}

const STAFF: ReadonlySet<string> = new Set(["sue"]);
const FRESH = 300;
const MAX_TTL = 900;

/** The program. It needs a store that all servers share. The test sets the clock and the time limit of the store. */
export function support(options: Pick<SessionOptions<Data>, "store" | "storeTimeout" | "now"> = {}): {
  readonly fetch: (request: Request) => Promise<Response>;
  readonly users: UserSessions;
  readonly log: readonly string[];
} {
  const users = userSessions();
  const log: string[] = [];
  const sessions = new SessionManager<Data>({ ...options, plugins: [users] });

  async function login(session: Session<Data>, user: string): Promise<Response> {
    session.delete("actingFor");
    await session.regenerate({ reauthenticated: true });
    session.set("user", user);
    await users.bind(session, user);
    return done();
  }

  async function act(session: Session<Data>, customer: string): Promise<Response> {
    const { user } = await whoIs(session);
    // A user who acts as a customer has only that customer's rights. Here the user who signed in counts.
    if (user === undefined || !STAFF.has(user)) return new Response("Staff only\n", { status: 403 });
    // Staff cannot act as a colleague, who may have more rights.
    if (STAFF.has(customer)) return new Response("Customers only\n", { status: 403 });
    if (!(await isFresh(session, FRESH))) return new Response("Please sign in again\n", { status: 401 });
    await session.regenerate();
    session.set("actingFor", customer, { ttl: MAX_TTL });
    log.push(`${user} begins to act for ${customer}`);
    return done();
  }

  async function stop(session: Session<Data>): Promise<Response> {
    const { user, actingFor } = await whoIs(session);
    await session.regenerate();
    session.delete("actingFor");
    if (actingFor !== undefined) log.push(`${user} stops to act for ${actingFor}`);
    return done();
  }

  async function order(session: Session<Data>): Promise<Response> {
    const { user, actingFor } = await whoIs(session);
    if (user === undefined) return new Response("Please sign in\n", { status: 401 });
    log.push(actingFor === undefined ? `${user} orders` : `${user} orders for ${actingFor}`);
    return done();
  }

  const handler = withSession<Data>(async (request, session) => {
    const { pathname } = new URL(request.url);
    if (request.method === "GET") {
      const { user, actingFor } = await whoIs(session);
      return Response.json({ user: user ?? null, actingFor: actingFor ?? null });
    }
    if (pathname === "/login") return await login(session, await field(request, "user"));
    if (pathname === "/act") return await act(session, await field(request, "customer"));
    if (pathname === "/stop") return await stop(session);
    return await order(session);
  }, sessions);
  // The form of another site must not sign a user in or cause an action.
  return { fetch: crossOriginProtection(handler), users, log };
}

async function whoIs(session: Session<Data>): Promise<{ user: string | undefined; actingFor: string | undefined }> {
  return { user: await session.get("user"), actingFor: await session.get("actingFor") };
}

async function field(request: Request, name: string): Promise<string> {
  return String((await request.formData()).get(name));
}

function done(): Response {
  return new Response(null, { status: 303, headers: { Location: "/" } });
}

export default { fetch: support().fetch };
