import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { openKv } from "@deno/kv";
import { Redis } from "@upstash/redis";
import { createClient, RESP_TYPES } from "redis";
import { createStorage } from "unstorage";
import fsDriver from "unstorage/drivers/fs";
import { describe, expect, onTestFinished, test } from "vitest";
import { shop, type ShopOptions } from "../examples/shop/shop.ts";
import type { SessionStore } from "../mod.ts";
import { cookieSessions } from "../src/cookie_sessions.ts";
import { encryption } from "../src/encryption.ts";
import { signedIds } from "../src/signed_ids.ts";
import { type CloudflareKvNamespace, cloudflareKvStore } from "../src/stores/cloudflare_kv.ts";
import { denoKvStore } from "../src/stores/deno_kv.ts";
import { durableObjectStore, type SessionObjectNamespace } from "../src/stores/durable_object.ts";
import { fileStore } from "../src/stores/file.ts";
import { redisStore } from "../src/stores/redis.ts";
import { unstorageStore } from "../src/stores/unstorage.ts";
import { upstashRedisStore } from "../src/stores/upstash_redis.ts";
import { cookieJar } from "../src/testing.ts";
import { startRedis } from "./setup/redis.ts";
import { keyOf, openStore, PATIENCE, SHOP, temporaryDirectory } from "./setup/sessions.ts";
import { startUpstash } from "./setup/upstash.ts";
import { startWorker } from "./setup/workerd.ts";

/** A store, and everything that its engine contains: what a thief of the engine's data sees. */
interface Loot {
  readonly store: SessionStore;
  dump(): Promise<string>;
}

const SECRET = "a secret of at least thirty-two bytes";
const USER = "Ada Lovelace of London";
const PRODUCT = "Quince marmalade";
/** The data that customers have entered, and the keys under which the shop keeps them. */
const DATA = [USER, PRODUCT, "basket", "notice"];
/** A name in the list of devices, which is always encrypted. */
const DEVICE = "Another browser";

/** Every file below a folder with its name and its bytes, including databases and their journals. */
async function filesIn(directory: string): Promise<string> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map(({ parentPath, name }) => join(parentPath, name));
  const texts = await Promise.all(files.map((file) => readFile(file, "latin1")));
  return files.join("\n") + texts.join("\n");
}

/** A Redis, with all keys and values in its own serialization. */
async function openRedis() {
  // Without compression, so that the test can find texts in the dump.
  const server = await startRedis({ args: ["--rdbcompression", "no"] });
  const client = await createClient({ url: server.url }).connect();
  onTestFinished(async () => {
    client.destroy();
    await server.stop();
  });
  const bytes = client.withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer });
  const dump = async (): Promise<string> => {
    let text = "";
    for await (const keys of client.scanIterator()) {
      for (const key of keys) text += `${key} ${(await bytes.dump(key))?.toString("latin1")}\n`;
    }
    return text;
  };
  return { server, client, dump };
}

async function openUpstash() {
  const { server, dump } = await openRedis();
  const { url, token, stop } = await startUpstash(server.url);
  onTestFinished(stop);
  return { redis: new Redis({ url, token }), dump };
}

const worker = new URL("stores/cloudflare.worker.ts", import.meta.url);

const places: Record<string, () => Promise<Loot>> = {
  async "memory"() {
    const { store, records } = openStore();
    return { store, dump: async () => JSON.stringify([...records].map(([key, { fields }]) => [key, ...fields])) };
  },
  async "files"() {
    const directory = await temporaryDirectory();
    return { store: fileStore({ directory }), dump: () => filesIn(directory) };
  },
  async "Deno KV"() {
    const directory = await temporaryDirectory();
    const kv = await openKv(join(directory, "shop.db"));
    onTestFinished(() => kv.close());
    return { store: denoKvStore(kv), dump: () => filesIn(directory) };
  },
  async "Workers KV"() {
    const directory = await temporaryDirectory();
    const miniflare = await startWorker(worker, { kvNamespaces: ["KV"], kvPersist: directory });
    onTestFinished(() => miniflare.dispose());
    const { KV } = await miniflare.getBindings<{ KV: CloudflareKvNamespace }>();
    return { store: cloudflareKvStore(KV), dump: () => filesIn(directory) };
  },
  async "Durable Objects"() {
    const directory = await temporaryDirectory();
    const miniflare = await startWorker(worker, {
      durableObjects: { SESSIONS: { className: "SessionObject", useSQLite: true } },
      durableObjectsPersist: directory,
    });
    onTestFinished(() => miniflare.dispose());
    const { SESSIONS } = await miniflare.getBindings<{ SESSIONS: SessionObjectNamespace }>();
    return { store: durableObjectStore(SESSIONS), dump: () => filesIn(directory) };
  },
  async "Redis"() {
    const { client, dump } = await openRedis();
    return { store: redisStore(client), dump };
  },
  async "Redis hashes"() {
    const { client, dump } = await openRedis();
    return { store: redisStore(client, { layout: "hash" }), dump };
  },
  async "Upstash"() {
    const { redis, dump } = await openUpstash();
    return { store: upstashRedisStore(redis), dump };
  },
  async "Upstash hashes"() {
    const { redis, dump } = await openUpstash();
    return { store: upstashRedisStore(redis, { layout: "hash" }), dump };
  },
  async "unstorage"() {
    const base = await temporaryDirectory();
    return { store: unstorageStore(createStorage({ driver: fsDriver({ base }) })), dump: () => filesIn(base) };
  },
};

