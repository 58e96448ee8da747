/** What is used of Node's `IncomingMessage`. */
export interface NodeRequest {
  readonly method?: string | undefined;
  readonly url?: string | undefined;
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
  /** The path before a router has shortened `url`, in Express. */
  readonly originalUrl?: string;
  readonly socket?: object | undefined;
}

/** What is used of Node's `ServerResponse`. */
export interface NodeResponse {
  statusCode: number;
  readonly headersSent: boolean;
  getHeader(name: string): string | number | readonly string[] | undefined;
  setHeader(name: string, value: string | readonly string[]): unknown;
  removeHeader(name: string): void;
  getHeaderNames(): string[];
  // oxlint-disable-next-line no-explicit-any -- Node's overloads, which are passed on as they are
  end(...args: any[]): any;
  destroy?(error?: unknown): unknown;
  // oxlint-disable-next-line no-explicit-any -- as above
  on(event: "close" | "drain", listener: () => void): any;
}

/** The part of a request that transports and options look at, as the Web has it. */
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
  const host = headers.get("host") ?? (typeof authority === "string" ? authority : "localhost");
  const origin = `${isEncrypted ? "https" : "http"}://${host}`;
  const path = request.originalUrl ?? request.url ?? "/";
  return new Request(addressOf(origin, path), { method: methodOf(request), headers });
}

/** A client may send any text as host and path. */
function addressOf(origin: string, path: string): string {
  const address = path.startsWith("/") ? `${origin}${path}` : path;
  return URL.canParse(address) ? address : "http://invalid.invalid/";
}

/** Methods that the constructor of Request refuses count as GET. */
function methodOf({ method = "GET" }: NodeRequest): string {
  return /^(?:CONNECT|TRACE|TRACK)$/i.test(method) || !/^[\w!#$%&'*+.^`|~-]+$/.test(method) ? "GET" : method;
}
