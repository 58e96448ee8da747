/** What a transport is told when it writes. */
export interface WriteContext {
  /** How long the client should keep the id, in seconds; `null` for as long as it runs. */
  readonly maxAge: number | null;
  /** The request that is answered. */
  readonly request: Request;
}

/** How small texts travel beside an id, each under a name of its own. What comes back is believed in nothing. */
export interface Beside {
  /** What the client presented, by name. */
  read(request: Request): ReadonlyMap<string, string>;
  /** Gives the client a text under a name of letters, digits, `-` and `_`; with a `maxAge` of 0, it is to forget it. */
  write(headers: Headers, name: string, text: string, context: WriteContext): void;
}

/** How an id travels between client and server. Cookies and headers are built in; `transports` takes others. */
export interface Transport {
  /**
   * What the client presented, or null for nothing. It is believed in nothing: its shape is checked, and unknown
   * ids never become sessions. It may be async, to read a form: read it from `request.clone()` then, and use
   * `load: "eager"`, so that it is read before the handler has taken the body.
   */
  read(request: Request): string | null | Promise<string | null>;

  /** Tells the client its id. */
  write(headers: Headers, id: string, context: WriteContext): void;

  /** Tells the client to forget its id. */
  clear(headers: Headers, context: { readonly request: Request }): void;

  /** Whether a client that presented nothing wants to hear of a new session in this way. */
  asks?(request: Request): boolean;

  /** Small texts that travel beside the id, for `readYourWrites`; a transport without it does not offer that. */
  readonly beside?: Beside;

  /** The request header that `read` looks at, for `Vary`; and for the guard, which lets other sites use an id from any but `Cookie`. */
  readonly varyOn?: string;

  /** The response header that scripts of other origins must be allowed to read. */
  readonly exposes?: string;
}
