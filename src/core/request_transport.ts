import { chain, type MaybePromise, recovering } from "./maybe_promise.ts";
import type { Policy } from "./policy.ts";
import { cookieName } from "./response.ts";
import { closesUpgradedRequests } from "./runtime.ts";
import type { TokenLifetime, Transport, WriteContext } from "./transport.ts";

/** How one request and its response carry the token: which transport presented it, and which one answers. */
export class RequestTransport {
  /** The request that transports and options read. */
  readonly request: Request;
  readonly #policy: Policy;
  readonly #runtimeArguments: readonly unknown[];
  /** How many transports have answered. */
  #asked = 0;
  /** How many transports were asked, also if the last one has failed. */
  #begun = 0;
  #token: MaybePromise<string | null> | undefined;
  #presenter: Transport | undefined;

  constructor(policy: Policy, request: Request, runtimeArguments: readonly unknown[]) {
    this.#policy = policy;
    // A custom transport may read the body, so it gets the request itself.
    this.request = policy.hasOwnTransports ? request : takeRequest(request);
    this.#runtimeArguments = runtimeArguments;
  }

  /** The token that the client presented, from the first transport that finds one. Each transport is read once, unless it fails. */
  readToken(): MaybePromise<string | null> {
    return (this.#token ??= recovering(
      () => this.#ask(),
      (error) => {
        this.#token = undefined;
        throw error;
      },
    ));
  }

  #ask(): MaybePromise<string | null> {
    const transport = this.#policy.transports[this.#asked];
    if (transport === undefined) return null;
    this.#begun = this.#asked + 1;
    return chain(transport.read(this.request, this.#runtimeArguments), (token) => {
      // A transport that has failed is asked again: its client may have a token.
      this.#asked++;
      // A transport in JavaScript may answer undefined.
      if (token === null || token === undefined) return this.#ask();
      this.#presenter = transport;
      return token;
    });
  }

  /** Whether the request carries several tokens, so that the client's own cannot be found. */
  get isAmbiguous(): boolean {
    return this.#policy.transports.some((each) => each.isAmbiguous?.(this.request, this.#runtimeArguments) === true);
  }

  /** Whether the client holds another token under a previous name, so that its own must be written again. */
  get isStale(): boolean {
    return this.#presenter?.isStale?.(this.request, this.#runtimeArguments) === true;
  }

  /** The name under which a token is written. */
  get name(): string {
    return this.answerer.name?.(this.request, this.#runtimeArguments) ?? this.#policy.name;
  }

  /** The name under which the client presented its token. */
  get presentedName(): string {
    return this.answerer.presentedName?.(this.request, this.#runtimeArguments) ?? this.name;
  }

  get lifetime(): TokenLifetime | undefined {
    return this.answerer.lifetime?.(this.request, this.#runtimeArguments);
  }

  /** @throws {SessionError} `ERR_COOKIE_TOO_LARGE` */
  assertFits(token: string, maxAge: number | null): void {
    this.answerer.assertFits?.(token, this.#context(maxAge));
  }

  /** Writes the token, which the client keeps for `maxAge` seconds, or with null for as long as it runs. */
  write(headers: Headers, token: string, maxAge: number | null): void {
    this.answerer.write(headers, token, this.#context(maxAge));
    this.#protect(headers);
  }

  /** Clears the token of the client. */
  clear(headers: Headers): void {
    this.answerer.clear(headers, this.#context(0));
    this.#protect(headers);
  }

  /**
   * Clears a token that opens no session. Other ones that the client holds under previous names stay, because they may open
   * one: the next request presents one of them.
   */
  clearDead(headers: Headers): void {
    const others = new Headers();
    if (this.isStale) this.answerer.expireStrays?.(others, this.#context(0));
    this.clear(headers);
    const lines = headers.getSetCookie();
    const strays = others.getSetCookie();
    // The dead token may be in a previous scope of the present name, so a name is expired in all scopes.
    const dead = new Set(lines.filter((line) => !strays.includes(line)).map(cookieName));
    headers.delete("Set-Cookie");
    for (const line of lines) if (dead.has(cookieName(line))) headers.append("Set-Cookie", line);
  }

  /** Expires stray tokens, and keeps the client's own. */
  expireStrays(headers: Headers): void {
    for (const each of this.#policy.transports) each.expireStrays?.(headers, this.#context(0));
    if (!headers.keys().next().done) this.#protect(headers);
  }

  /** The request headers that transports have read or failed to read, on which the response depends. */
  get varyHeaders(): readonly string[] {
    return this.#policy.varyHeaders[this.#begun] ?? [];
  }

  /** No cache may keep the token, and scripts of another origin must be able to read its header. */
  #protect(headers: Headers): void {
    const exposed = this.answerer.responseHeader;
    if (exposed !== undefined) headers.set("Access-Control-Expose-Headers", exposed);
    headers.set("Cache-Control", "no-store");
  }

  #context(maxAge: number | null): WriteContext {
    return { maxAge, request: this.request, runtimeArguments: this.#runtimeArguments };
  }

  /** The transport that presented the token, or the one that the client asks for, or the first. */
  get answerer(): Transport {
    const { transports } = this.#policy;
    return this.#presenter ?? transports.find((each) => each.wants?.(this.request)) ?? transports[0];
  }
}

const snapshots: WeakMap<Request, Request> = new WeakMap();

/**
 * Makes the runtime read the headers and the URL now, and returns the request from which transports read them. Bun and
 * Deno drop parts that were not read before the request is answered. Deno also closes a request that became a
 * WebSocket, so there a copy without the body takes its place.
 */
export function takeRequest(request: Request): Request {
  const known = closesUpgradedRequests() ? snapshots.get(request) : undefined;
  if (known !== undefined) return known;
  try {
    const { headers, url, method } = request;
    if (!mayBeUpgraded(request)) return request;
    const snapshot = new Request(url, { method, headers });
    snapshots.set(request, snapshot);
    return snapshot;
  } catch {
    // The request is closed already. Transports throw if the session is used.
    return request;
  }
}

/** Does the same before the handler runs, if the handler may turn the request into a WebSocket. */
export function takeUpgrade(request: Request): void {
  if (mayBeUpgraded(request)) takeRequest(request);
}

function mayBeUpgraded(request: Request): boolean {
  return closesUpgradedRequests() && request.headers.has("Upgrade");
}
