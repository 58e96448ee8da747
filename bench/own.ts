/**
 * The contenders that need no peer: the bare handler, what one would write by hand for this page alone, and with-session.
 *
 * @module
 */
import { memoryStore, type Session, withSession } from "../mod.ts";
import { keyOfId } from "../src/session_id.ts";
import { cookieStore } from "../src/stores/cookie.ts";
import { type Contender, type Handler, ofFetch, pathOf } from "./contender.ts";

interface Data {
  n: number;
  user: string;
}

/** Those contenders. */
export function ownContenders(): Contender[] {
  const sealed = { store: cookieStore(), secrets: ["a secret of at least 32 bytes, for the benchmark"] };
  const all = [
    ofFetch("bare handler", (request) => new Response(pathOf(request))),
    ofFetch("by hand", byHand()),
    ofFetch("with-session", withSession<Data>(page, { store: memoryStore() })),
    ofFetch("with-session, signed ids", withSession<Data>(page, { store: memoryStore(), secrets: sealed.secrets })),
    ofFetch("with-session, sealed cookie", withSession<Data>(page, sealed)),
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

/** A hashed id (by the library's own hash), expiry and cache headers, and nothing else: no conflicts, no failures, no values but JSON's. */
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
    records.set(keyOfId(id), { text: JSON.stringify(data), expiresAt: Date.now() + DAY * 1000 });
  }

  return (request) => {
    const path = pathOf(request);
    if (path === "/idle") return new Response(path);
    const id = /(?:^|; )sid=([A-Za-z0-9_-]{32})/.exec(request.headers.get("Cookie") ?? "")?.[1];
    const found = id === undefined ? undefined : records.get(keyOfId(id));
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
    if (id !== undefined) records.delete(keyOfId(id));
    return answer(String(data?.n), next);
  };
}

function newId(): string {
  return btoa(String.fromCharCode(...crypto.getRandomValues(new Uint8Array(24))))
    .replaceAll("+", "-")
    .replaceAll("/", "_");
}
