/**
 * The client of `dpop()`: a `fetch` that keeps a session id and a key, and signs each request (RFC 9449). It runs in browsers, Node, Deno and Bun, and
 * needs nothing else of this package.
 *
 * @module
 */
import { calculateJwkThumbprint, exportJWK, SignJWT } from "jose";
import { assertKnown } from "./core/known_options.ts";
import { type DpopKeyPair, type DpopState, type DpopStorage, memoryStorage } from "./dpop/client_state.ts";
import { findIndexedDb, indexedDbStorage, inTurn } from "./dpop/indexed_db.ts";
import { hashOfToken } from "./dpop/token_hash.ts";

export type { DpopKeyPair, DpopState, DpopStorage } from "./dpop/client_state.ts";

/** Options of {@linkcode dpopClient}. All are optional. */
export interface DpopClientOptions {
  /** The header that carries the id: the same value as the server's option `header`. @default {"X-Session-Id"} */
  readonly header?: string | { readonly name: string; readonly scheme?: "Bearer" | undefined } | undefined;
  /** Where key and id are kept. @default IndexedDB where the runtime has it, otherwise memory */
  readonly storage?: DpopStorage | undefined;
  /** The function that sends a request. @default {fetch} */
  readonly fetch?: ((request: Request) => Promise<Response>) | undefined;
  /** The clock, in epoch milliseconds. The server does not rely on it. @default {Date.now} */
  readonly now?: (() => number) | undefined;
}

/** A client of one server. */
export interface DpopClient {
  /**
   * Sends a request with the session's id and a proof, and keeps the id of the response. A relative address refers to
   * the server. A request to another origin is sent unchanged, without id and proof.
   *
   * - Redirects are not followed, because the id would be sent to any address that they name.
   * - While there is no session, the first request begins it, and the others wait for its response. The `signal` of a
   *   request that waits ends its wait.
   * - Cookies are not sent unless `credentials` is given, because the server prefers a session cookie to the header.
   */
  fetch(input: Request | URL | string, init?: RequestInit): Promise<Response>;
  /** The thumbprint of the public key (RFC 7638), for `dpop.bind` on the server. */
  thumbprint(): Promise<string>;
  /** Removes id and key from the storage. */
  forget(): Promise<void>;
}

const OPTIONS = ["header", "storage", "fetch", "now"];

/**
 * Makes a client for one server.
 *
 * @param origin The origin of the server, such as `https://api.example.com`
 * @param options Header, storage, fetch, clock
 * @returns The client. It makes a key with its first request, unless the storage has one
 * @throws {TypeError} If `origin` is not an origin, or an option is unknown or of the wrong kind
 *
 * @example
 * ```ts
 * import { dpopClient } from "with-session/dpop-client";
 *
 * const api = dpopClient("https://api.example.com");
 *
 * export async function addToBasket(item: string): Promise<number> {
 *   const response = await api.fetch("/basket", { method: "POST", body: JSON.stringify({ item }) });
 *   return response.status;
 * }
 * ```
 */
