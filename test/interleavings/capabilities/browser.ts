import { type CookieJar, cookieJar } from "../../../src/testing.ts";
import { BROWSER_HEADER } from "./own_plugin.ts";

export const SHOP = "https://shop.example/";
const COOKIE = "__Host-session";

/** One browser, with its cookies. */
export class Browser {
  readonly #number: number;
  readonly #jar: CookieJar;
  /** The session cookies that it held earlier, the latest last. */
  readonly #earlier: string[] = [];

  constructor(number: number, now: () => number) {
    this.#number = number;
    this.#jar = cookieJar({ now });
  }

  /** The session cookie that it holds. */
  get cookie(): string | null {
    return this.#jar.cookies().find(({ name }) => name === COOKIE)?.value ?? null;
  }

  /** A request with its cookies, or with a copy of the session cookie before the one that it holds. */
  request(presents: "cookies" | "old copy"): { request: Request; presented: string | null } {
    const copy = this.#earlier.at(-1) ?? null;
    const presented = presents === "cookies" ? this.cookie : copy;
    const cookies = presents === "cookies" ? this.#jar.header(SHOP) : copy === null ? null : `${COOKIE}=${copy}`;
    const request = new Request(SHOP, { method: "POST", headers: { [BROWSER_HEADER]: `${this.#number}` } });
    if (cookies !== null) request.headers.set("Cookie", cookies);
    return { request, presented };
  }

  /** Receives a response. Returns whether it replaces another session cookie than the one that the request presented. */
  receive(headers: Headers, presented: string | null): boolean {
    const before = this.cookie;
    this.#jar.store(SHOP, { headers });
    if (this.cookie === before) return false;
    if (before !== null) this.#earlier.push(before);
    return before !== presented;
  }
}

/** The session cookie that a response sets, "over" if it expires the cookie, or null. */
export function toldBy(headers: Headers): string | "over" | null {
  const line = headers.getSetCookie().find((each) => each.startsWith(`${COOKIE}=`));
  if (line === undefined) return null;
  return /; Max-Age=0(;|$)/.test(line) ? "over" : (/=([^;]*)/.exec(line)?.[1] ?? null);
}
