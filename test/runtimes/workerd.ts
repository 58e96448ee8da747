/**
 * The portable suite in workerd, the runtime of Cloudflare's Workers. The arguments are compatibility flags.
 *
 * @module
 */
import { Miniflare } from "miniflare";
import { bundle } from "./bundle.ts";

const workerd = new Miniflare({
  modules: true,
  script: await bundle("worker.ts", { format: "esm" }),
  compatibilityDate: "2026-01-01",
  compatibilityFlags: process.argv.slice(2),
  kvNamespaces: ["KV"],
  durableObjects: { SESSIONS: { className: "SessionObject", useSQLite: true } },
});
const response = await workerd.dispatchFetch("https://shop.example/");
console.log(await response.text());
await workerd.dispose();
