import { type SessionHandler, withSession } from "../../mod.ts";
import { cookieSessions } from "../../src/cookie_sessions.ts";
import { readYourWrites } from "../../src/read_your_writes.ts";
import { type CloudflareKvNamespace, cloudflareKvStore } from "../../src/stores/cloudflare_kv.ts";

interface Env {
  readonly KV: CloudflareKvNamespace;
  readonly SECRET: string;
}
interface Data {
  visits: number;
}

const secrets = (env: Env): string[] => [env.SECRET];

const visit: SessionHandler<Data, [Env]> = async (request, session) => {
  const { pathname } = new URL(request.url);
  if (pathname.endsWith("/login")) await session.regenerate();
  if (pathname.endsWith("/logout")) await session.destroy();
  else if (!pathname.endsWith("/look")) await session.update("visits", (n = 0) => n + 1);
  return Response.json({ visits: await session.get("visits"), ended: (await session.info()).ended });
};

const stored = withSession<Data, [Env]>(visit, {
  store: (env) => cloudflareKvStore(env.KV),
  plugins: [readYourWrites({ secrets })],
});
const sealed = withSession<Data, [Env]>(visit, {
  store: cookieSessions({ secrets, revocation: (env: Env) => cloudflareKvStore(env.KV, { prefix: "revoked:" }) }),
});

export default {
  fetch: (request: Request, env: Env): Promise<Response> =>
    new URL(request.url).pathname.startsWith("/sealed") ? sealed(request, env) : stored(request, env),
};
