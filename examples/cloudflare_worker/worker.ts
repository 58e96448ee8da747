/**
 * Login, visits and logout in a Worker. Each session has its own Durable Object. `wrangler deploy` deploys it without
 * changes: `wrangler.jsonc` beside this file names the class and the binding.
 *
 * @module
 */
import { type Session, withSession } from "with-session";
import { crossOriginProtection } from "with-session/cross-origin";
import { durableObjectStore, type SessionObjectNamespace } from "with-session/stores/durable-object";

export { SessionObject } from "with-session/stores/durable-object";

interface Env {
  /** `wrangler types` generates this interface too, with Cloudflare's own types, which are compatible. */
  readonly SESSIONS: SessionObjectNamespace;
}

interface Data {
  user?: string;
  visits?: number;
}

const handler = withSession<Data, [env: Env]>(
  async (request, session) => {
    if (request.method === "POST")
      return new URL(request.url).pathname === "/login" ? await login(request, session) : await logout(session);
    const visits = await session.update("visits", (n = 0) => n + 1);
    return new Response(`Visit ${visits} of ${await session.get("user", "somebody")}\n`);
  },
  { store: (env) => durableObjectStore(env.SESSIONS) },
);

// The form of another site must not sign a user in or out.
export default { fetch: crossOriginProtection(handler) };

async function login(request: Request, session: Session<Data>): Promise<Response> {
  const user = new URLSearchParams(await request.text()).get("user");
  if (!user) return new Response("Who is it?\n", { status: 400 });
  // The visits stay. An id that somebody saw before the login does not work after it.
  await session.regenerate({ reauthenticated: true });
  session.set("user", user);
  return new Response(null, { status: 303, headers: { Location: "/" } });
}

async function logout(session: Session<Data>): Promise<Response> {
  await session.destroy();
  return new Response(null, { status: 303, headers: { Location: "/" } });
}
