import type { Transport } from "./transport.ts";

const NOTHING: ReadonlyMap<string, string> = new Map();

/** How one request and its response carry the id: who presented it, and who is to answer. */
export class Exchange {
  readonly #transports: readonly Transport[];
  readonly #request: Request;
  #asked = 0;
  #presenter: Transport | undefined;

  constructor(transports: readonly Transport[], request: Request) {
    this.#transports = transports;
    this.#request = request;
  }

  /** What the client presented: the word of the first transport that has one. */
  presented(): string | null | Promise<string | null> {
    while (this.#asked < this.#transports.length) {
      const transport = this.#transports[this.#asked++]!;
      const presented = transport.read(this.#request);
      if (presented instanceof Promise) {
        return presented.then((text) => this.#taken(transport, text) ?? this.presented());
      }
      if (this.#taken(transport, presented) !== null) return presented;
    }
    return null;
  }

  /**
   * Whether the id may be one that a browser sends by itself, whoever causes the request; to be asked after `presented`. A transport
   * that does not say where it looks may look at a cookie.
   */
  get isAmbient(): boolean {
    return (this.#answerer.varyOn ?? "Cookie").toLowerCase() === "cookie";
  }

  /** Tells the client its id, for `maxAge` seconds or as long as it runs. */
  tell(headers: Headers, id: string, maxAge: number | null): void {
    this.#answerer.write(headers, id, { maxAge, request: this.#request });
    this.#guard(headers);
  }

  /** Tells the client to forget its id. */
  forget(headers: Headers): void {
    this.#answerer.clear(headers, { request: this.#request });
    this.#guard(headers);
  }

  /** Whether texts can travel beside the id. */
  get carriesBeside(): boolean {
    return this.#answerer.beside !== undefined;
  }

  /** What the client presented beside the id; to be asked after `presented`. */
  presentedBeside(): ReadonlyMap<string, string> {
    return this.#answerer.beside?.read(this.#request) ?? NOTHING;
  }

  /** Tells the client a text beside the id, for `maxAge` seconds, if it can be told. */
  tellBeside(headers: Headers, name: string, text: string, maxAge: number): void {
    const { beside } = this.#answerer;
    if (beside === undefined) return;
    beside.write(headers, name, text, { maxAge, request: this.#request });
    this.#guard(headers);
  }

  /** No cache may keep what was said, and scripts of another origin are to hear it. */
  #guard(headers: Headers): void {
    if (this.#answerer.exposes !== undefined) headers.set("Access-Control-Expose-Headers", this.#answerer.exposes);
    headers.set("Cache-Control", "no-store");
  }

  /** The request headers that were looked at, on which the response depends. */
  get lookedAt(): string[] {
    const names = [];
    for (let at = 0; at < this.#asked; at++) {
      const name = this.#transports[at]?.varyOn;
      if (name !== undefined) names.push(name);
    }
    return names;
  }

  /** The transport that presented the id, or the one that the client asks for, or the first. */
  get #answerer(): Transport {
    const asked = (): Transport | undefined => this.#transports.find((each) => each.asks?.(this.#request));
    return this.#presenter ?? asked() ?? this.#transports[0]!;
  }

  #taken(transport: Transport, presented: string | null): string | null {
    if (presented !== null) this.#presenter = transport;
    return presented;
  }
}
