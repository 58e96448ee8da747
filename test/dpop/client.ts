import { createProver, hashOf, type Prover } from "./prover.ts";

type Handler = (request: Request) => Promise<Response>;

export const ORIGIN = "https://api.example";

/** The parts of a correct request that a test replaces. */
export interface Changes {
  readonly method?: string;
  /** Claims that replace the correct ones; undefined removes one. */
  readonly claims?: object;
  readonly header?: object;
  readonly headers?: Record<string, string>;
  readonly proof?: string | null;
  readonly by?: Prover;
}

/** A header client written by hand. It follows RFC 9449, and can also violate it. */
export class HeaderClient {
  id = "";
  nonce: string | undefined;
  /** In seconds: how far the client's clock is wrong. */
  skew = 0;
  readonly prover: Prover;
  last: Request | undefined;
  readonly #handler: Handler;
  readonly #now: () => number;
  #proofs = 0;

  constructor(prover: Prover, handler: Handler, now: () => number) {
    this.prover = prover;
    this.#handler = handler;
    this.#now = now;
  }

  static async create(handler: Handler, now: () => number): Promise<HeaderClient> {
    return new HeaderClient(await createProver(), handler, now);
  }

  /** The request that the client would send, with changes. */
  async request(
    path: string,
    { method = "GET", claims, header, headers = {}, proof, by = this.prover }: Changes = {},
  ): Promise<Request> {
    const right = {
      jti: `${by.jwk.x}-${++this.#proofs}`,
      htm: method,
      htu: ORIGIN + path,
      iat: Math.floor(this.#now() / 1000) + this.skew,
      ...(this.id === "" ? {} : { ath: await hashOf(this.id) }),
      ...(this.nonce === undefined ? {} : { nonce: this.nonce }),
    };
    const signed = proof === undefined ? await by.prove({ ...right, ...claims }, header) : proof;
    return new Request(ORIGIN + path, {
      method,
      headers: { "X-Session-Id": this.id, ...(signed === null ? {} : { DPoP: signed }), ...headers },
    });
  }

  async send(path: string, changes?: Changes, handler: Handler = this.#handler): Promise<Response> {
    const request = await this.request(path, changes);
    this.last = request.clone();
    const response = await handler(request);
    this.id = response.headers.get("X-Session-Id") ?? this.id;
    this.nonce = response.headers.get("DPoP-Nonce") ?? this.nonce;
    return response;
  }

  /** Sends a request, but does not update what the client knows. */
  async probe(path: string, changes?: Changes, handler: Handler = this.#handler): Promise<Response> {
    return await handler(await this.request(path, changes));
  }
}
