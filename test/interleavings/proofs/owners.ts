import { importJWK } from "jose";
import { dpopClient, type DpopClient, type DpopState } from "../../../src/dpop_client.ts";
import { Browser, type DeviceKey, type KnownSession, ORIGIN } from "../../device_bound/browser.ts";
import { BROWSERS } from "./program.ts";

/** Sends a request through the network, which answers 599 if it loses the request or the response. */
export type Send = (request: Request) => Promise<Response>;

/** What a thief copies from an owner: the cookies of a browser, or the id of a header client. */
export interface Copy {
  readonly owner: number;
  readonly id: string | null;
  readonly second: string | null;
  readonly isInHeader: boolean;
}

/** Somebody with a key, who signs in and uses the session. */
export interface Owner {
  visit(path: string, headers?: Record<string, string>): Promise<void>;
  copy(): Copy;
}

export const SESSION = "__Host-session";
export const SECOND = "__Host-session-bound";
/** In milliseconds: Chromium refreshes a cookie so long before its end. */
const EARLY = 120_000;

/** A browser whose requests wait for one refresh, however many there are, and which makes a key for each registration, as Chromium does. */
class PatientBrowser extends Browser {
  readonly #refreshing = new Map<string, Promise<string | undefined>>();
  readonly #keys: readonly DeviceKey[];
  #registrations = 0;

  constructor(send: Send, keys: readonly DeviceKey[], now: () => number) {
    super(send, keys[0]!, now);
    this.#keys = keys;
  }

  override keyFor(session: KnownSession | null): DeviceKey {
    const known = session === null ? undefined : this.registered.get(session.id);
    return known ?? this.#keys[this.#registrations++ % this.#keys.length]!;
  }

  override refresh(session: KnownSession): Promise<string | undefined> {
    const { id } = session;
    const refreshing = this.#refreshing.get(id) ?? super.refresh(session).finally(() => this.#refreshing.delete(id));
    this.#refreshing.set(id, refreshing);
    return refreshing;
  }
}

/** A browser with DBSC. */
export class BrowserOwner implements Owner {
  readonly #number: number;
  readonly #now: () => number;
  readonly browser: Browser;

  constructor(number: number, send: Send, keys: readonly DeviceKey[], now: () => number) {
    this.#number = number;
    this.#now = now;
    this.browser = new PatientBrowser(send, keys, now);
  }

  async visit(path: string, headers: Record<string, string> = {}): Promise<void> {
    const { browser } = this;
    const end = browser.jar.cookies().find(({ name }) => name === SECOND)?.expiresAt ?? Infinity;
    const isEarly = end - this.#now() < EARLY;
    const refreshing = isEarly ? [...browser.sessions.values()].map((each) => browser.refresh(each)) : [];
    await Promise.all([browser.fetch(path, { method: "POST", headers }), ...refreshing]);
  }

  copy(): Copy {
    const valueOf = (name: string): string | null =>
      this.browser.jar.cookies().find((each) => each.name === name)?.value ?? null;
    return { owner: this.#number, id: valueOf(SESSION), second: valueOf(SECOND), isInHeader: false };
  }

  /** Gets another session cookie, as from a sister host before there were prefixes. */
  plant({ id, second }: Copy): void {
    const headers = new Headers();
    if (id !== null) headers.append("Set-Cookie", `${SESSION}=${id}; Path=/; Secure`);
    if (second !== null) headers.append("Set-Cookie", `${SECOND}=${second}; Path=/; Secure; Max-Age=300`);
    this.browser.jar.store(ORIGIN, { headers });
  }
}

/** A client that sends the id in a header, and proves its key with DPoP. */
export class ClientOwner implements Owner {
  readonly #client: DpopClient;
  #state: DpopState | undefined;
  readonly #fresh: DpopState;

  constructor(send: Send, keys: DpopState["keys"], now: () => number) {
    this.#fresh = { keys, id: null };
    const storage = {
      load: () => Promise.resolve((this.#state ??= this.#fresh)),
      save: (state: DpopState | undefined) => Promise.resolve(void (this.#state = state)),
    };
    this.#client = dpopClient(ORIGIN, { fetch: send, storage, now });
  }

  async visit(path: string, headers: Record<string, string> = {}): Promise<void> {
    await this.#client.fetch(path, { method: "POST", headers });
  }

  copy(): Copy {
    return { owner: BROWSERS, id: this.#state?.id ?? null, second: null, isInHeader: true };
  }
}

/** The key pair of a browser as a client of DPoP uses it. */
export async function asDpopKeys({ jwk, privateKey, algorithm }: DeviceKey): Promise<DpopState["keys"]> {
  const publicKey = await importJWK({ ...jwk, ext: true }, algorithm);
  return { publicKey, privateKey } as DpopState["keys"];
}
