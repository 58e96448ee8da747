/**
 * The browser's side of Device Bound Session Credentials, modelled on the observed behaviour of Chromium, for tests of the
 * server's side.
 *
 * @module
 */
import { CompactSign, exportJWK, generateKeyPair, type JWK } from "jose";
import { type CookieJar, cookieJar, type JarRequestInit } from "../../src/testing/cookie_jar.ts";

type Handler = (request: Request) => Promise<Response>;

/** What a server has told the browser about a session. */
export interface KnownSession {
  readonly id: string;
  readonly refreshUrl: string;
  readonly cookie: string;
  readonly attributes: string;
  readonly config: Record<string, unknown>;
}

/** A key pair of a browser. */
export interface DeviceKey {
  readonly algorithm: string;
  readonly privateKey: Parameters<CompactSign["sign"]>[0];
  readonly jwk: JWK;
}

/** Makes a key pair. */
export async function deviceKey(algorithm = "ES256"): Promise<DeviceKey> {
  const { privateKey, publicKey } = await generateKeyPair(algorithm, { extractable: true });
  return { algorithm, privateKey, jwk: await exportJWK(publicKey) };
}

/** Signs the proof of a registration, which contains the key, or of a refresh, which does not. */
export async function sign(
  key: DeviceKey,
  claims: object,
  { header = {}, carriesKey = false }: { readonly header?: object; readonly carriesKey?: boolean } = {},
): Promise<string> {
  const full = { alg: key.algorithm, typ: "dbsc+jwt", ...(carriesKey ? { jwk: key.jwk } : {}), ...header };
  return await new CompactSign(new TextEncoder().encode(JSON.stringify(claims)))
    .setProtectedHeader(full)
    .sign(key.privateKey);
}

export const ORIGIN = "https://shop.example";

/** A browser that binds the sessions of one origin. */
export class Browser {
  readonly jar: CookieJar;
  /** The sessions that it knows, by their id. */
  readonly sessions: Map<string, KnownSession> = new Map();
  readonly challenges: Map<string, string> = new Map();
  /** The key that was registered for each of them. */
  readonly registered: Map<string, DeviceKey> = new Map();
  readonly requests: string[] = [];
  /** Whether it binds sessions at all. */
  isCapable = true;
  key: DeviceKey;
  signatures = 0;
  readonly #handler: Handler;

  constructor(handler: Handler, key: DeviceKey, now: () => number) {
    this.#handler = handler;
    this.key = key;
    this.jar = cookieJar({ now });
  }

  /** The value of the cookie whose name has this end. */
  cookie(end: string): string | undefined {
    return this.jar.cookies().find(({ name }) => name.endsWith(end))?.value;
  }

  /** Loads an address of the origin, and registers or refreshes as a browser would. */
  async fetch(path: string, init: JarRequestInit = {}): Promise<Response> {
    const headers = new Headers(init.headers);
    for (const session of this.sessions.values()) {
      if (this.cookie(session.cookie) !== undefined) continue;
      const skipped = await this.refresh(session);
      if (skipped !== undefined) headers.set("Secure-Session-Skipped", `${skipped};session_identifier="${session.id}"`);
    }
    const response = await this.send(path, { ...init, headers });
    const offer = response.headers.get("Secure-Session-Registration");
    if (offer !== null && this.isCapable) await this.register(offer);
    return response;
  }

  /** Sends one request, without any other. */
  async send(path: string, init: JarRequestInit = {}): Promise<Response> {
    this.requests.push(`${init.method ?? "GET"} ${path}`);
    const response = await this.jar.fetch(this.#handler, new URL(path, ORIGIN), init);
    for (const [, challenge = "", id = ""] of (response.headers.get("Secure-Session-Challenge") ?? "").matchAll(
      /"([^"]*)";id="([^"]*)"/g,
    ))
      this.challenges.set(id, challenge);
    return response;
  }

  /** The key for a registration, or for a session that the browser knows. */
  keyFor(_session: KnownSession | null): DeviceKey {
    return this.key;
  }

  async register(offer: string): Promise<Response> {
    const { path = "", challenge = "" } =
      /path="(?<path>[^"]*)";challenge="(?<challenge>[^"]*)"/.exec(offer)?.groups ?? {};
    this.signatures++;
    const key = this.keyFor(null);
    const proof = await sign(key, { jti: challenge }, { carriesKey: true });
    const response = await this.send(path, { method: "POST", headers: { "Secure-Session-Response": proof } });
    if (response.status === 200) this.#learn(path, JSON.parse(await response.clone().text()), key);
    return response;
  }

  #learn(path: string, config: Record<string, unknown>, key: DeviceKey): void {
    const [credential] = config["credentials"] as { name: string; attributes: string }[];
    const id = String(config["session_identifier"]);
    this.registered.set(id, key);
    this.sessions.set(id, {
      id,
      refreshUrl: new URL(String(config["refresh_url"]), new URL(path, ORIGIN)).pathname,
      cookie: credential?.name ?? "",
      attributes: credential?.attributes ?? "",
      config,
    });
  }

  /** Refreshes a session. Returns why the browser skips the refresh, or undefined. */
  async refresh(session: KnownSession): Promise<string | undefined> {
    for (let round = 0; round < 2; round++) {
      const challenge = this.challenges.get(session.id);
      this.challenges.delete(session.id);
      const headers = new Headers({ "Sec-Secure-Session-Id": session.id });
      if (challenge !== undefined) {
        this.signatures++;
        headers.set("Secure-Session-Response", await sign(this.keyFor(session), { jti: challenge }));
      }
      const response = await this.send(session.refreshUrl, { method: "POST", headers });
      if (response.status >= 500) {
        if (challenge !== undefined) this.challenges.set(session.id, challenge);
        return "server_error";
      }
      if (response.status === 403 && this.challenges.has(session.id)) continue;
      const text = await response.text();
      if (!response.ok || (text !== "" && JSON.parse(text).continue === false)) this.sessions.delete(session.id);
      return undefined;
    }
    this.sessions.delete(session.id);
    return undefined;
  }
}
