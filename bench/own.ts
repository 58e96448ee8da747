/**
 * The contenders without a peer library: the bare handler, code written by hand for this page, and with-session.
 *
 * @module
 */
import { memoryStore, type Session, type SessionOptions, withSession } from "../mod.ts";
import { cookieSessions } from "../src/cookie_sessions.ts";
import { keyOfId } from "../src/core/store_repository/store_key.ts";
import { encryption } from "../src/encryption.ts";
import { signedIds } from "../src/signed_ids.ts";
import { type Contender, type Handler, ofFetch, pathOf } from "./contender.ts";

interface Data {
  n: number;
  user: string;
}

/** The contenders of this file. */
export function ownContenders(): Contender[] {
  const secrets = ["a secret of at least 32 bytes, for the benchmark"];
  const ours = (name: string, options: SessionOptions<Data>): Contender<Request, Response> =>
    ofFetch(name, withSession<Data>(page, { store: memoryStore(), ...options }));
  const all = [
    ofFetch("bare handler", (request) => new Response(pathOf(request))),
    ofFetch("by hand", byHand()),
    ours("with-session", {}),
    ours("with-session, signed ids", { ids: signedIds({ secrets }) }),
    ours("with-session, encryption", { encryption: encryption() }),
    ours("with-session, cookie sessions", { store: cookieSessions({ secrets }) }),
  ];
  return all as unknown as Contender[];
}

async function page(request: Request, session: Session<Data>): Promise<Response> {
  switch (pathOf(request)) {
    case "/read":
      return new Response(String(await session.get("n")));
    case "/write":
      return new Response(String(await session.update("n", (n = 0) => n + 1)));
    case "/login":
      await session.regenerate();
      session.set("user", "ada");
      return new Response(String(await session.get("n")));
    default:
      return new Response("/idle");
  }
}

const DAY = 86_400;

/**
 * It hashes the id (with the library's own hash), and has expiry and cache headers. It handles no conflicts, no failures and no values
 * beyond JSON.
 */
function byHand(): Handler {
  const records = new Map<string, { text: string; expiresAt: number }>();

  function answer(text: string, newId?: string): Response {
    const response = new Response(text);
    const { headers } = response;
    headers.set("Cache-Control", newId === undefined ? "private" : "no-store");
    if (newId === undefined) headers.set("Vary", "Cookie");
    else headers.append("Set-Cookie", `sid=${newId}; Max-Age=${DAY}; Path=/; Secure; HttpOnly; SameSite=Lax`);
    return response;
  }

  function put(id: string, data: Partial<Data>): void {
    records.set(hashOf(id), { text: JSON.stringify(data), expiresAt: Date.now() + DAY * 1000 });
  }

  return (request) => {
    const path = pathOf(request);
    if (path === "/idle") return new Response(path);
    const id = /(?:^|; )sid=([A-Za-z0-9_-]{32})/.exec(request.headers.get("Cookie") ?? "")?.[1];
    const found = id === undefined ? undefined : records.get(hashOf(id));
    const data: Partial<Data> | undefined =
      found !== undefined && found.expiresAt > Date.now() ? JSON.parse(found.text) : undefined;
    if (path === "/read") return answer(String(data?.n));
    if (path === "/write") {
      const n = (data?.n ?? 0) + 1;
      const own = data === undefined ? newId() : (id ?? "");
      put(own, { ...data, n });
      return answer(String(n), data === undefined ? own : undefined);
    }
    const next = newId();
    put(next, { ...data, user: "ada" });
    if (id !== undefined) records.delete(hashOf(id));
    return answer(String(data?.n), next);
  };
}

/** Every measured runtime has a synchronous hash of the platform. */
export function hashOf(id: string): string {
  const key = keyOfId(id);
  if (typeof key === "string") return key;
  throw new Error("This runtime has no node:crypto");
}

function newId(): string {
  return btoa(String.fromCharCode(...crypto.getRandomValues(new Uint8Array(24))))
    .replaceAll("+", "-")
    .replaceAll("/", "_");
}
