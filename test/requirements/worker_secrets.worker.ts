/** A Worker that gets its secret, store and limits from `env`, and stores after the response with `ctx.waitUntil`. */
import { withSession } from "../../mod.ts";
import { encryption } from "../../src/encryption.ts";
import { signedIds } from "../../src/signed_ids.ts";
import { durableObjectStore, SessionObject, type SessionObjectNamespace } from "../../src/stores/durable_object.ts";
import { userSessions } from "../../src/user_sessions.ts";

export { SessionObject };

interface Env {
  readonly SECRET: string;
  readonly LIMIT: number;
  readonly SESSIONS: SessionObjectNamespace;
}

const secrets = (env: Env): string[] => [env.SECRET];
const users = userSessions({ limit: (_user, env) => (env as Env).LIMIT });

interface Data {
  user?: string;
  path?: string;
}

export default {
  fetch: withSession<Data, [env: Env, ctx: { waitUntil(task: Promise<unknown>): void }]>(
    async (request, session) => {
      const { pathname } = new URL(request.url);
      if (pathname === "/login") {
        await users.bind(session, "ada");
        session.set("user", "ada");
      }
      const { user = "nobody", path = "nowhere" } = await session.all();
      session.set("path", pathname);
      return new Response(`${user} comes from ${path}, ${(await session.info()).ended}`);
    },
    {
      store: (env) => durableObjectStore(env.SESSIONS),
      ids: signedIds({ secrets }),
      encryption: encryption({ secrets }),
      cookie: (request) => ({ name: `__Host-${new URL(request.url).hostname.split(".")[0]}` }),
      plugins: [users],
      persist: "after-response",
    },
  ),
};
