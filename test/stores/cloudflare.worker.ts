/** What the tests of Cloudflare's stores run inside workerd. */

import type { Session } from "../../src/session.ts";
import { SessionManager } from "../../src/session_manager.ts";
import type { SessionStore } from "../../src/store.ts";
import { type CloudflareKvNamespace, cloudflareKvStore } from "../../src/stores/cloudflare_kv.ts";
import { durableObjectStore, SessionObject, type SessionObjectNamespace } from "../../src/stores/durable_object.ts";
import { cookieJar, type OpenedStore, storeCases } from "../../src/testing.ts";
import { withSession } from "../../src/with_session.ts";

export { SessionObject };

/** A session's object that also tells what it has stored. */
export class InspectedObject extends SessionObject {
  readonly #storage: InspectedStorage;

  constructor(state: { readonly storage: InspectedStorage }) {
    super(state);
    this.#storage = state.storage;
  }

  override async fetch(request: Request): Promise<Response> {
    if (request.method !== "GET") return await super.fetch(request);
    const storage = this.#storage;
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
  readonly KV: CloudflareKvNamespace;
  readonly SESSIONS: SessionObjectNamespace;
}

const opened: Record<string, (env: Env) => OpenedStore> = {
  "kv"({ KV }) {
    // Workers KV refuses a key over 512 bytes: a real error of the real engine.
    let excess = "";
    const store = cloudflareKvStore({
      get: (key, type) => KV.get(key + excess, type),
      put: (key, value, options) => KV.put(key + excess, value, options),
    });
    const neighbour = cloudflareKvStore(KV, { prefix: "neighbour:" });
    return { store, neighbour, fail: () => void (excess = "x".repeat(512)) };
  },
  "durable-object"({ SESSIONS }) {
    let broken = false;
    const store = durableObjectStore({
      idFromName: (name) => SESSIONS.idFromName(name),
      get: (id) => {
        const object = SESSIONS.get(id);
        return { fetch: (url, init) => object.fetch(url, broken ? { ...init, body: "no JSON" } : init) };
      },
    });
    return { store, fail: () => void (broken = true) };
  },
};

export default {
  async fetch(request: Request, env: Env): Promise<Response> {
    const { store, name, updates } = Object.fromEntries(new URL(request.url).searchParams);
    const open = opened[store ?? ""];
    if (open === undefined) return new Response("Which store?", { status: 404 });
    if (name === "hops") return Response.json(await hop(env.KV));
    try {
      if (updates !== undefined) return Response.json(await count(open(env).store, Number(updates)));
      await storeCases()
        .find((each) => each.name === name)
        ?.run(() => open(env));
      return new Response("passed");
    } catch (error) {
      return new Response(String(error));
    }
  },
};

/** What a browser sees in a place that goes by what it has read before, after each of its requests to another one. */
async function hop(kv: CloudflareKvNamespace): Promise<unknown[]> {
  const read = new Map<string, string | null>();
  const stale: CloudflareKvNamespace = {
    async get(key, type) {
      const text = read.has(key) ? (read.get(key) ?? null) : await kv.get(key, type);
      read.set(key, text);
      return text;
    },
    put: (...args) => kv.put(...args),
  };
  const secrets = ["a secret of at least thirty-two bytes"];
  const jar = cookieJar();
  const visit = async (place: CloudflareKvNamespace, use: (session: Session) => unknown): Promise<unknown> => {
    const store = cloudflareKvStore(place);
    const answer = withSession(async (_request, session) => Response.json((await use(session)) ?? null), {
      store,
      secrets,
    });
    return await (await jar.fetch(answer, "https://shop.example/")).json();
  };
  const seen: unknown[] = [];
  for (const use of [
    (session: Session) => session.set("n", 1),
    (session: Session) => session.set("n", 2),
    (session: Session) => session.delete("n"),
    (session: Session) => session.set("n", 3),
    (session: Session) => session.regenerate(),
    (session: Session) => session.destroy(),
  ]) {
    await visit(kv, use);
    seen.push(await visit(stale, (session) => session.get("n")));
  }
  return seen;
}

/** What a session holds after so many updates at once, each by a Session of its own. */
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
