/**
 * The portable suite in workerd, the runtime of Cloudflare's Workers. The arguments are the compatibility date and flags.
 *
 * @module
 */
import { Miniflare } from "miniflare";
import { bundle } from "./bundle.ts";

const [compatibilityDate = "", ...compatibilityFlags] = process.argv.slice(2);
const workerd = new Miniflare({
  modules: true,
  script: await bundle("worker.ts", { format: "esm" }),
  compatibilityDate,
  compatibilityFlags,
  kvNamespaces: ["KV"],
  durableObjects: { SESSIONS: { className: "SessionObject", useSQLite: true } },
});
const response = await workerd.dispatchFetch("https://shop.example/");
console.log(await response.text());
await workerd.dispose();
