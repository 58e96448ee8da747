import { type Session, withSession } from "with-session";
import { durableObjectStore, type SessionObjectNamespace } from "with-session/stores/durable-object";
import { userSessions } from "with-session/user-sessions";

export { SessionObject } from "with-session/stores/durable-object";

interface Env {
  readonly SESSIONS: SessionObjectNamespace;
}

interface Data {
  visits?: number;
  likes?: number;
  user?: string;
  message?: string;
}

/** Lists the sessions of a user, for the page "Your devices". */
const users = userSessions<{ name: string }>();

async function handle(request: Request, session: Session<Data>, env: Env): Promise<Response> {
  const { pathname } = new URL(request.url);
  switch (`${request.method === "HEAD" ? "GET" : request.method} ${pathname}`) {
    case "GET /": {
      const visits = await session.update("visits", (n = 0) => n + 1);
      return new Response(`Visit ${visits} of ${await session.get("user", "nobody")}\n`);
    }
    case "GET /me":
      return new Response(`You are ${await session.get("user", "nobody")}\n`);
    case "GET /message":
      return new Response(`Message: ${await session.get("message", "none")}\n`);
    case "POST /like":
      return new Response(`Likes ${await session.update("likes", (n = 0) => n + 1)}\n`);
    case "POST /login": {
      const user = String((await request.formData()).get("user"));
      await session.regenerate({ reauthenticated: true });
      await users.bind(session, user, { name: request.headers.get("User-Agent") ?? "A browser" });
      session.set("user", user);
      session.flash("message", `Welcome, ${user}`);
      return redirect("/");
    }
    case "POST /logout":
      await session.destroy();
      return redirect("/");
    case "GET /devices": {
      const user = await session.get("user");
      if (user === undefined) return new Response("Sign in first\n", { status: 401 });
      const own = await users.handle(session);
      const devices = await users.list(user, env);
      return Response.json(
        devices.map(({ handle, metadata: { name } }) => ({ handle, name, isThisOne: handle === own })),
      );
    }
    case "POST /devices": {
      const user = await session.get("user");
      if (user === undefined) return new Response("Sign in first\n", { status: 401 });
      const handle = (await request.formData()).get("handle");
      if (handle === null) await users.revokeAll(user, { except: session }, env);
      // A form can contain any handle, so the handler checks that it is one of the user's own.
      else if ((await users.list(user, env)).some((device) => device.handle === handle))
        await users.revoke(String(handle), env);
      return redirect("/devices");
    }
    case "GET /style.css":
      return new Response("body { font-family: sans-serif }\n", { headers: { "Content-Type": "text/css" } });
    default:
      return new Response("Not found\n", { status: 404 });
  }
}

function redirect(location: string): Response {
  return new Response(null, { status: 303, headers: { Location: location } });
}

export default {
  fetch: withSession<Data, [env: Env]>(handle, {
    store: (env) => durableObjectStore(env.SESSIONS),
    plugins: [users],
  }),
};