export function dpopClient(origin: string | URL, options: DpopClientOptions = {}): DpopClient {
  assertKnown(options, OPTIONS, "dpopClient");
  const base = originOf(origin);
  const { header = "X-Session-Id", now = () => Date.now() } = options;
  assertOptions(options);
  const { name, scheme } = typeof header === "string" ? { name: header, scheme: undefined } : header;
  const prefix = scheme === undefined ? "" : `${scheme} `;
  const send = options.fetch ?? ((request: Request): Promise<Response> => fetch(request));
  const factory = options.storage === undefined ? findIndexedDb() : null;
  const place = `${base} ${name}`;
  const storage = options.storage ?? (factory === null ? memoryStorage() : indexedDbStorage(factory, place));
  /** Lets the pages that share the database take turns. Otherwise each of them would begin a session, and the last one would replace the others. */
  const alone = <Result>(run: () => Promise<Result>): Promise<Result> =>
    factory === null ? run() : inTurn(`with-session-dpop ${place}`, run);
  /** The newest nonce, with the id of the session that it belongs to. Other sessions reject it. */
  let known: { readonly nonce: string; readonly id: string } | undefined;
  /** The number of calls of `forget`. The response to a request that began before the last call is ignored. */
  let forgotten = 0;
  let making: Promise<DpopState> | undefined;
  let beginning: Promise<unknown> = Promise.resolve();

  const make = async (): Promise<DpopState> => {
    const made = { keys: await createKeys(), id: null };
    await storage.save(made);
    return made;
  };

  const state = async (): Promise<DpopState> =>
    (await storage.load()) ?? (await (making ??= make().finally(() => (making = undefined))));

  const signed = async (request: Request, { keys, id }: DpopState): Promise<Request> => {
    const nonce = known?.id === id ? known.nonce : undefined;
    request.headers.set(name, id === null ? "" : prefix + id);
    request.headers.set("DPoP", await proof(request, keys, id, nonce, now()));
    return request;
  };

  const learn = async (response: Response, { keys, id }: DpopState, since: number): Promise<void> => {
    if (since !== forgotten) return;
    const sent = response.headers.get(name);
    const next = sent === null ? id : sent.slice(prefix.length).trim() || null;
    const nonce = response.headers.get("DPoP-Nonce") ?? (known?.id === id ? known.nonce : undefined);
    if (next !== null && nonce !== undefined) known = { nonce, id: next };
    if (next === id) return;
    const kept = await storage.load();
    // Another page has called `forget`; or the session has a newer id by now, and only the older id has ended.
    if (since !== forgotten || kept === undefined || (next === null && kept.id !== id)) return;
    await storage.save({ keys, id: next });
  };

  /** `since` is the number of calls of `forget` before the state was loaded. */
  const exchange = async (request: Request, since: number, current: DpopState): Promise<Response> => {
    const response = await send(await signed(request.clone(), current));
    await learn(response, current, since);
    if (response.status !== 401 || !asksForNonce(response)) return response;
    await response.body?.cancel();
    const again = await send(await signed(request, current));
    await learn(again, current, since);
    return again;
  };

  return {
    async fetch(input, init) {
      const target = typeof input === "object" && "url" in input ? input : new URL(input, base);
      const request = new Request(target, init);
      if (new URL(request.url).origin !== base) return await send(request);
      // Workers have no credentials.
      const credentials = "credentials" in request ? { credentials: init?.credentials ?? "omit" } : {};
      const own = new Request(request, { ...credentials, redirect: "manual" });
      const since = forgotten;
      const current = await storage.load();
      if (current !== undefined && current.id !== null) return await exchange(own, since, current);
      // If several first requests run at once, one begins the session and the others continue it.
      const turn = beginning.then(() =>
        alone(async () => {
          own.signal.throwIfAborted();
          return await exchange(own, forgotten, await state());
        }),
      );
      beginning = turn.catch(() => {});
      return await orAborted(turn, own.signal);
    },
    async thumbprint() {
      // The function `fetch` of the options may ask for it during the first request, which must not wait for itself.
      const { keys } = (await storage.load()) ?? (await alone(state));
      return await calculateJwkThumbprint(await exportJWK(keys.publicKey));
    },
    async forget() {
      forgotten++;
      known = undefined;
      await storage.save(undefined);
    },
  };
}

/** Waits for a promise until the signal aborts. Then it rejects with the reason of the signal, as `fetch` does. */
function orAborted<Result>(waiting: Promise<Result>, signal: AbortSignal): Promise<Result> {
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(signal.reason);
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort);
    waiting.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}

function assertOptions({ header = "x", storage, fetch, now }: DpopClientOptions): void {
  const { name, scheme = "Bearer" } = typeof header === "string" ? { name: header } : Object(header);
  if (typeof name !== "string" || !/^[\w-]+$/.test(name) || scheme !== "Bearer")
    throw new TypeError('dpopClient: header must be the name of a header, or { name, scheme: "Bearer" }');
  const isFunction = (value: unknown): boolean => value === undefined || typeof value === "function";
  if (!isFunction(fetch) || !isFunction(now)) throw new TypeError("dpopClient: fetch and now must be functions");
  const { load, save } = Object(storage);
  if (storage !== undefined && (typeof load !== "function" || typeof save !== "function"))
    throw new TypeError("dpopClient: storage must have load and save");
}

/** RFC 9449, 4.2. */
async function proof(
  { method, url }: Request,
  { privateKey, publicKey }: DpopKeyPair,
  id: string | null,
  nonce: string | undefined,
  now: number,
): Promise<string> {
  const claims = {
    jti: crypto.randomUUID(),
    htm: method,
    htu: url.replace(/[?#].*$/s, ""),
    ...(id === null ? {} : { ath: await hashOfToken(id) }),
    ...(nonce === undefined ? {} : { nonce }),
  };
  const { kty = "", crv = "", x = "", y = "" } = await exportJWK(publicKey);
  return await new SignJWT(claims)
    .setProtectedHeader({ alg: "ES256", typ: "dpop+jwt", jwk: { kty, crv, x, y } })
    .setIssuedAt(Math.floor(now / 1000))
    .sign(privateKey);
}

/** Whether the server refused the request only because of its nonce, and sent a new one (RFC 9449, 9). */
function asksForNonce({ headers }: Response): boolean {
  return headers.has("DPoP-Nonce") && headers.get("WWW-Authenticate")?.includes("use_dpop_nonce") === true;
}

async function createKeys(): Promise<DpopKeyPair> {
  return await crypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, false, ["sign", "verify"]);
}

function originOf(given: string | URL): string {
  const text = String(given);
  const origin = URL.canParse(text) ? new URL(text).origin : "null";
  if (origin !== "null" && (text === origin || text === `${origin}/`)) return origin;
  throw new TypeError("dpopClient takes the origin of a server, such as https://api.example.com");
}
