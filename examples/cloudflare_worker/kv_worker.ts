/**
 * A short version on Workers KV, for values that may be a minute old at another place, such as a page's theme:
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
