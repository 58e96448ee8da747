/**
 * The contenders and their task: a page that counts at `/write`, shows the count at `/read`, renews its session at
 * `/login`, and does not use it at `/idle`.
 *
 * @module
 */

/** One way to keep sessions, with the kind of requests and responses that it is made for. */
export interface Contender<In = unknown, Out = unknown> {
  readonly name: string;
  /** The contender that does the same without a session. The difference in time is the cost of the session. */
  readonly over: string;
  /** Makes a new request, with or without a cookie. */
  readonly request: (path: Path, cookie: string | undefined) => In;
  readonly answer: (request: In) => Out | Promise<Out>;
  /** The parts of a response that a client sees. */
  readonly seen: (response: Out) => Seen;
  /** The cases that it cannot serve, and why. */
  readonly cannot?: Partial<Record<CaseName, string>>;
}

export type Path = "/idle" | "/read" | "/write" | "/login";

/** The parts of a response that a client sees. */
export interface Seen {
  readonly status: number;
  /** The name and value of the cookie that it sets, if it sets one. */
  readonly cookie: string | undefined;
  readonly text: () => string | Promise<string>;
}

/** A row of the table: one kind of request, repeated. */
export interface Case {
  readonly name: CaseName;
  readonly path: Path;
  /** Whether the client has a session. */
  readonly hasSession: boolean;
}

export type CaseName = "untouched, no cookie" | "untouched, cookie" | "read" | "write" | "create" | "login";

/** Every case. */
export const CASES: readonly Case[] = [
  { name: "untouched, no cookie", path: "/idle", hasSession: false },
  { name: "untouched, cookie", path: "/idle", hasSession: true },
  { name: "read", path: "/read", hasSession: true },
  { name: "write", path: "/write", hasSession: true },
  { name: "create", path: "/write", hasSession: false },
  { name: "login", path: "/login", hasSession: true },
];

/** A function that answers a Request with a Response. */
export type Handler = (request: Request) => Response | Promise<Response>;

/** The host of all pages. */
export const SHOP = "https://shop.example";

/** Makes a contender of a handler of Request and Response. */
export function ofFetch(
  name: string,
  answer: Handler,
  options: Partial<Pick<Contender, "over" | "cannot">> = {},
): Contender<Request, Response> {
  return {
    name,
    over: "bare handler",
    ...options,
    request: (path, cookie) => new Request(SHOP + path, { headers: cookie === undefined ? NO_COOKIE : { cookie } }),
    answer,
    seen: (response) => ({
      status: response.status,
      // If a response sets several cookies of one name, a browser keeps the last.
      cookie: response.headers.getSetCookie().at(-1)?.split(";")[0],
      text: () => response.text(),
    }),
  };
}

const NO_COOKIE = { accept: "*/*" };

/** The path of a request. Every handler here uses this function. */
export function pathOf(request: Request): string {
  return new URL(request.url).pathname;
}
