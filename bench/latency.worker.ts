/**
 * Durable Objects, Workers KV and D1 in workerd: with `withSession` at `/<engine>/session/…`, and without the library at
 * `/<engine>/bare/…`.
 */
import { type Session, type SessionStore, withSession } from "../mod.ts";
import { type CloudflareKvNamespace, cloudflareKvStore } from "../src/stores/cloudflare_kv.ts";
import { type D1Client, d1Store } from "../src/stores/d1.ts";
import { durableObjectStore, SessionObject, type SessionObjectNamespace } from "../src/stores/durable_object.ts";
import { answerPage, type LatencyData } from "./latency_page.ts";

export { SessionObject };

/** The part of an object's storage that is used here. */
interface Storage {
  get(key: string): Promise<string | undefined>;
  put(key: string, text: string): Promise<void>;
}

/** The shortest possible object that keeps one text. */
export class BareObject {
  readonly #storage: Storage;

  constructor({ storage }: { readonly storage: Storage }) {
    this.#storage = storage;
  }

  async fetch(request: Request): Promise<Response> {
    const text = await request.text();
    if (text === "") return new Response(await this.#storage.get("text"));
    await this.#storage.put("text", text);
    return new Response(text);
  }
}

interface Kv {
  get(key: string): Promise<string | null>;
  put(key: string, text: string, options: { expirationTtl: number }): Promise<void>;
}

interface Env {
  readonly SESSIONS: SessionObjectNamespace;
  readonly BARE: SessionObjectNamespace;
  readonly KV: CloudflareKvNamespace & Kv;
  readonly DB: D1Client;
}

const DAY = 86_400;

const engines: Readonly<
  Record<
    string,
    {
      readonly store: (env: Env) => SessionStore;
      readonly get: (env: Env, key: string) => Promise<unknown>;
      readonly set: (env: Env, key: string, text: string) => Promise<unknown>;
    }
  >
> = {
  object: {
    store: ({ SESSIONS }) => durableObjectStore(SESSIONS),
    get: async ({ BARE }, key) =>
      await (await BARE.get(BARE.idFromName(key)).fetch("http://bare/", { method: "POST", body: "" })).text(),
    set: async ({ BARE }, key, text) =>
      await (await BARE.get(BARE.idFromName(key)).fetch("http://bare/", { method: "POST", body: text })).text(),
  },
  kv: {
    store: ({ KV }) => cloudflareKvStore(KV),
    get: ({ KV }, key) => KV.get(key),
    set: ({ KV }, key, text) => KV.put(key, text, { expirationTtl: DAY }),
  },
  d1: {
    store: ({ DB }) => d1Store(DB),
    get: ({ DB }, key) => DB.prepare("SELECT value FROM bare WHERE key = ?").bind(key).all(),
    set: ({ DB }, key, text) => DB.prepare("INSERT OR REPLACE INTO bare VALUES (?, ?)").bind(key, text).all(),
  },
};

const handlers = new Map(
  Object.entries(engines).map(([name, { store }]) => [
    name,
    withSession<LatencyData, [env: Env]>(
      (request, session: Session<LatencyData>, _env: Env) => answerPage(request, session),
      {
        store: (env) => store(env),
      },
    ),
  ]),
);

export default {
  async fetch(request: Request, env: Env): Promise<Response> {
    const [, name = "", way, path, key = ""] = new URL(request.url).pathname.split("/");
    const engine = engines[name];
    const handler = handlers.get(name);
    if (engine === undefined || handler === undefined) {
      await env.DB.prepare("CREATE TABLE IF NOT EXISTS bare (key TEXT PRIMARY KEY, value TEXT)").all();
      return new Response("ready");
    }
    if (way === "session") return await handler(request, env);
    await (path === "write" ? engine.set(env, key, await request.text()) : engine.get(env, key));
    return new Response("done");
  },
};
