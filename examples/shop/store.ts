/**
 * `SHOP_STORE` names the store, on Node and on Deno.
 *
 * - `file:./sessions`, a folder
 * - `redis://localhost:6379`
 * - `kv:` for the runtime's own Deno KV, `kv:./shop.db` for one in a file (on Node by `@deno/kv`)
 *
 * @module
 */
import { denoKvStore, type DenoKv } from "with-session/stores/deno-kv";
import { fileStore } from "with-session/stores/file";
import { redisStore } from "with-session/stores/redis";
import type { SessionStore } from "with-session";

/** A store, and how to close it. */
export interface OpenStore {
  readonly store: SessionStore;
  close(): void | Promise<void>;
}

/** Opens the store that a name such as `redis://localhost:6379` describes. */
export async function openStore(name: string): Promise<OpenStore> {
  if (/^rediss?:/.test(name)) {
    const { createClient } = await import("redis");
    const client = await createClient({ url: name }).on("error", console.error).connect();
    return { store: redisStore(client), close: () => client.close() };
  }
  const [, kind, path = ""] = /^(file|kv):(.*)$/s.exec(name) ?? [];
  if (kind === "file" && path !== "") return { store: fileStore({ directory: path }), close: () => {} };
  if (kind === "kv") {
    const kv = await openKv(path || undefined);
    return { store: denoKvStore(kv), close: () => kv.close() };
  }
  throw new TypeError(`SHOP_STORE is redis://…, file:FOLDER, kv: or kv:FILE, not ${JSON.stringify(name)}`);
}

async function openKv(path: string | undefined): Promise<DenoKv & { close(): void }> {
  const deno: unknown = Reflect.get(globalThis, "Deno");
  if (typeof deno === "object" && deno !== null && "openKv" in deno && typeof deno.openKv === "function") {
    return await deno.openKv(path);
  }
  const { openKv } = await import("@deno/kv");
  return await openKv(path ?? "");
}
