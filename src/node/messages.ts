import { urlOf } from "../core/address.ts";
import { isToken } from "../core/http_token.ts";

/** The part of Node's `IncomingMessage` that is used. */
export interface NodeRequest {
  /** The method, such as `GET`. Absent counts as `GET`. */
  readonly method?: string | undefined;
  /** The path with its query, as the request line has it. Absent counts as `/`. */
  readonly url?: string | undefined;
  /** The header fields under their names in lower case. A field that came several times may be a list. */
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
  /** The path before a router has shortened `url`, in Express. */
  readonly originalUrl?: string;
  /** The connection. It is TLS if it has `encrypted: true`, as Node's `TLSSocket` has. */
  readonly socket?: object | undefined;
}

/** The part of Node's `ServerResponse` that is used. */
export interface NodeResponse {
  /** The status that the response will have. With 500 and above, changes that are not stored yet are dropped. */
  statusCode: number;
  /** Whether the header fields were sent, so that no cookie can be added. */
  readonly headersSent: boolean;
  /** The value of a field that was set, or undefined. */
  getHeader(name: string): string | number | readonly string[] | undefined;
  /** Sets a field, and replaces a field of the same name. A list is one line for each value. */
  setHeader(name: string, value: string | readonly string[]): unknown;
  /** Removes a field. Node then no longer sets the field itself, even if it was not set. */
  removeHeader(name: string): void;
  /** The names of the fields that are set, in lower case. */
  getHeaderNames(): string[];
  /** Sends the last part of the body. The middleware calls it when the session is stored. */
  // oxlint-disable-next-line no-explicit-any -- Node's overloads, which are passed on as they are
  end(...args: any[]): any;
  /** Closes the connection. It is called if a session cannot be stored after the header fields were sent. */
  destroy?(error?: unknown): unknown;
  /** Listens for the end of the connection, and for room in its buffer. */
  // oxlint-disable-next-line no-explicit-any -- as above
  on(event: "close" | "drain", listener: () => void): any;
}

/** The parts of a request that transports and options read, as a web `Request`. */
export function toRequest(request: NodeRequest): Request {
  const { socket } = request;
  const isEncrypted = socket !== undefined && "encrypted" in socket && socket.encrypted === true;
  const headers = new Headers();
  for (const [name, value] of Object.entries(request.headers)) {
    // Pseudo-headers of HTTP/2 are no headers.
    if (value === undefined || name.startsWith(":")) continue;
    if (typeof value === "string") headers.set(name, value);
    else for (const each of value) headers.append(name, each);
  }
  const authority = request.headers[":authority"];
  const named = headers.get("host") ?? authority;
  // An empty host, or one that contains a path, would move a part of the path into the host, or the reverse.
  const host = typeof named !== "string" ? "localhost" : /^[^/?#\\]+$/.test(named) ? named : "invalid.invalid";
  const path = request.originalUrl ?? request.url ?? "/";
  const url = urlOf(path.startsWith("/") ? `${isEncrypted ? "https" : "http"}://${host}${path}` : path);
  return new Request(url, { method: methodOf(request), headers });
}

/** Methods that the constructor of Request refuses count as GET. */
function methodOf({ method = "GET" }: NodeRequest): string {
  return /^(?:CONNECT|TRACE|TRACK)$/i.test(method) || !isToken(method) ? "GET" : method;
}