/** Two customers use every part of the shop, one with cookies and one without. Returns the ids that they received. */
async function visitShop(options: ShopOptions, dump: () => Promise<string>): Promise<{ ids: string[]; dumps: string }> {
  const handle = shop({ storeTimeout: PATIENCE, ...options });
  const jar = cookieJar();
  let header = "";
  const ids = new Set<string>();
  let dumps = "";
  const hear = async (id: string | undefined): Promise<void> => {
    if (id) ids.add(id).add(id.split(".")[0]!);
    dumps += await dump();
  };
  const browse = async (path: string, form?: Record<string, string>): Promise<void> => {
    const body = form && { method: "POST", body: new URLSearchParams(form) };
    const response = await jar.fetch(handle, new URL(path, SHOP), {
      headers: { Origin: new URL(SHOP).origin },
      ...body,
    });
    expect(response.status).toBe(form === undefined ? 200 : 303);
    if (path === "/api/devices" && "load" in options.store) expect(await response.text()).toContain(DEVICE);
    // Cookies with "~" in their name are companions of the session's cookie, which hold recent writes.
    await hear(jar.cookies().find(({ name }) => !name.includes("~"))?.value);
  };
  const call = async (method: string, path: string, json?: object): Promise<void> => {
    const headers = { "X-Session-Id": header, "Content-Type": "application/json" };
    const body = json && { body: JSON.stringify(json) };
    const response = await handle(new Request(new URL(path, SHOP), { method, headers, ...body }));
    expect(response.status).toBe(200);
    header = response.headers.get("X-Session-Id") ?? header;
    await hear(header);
  };
  await browse("/basket", { product: PRODUCT, quantity: "2" });
  await browse("/");
  await browse("/login", { user: USER });
  await browse("/api/session");
  await browse("/api/devices");
  await browse("/api/basket");
  await call("POST", "/api/session", {});
  await call("POST", "/api/basket", { product: PRODUCT });
  await call("POST", "/api/login", { user: USER });
  await call("GET", "/api/basket");
  if ("load" in options.store) await call("POST", "/api/devices/end-others", {});
  await call("DELETE", "/api/basket");
  await call("POST", "/api/logout", {});
  await browse("/basket/empty", {});
  await browse("/logout", {});
  return { ids: [...ids], dumps };
}

/** The forms in which an id could be stored: as it is, and in the usual encodings of its bytes. */
const writingsOf = (id: string): string[] => [
  id,
  Buffer.from(id).toString("hex"),
  // Six groups of three bytes, from each of the three possible offsets. Bytes after a group do not change its base64.
  ...[0, 1, 2].map((from) => Buffer.from(id.slice(from, from + 18)).toString("base64")),
];

const ids = signedIds({ secrets: [SECRET] });
const ways: Record<string, Omit<ShopOptions, "store">> = {
  "as it is": {},
  "with signed ids": { ids },
  "encrypted": { encryption: encryption() },
  "encrypted with a secret, with signed ids": { encryption: encryption({ secrets: [SECRET] }), ids },
};

describe.each(Object.entries(places))("a dump of %s after a full run of the shop", (_name, open) => {
  test.each(Object.entries(ways))(
    "[ASVS 11.4.1] [NIST 5.1] holds no id, and no data if encrypted: %s",
    async (_way, options) => {
      const { store, dump } = await open();
      const { ids, dumps } = await visitShop({ ...options, store }, dump);
      expect(ids.length).toBeGreaterThanOrEqual(4);
      expect(ids.filter((id) => writingsOf(id).some((writing) => dumps.includes(writing)))).toEqual([]);
      expect(dumps).not.toContain(SECRET);
      expect(DATA.filter((text) => dumps.includes(text))).toEqual(options.encryption ? [] : DATA);
      expect(dumps).not.toContain(DEVICE);
      // The test searches the right dump: the head of a record, which is never sealed, contains half of its key.
      for (const id of ids.filter((id) => !id.includes("."))) expect(dumps).toContain(keyOf(id).slice(0, 16));
    },
  );
});

test("[ASVS 14.3.3] a dump of the revocations of cookieSessions() holds neither session nor data after a full run of the shop", async () => {
  const directory = await temporaryDirectory();
  const store = cookieSessions({ secrets: [SECRET], revocation: fileStore({ directory }) });
  const { ids, dumps } = await visitShop({ store }, () => filesIn(directory));
  expect([...ids, ...DATA, DEVICE, SECRET].filter((text) => text === "" || dumps.includes(text))).toEqual([]);
  // The logins and logouts were recorded, so the dump is not empty.
  expect(dumps).toContain("successor");
});
