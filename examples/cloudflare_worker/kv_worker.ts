/**
 * The same in few lines on Workers KV, for what may be a minute old elsewhere, such as how somebody likes a page:
 * `/?theme=dark` is remembered. `wrangler deploy --config kv_wrangler.jsonc` deploys it.
 *
 * @module
 */
import { withSession } from "with-session";
import { type CloudflareKvNamespace, cloudflareKvStore } from "with-session/stores/cloudflare-kv";

interface Env {
  readonly SESSIONS: CloudflareKvNamespace;
}

export default {
  fetch: withSession<{ theme?: string }, [env: Env]>(
    async (request, session) => {
      const theme = new URL(request.url).searchParams.get("theme");
      if (theme === "dark" || theme === "light") session.set("theme", theme);
      return new Response(`The page is ${await session.get("theme", "light")}.\n`);
    },
    { store: (env) => cloudflareKvStore(env.SESSIONS) },
  ),
};
