/**
 * The shop on Deno: `deno task start`. Sessions are in Deno KV, or where `SHOP_STORE` says; `PORT` is 8787.
 *
 * @module
 */
import { openStore } from "./store.ts";
import { shop } from "./shop.ts";

const { store, close } = await openStore(Deno.env.get("SHOP_STORE") || "kv:");
const port = Number(Deno.env.get("PORT") || 8787);

const server = Deno.serve(
  {
    port,
    hostname: "127.0.0.1",
    onListen: ({ port }) => console.log(`The shop is open at http://localhost:${port}`),
  },
  shop({ store }),
);

for (const signal of ["SIGINT", "SIGTERM"] as const) Deno.addSignalListener(signal, () => void server.shutdown());
await server.finished;
await close();
Deno.exit();
