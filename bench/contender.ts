/**
 * Who is measured, and what it is asked: a page that counts, at `/write`, and shows the count, at `/read`; that renews its
 * session at `/login`, and leaves it alone at `/idle`.
 *
 * @module
 */

/** Some way to keep a session, on the requests and responses that it is made for. */
export interface Contender<In = unknown, Out = unknown> {
  readonly name: string;
  /** The contender that does the same without a session: what is over its time is what the session costs. */
  readonly over: string;
  /** A fresh request, with a cookie or without. */
  readonly request: (path: Path, cookie: string | undefined) => In;
  readonly answer: (request: In) => Out | Promise<Out>;
  /** What a client sees of a response. */
  readonly seen: (response: Out) => Seen;
  /** What it cannot do, and why. */
  readonly cannot?: Partial<Record<CaseName, string>>;
}

export type Path = "/idle" | "/read" | "/write" | "/login";

/** What a client sees of a response. */
export interface Seen {
  readonly status: number;
  /** The name and value of the cookie that it sets, if it sets one. */
  readonly cookie: string | undefined;
  readonly text: () => string | Promise<string>;
}

/** A row of the table: one request, again and again. */
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

/** Something that answers a Request with a Response. */
export type Handler = (request: Request) => Response | Promise<Response>;

/** The host of all pages. */
export const SHOP = "https://shop.example";

/** A contender that is a handler of Request and Response. */
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
      // Of several of one name, a browser keeps the last.
      cookie: response.headers.getSetCookie().at(-1)?.split(";")[0],
      text: () => response.text(),
    }),
  };
}

const NO_COOKIE = { accept: "*/*" };

/** The path of a request, as every handler here finds it. */
export function pathOf(request: Request): string {
  return new URL(request.url).pathname;
}
