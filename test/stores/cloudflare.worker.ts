/** The code that the tests of Cloudflare's stores run inside workerd. */

import { SessionManager } from "../../mod.ts";
import type { SessionStore } from "../../src/core/store.ts";
import { type CloudflareKvNamespace, cloudflareKvStore } from "../../src/stores/cloudflare_kv.ts";
import { durableObjectStore, SessionObject, type SessionObjectNamespace } from "../../src/stores/durable_object.ts";
import { type OpenedStore, storeCases } from "../../src/testing.ts";

export { SessionObject };

/** The object of a session, which can also report what it has stored, and run its alarm on request. */
export class InspectedObject extends SessionObject {
  readonly #storage: InspectedStorage;

  constructor(state: { readonly storage: InspectedStorage }) {
    super(state);
    this.#storage = state.storage;
  }

  override async fetch(request: Request): Promise<Response> {
    if (request.method === "POST") return await super.fetch(request);
    const storage = this.#storage;
    if (request.method === "DELETE") await this.alarm();
    if (request.method === "PUT") storage.kv.put("record", JSON.parse(await request.text()));
    return Response.json({
      rows: Array.from(storage.kv.list({}), ([row]) => row),
      writes: storage.sql.exec("SELECT total_changes() AS writes").toArray()[0]?.["writes"],
      alarm: await storage.getAlarm(),
      tables: storage.sql
        .exec("SELECT name FROM sqlite_master")
        .toArray()
        .map(({ name }) => name),
    });
  }
}

type InspectedStorage = ConstructorParameters<typeof SessionObject>[0]["storage"] & {
  readonly kv: { list(options: object): Iterable<[string, unknown]> };
  readonly sql: { exec(query: string): { toArray(): Record<string, unknown>[] } };
  getAlarm(): Promise<number | null>;
};

interface Env {
  readonly KV: CloudflareKvNamespace & { put(key: string, value: string): Promise<void> };
  readonly SESSIONS: SessionObjectNamespace;
}

interface Exports {
  readonly SessionObject?: SessionObjectNamespace;
}

const opened: Record<string, (env: Env) => OpenedStore> = {
  "kv"({ KV }) {
    // Workers KV rejects a key of more than 512 bytes: a real error of the real engine.
    let excess = "";
    let calls = 0;
    const counted = (key: string): string => (calls++, key + excess);
    const store = cloudflareKvStore({
      get: (key, options) => KV.get(counted(key), options),
      put: (key, value, options) => KV.put(counted(key), value, options),
      delete: (key) => KV.delete(counted(key)),
    });
    return {
      store,
      neighbour: cloudflareKvStore(KV, { prefix: "neighbour:", cacheTtl: 30 }),
      calls: () => calls,
      spoil: (key) => KV.put(`session:${key}`, "somebody else's"),
      fail: () => void (excess = "x".repeat(512)),
    };
  },
  "durable-object"({ SESSIONS }) {
    let isBroken = false;
    let calls = 0;
    const store = durableObjectStore({
      idFromName: (name) => SESSIONS.idFromName(name),
      get: (id) => {
        const object = SESSIONS.get(id);
        return {
          fetch(url, init) {
            calls++;
            return object.fetch(url, isBroken ? { ...init, body: "no JSON" } : init);
          },
        };
      },
    });
    return {
      store,
      neighbour: durableObjectStore(SESSIONS, { prefix: "neighbour:", locationHint: "weur" }),
      calls: () => calls,
      fail: () => void (isBroken = true),
    };
  },
};

export default {
  async fetch(request: Request, env: Env, context: { readonly exports?: Exports }): Promise<Response> {
    const { store, name, updates } = Object.fromEntries(new URL(request.url).searchParams);
    const exported = context.exports?.SessionObject;
    const own = store === "exports" && exported !== undefined ? { ...env, SESSIONS: exported } : env;
    const open = opened[store === "exports" ? "durable-object" : (store ?? "")];
    if (open === undefined) return new Response("Which store?", { status: 404 });
    try {
      if (updates !== undefined) return Response.json(await count(open(own).store, Number(updates)));
      await storeCases()
        .find((each) => each.name === name)
        ?.run(() => open(own));
      return new Response("passed");
    } catch (error) {
      return new Response(String(error));
    }
  },
};

/** The data of a session after this many concurrent updates, each by a Session of its own. */
async function count(store: SessionStore, updates: number): Promise<unknown> {
  const sessions = new SessionManager<Record<string, number>>({ store, storeTimeout: 120 });
  const first = sessions.start(new Request("https://example.com/"));
  first.set("count", 0);
  await first.save();
  const id = await first.id();
  if (id === null) throw new Error("There is no session");
  const update = async (_: unknown, i: number) => {
    const session = sessions.open(id);
    session.set(`own-${i}`, i);
    await session.update("count", (n = 0) => n + 1);
    await session.save();
  };
  await Promise.all(Array.from({ length: updates }, update));
  const last = sessions.open(id);
  return { count: await last.get("count"), keys: await last.size() };
}
