import { type CookieJar, cookieJar } from "../../../src/testing.ts";
import { BROWSER_HEADER } from "./own_plugin.ts";
import type { Visit } from "./program.ts";

export const SHOP = "https://shop.example/";
const COOKIE = "__Host-session";

/** One browser, with its cookies. */
export class Browser {
  readonly #number: number;
  readonly #jar: CookieJar;
  /** The session cookies that it has received. */
  readonly #received: string[] = [];

  constructor(number: number, now: () => number) {
    this.#number = number;
    this.#jar = cookieJar({ now });
  }

  /** The session cookie that it holds. */
  get cookie(): string | null {
    return this.#jar.cookies().find(({ name }) => name === COOKIE)?.value ?? null;
  }

  /** A request of this browser, or of somebody who has copied a session cookie. Null if there is nothing to copy. */
  request({ presents, copy }: Visit, hasOthers: boolean): { request: Request; presented: string | null } | null {
    const request = new Request(SHOP, { method: "POST", headers: { [BROWSER_HEADER]: `${this.#number}` } });
    const all = this.#jar.header(SHOP)?.split("; ") ?? [];
    const others = all.filter((each) => !each.startsWith(`${COOKIE}=`));
    let presented = this.cookie;
    if (presents !== "cookies") {
      const copied = this.#received[copy % this.#received.length];
      if (copied === undefined) return null;
      presented = presents === "copy" ? copied : copied.slice(0, -1) + (copied.endsWith("A") ? "B" : "A");
    }
    const cookies = presents === "cookies" || hasOthers ? others : [];
    if (presented !== null) cookies.push(`${COOKIE}=${presented}`);
    if (cookies.length > 0) request.headers.set("Cookie", cookies.join("; "));
    return { request, presented };
  }

  /** Receives a response. Returns whether it replaces another session cookie than the one that the request presented. */
  receive(headers: Headers, presented: string | null): boolean {
    const before = this.cookie;
    this.#jar.store(SHOP, { headers });
    if (this.cookie === before) return false;
    if (this.cookie !== null) this.#received.push(this.cookie);
    return before !== presented;
  }
}

/** The session cookie that a response sets, "over" if it expires the cookie, or null. */
export function toldBy(headers: Headers): string | "over" | null {
  const line = headers.getSetCookie().find((each) => each.startsWith(`${COOKIE}=`));
  if (line === undefined) return null;
  return /; Max-Age=0(;|$)/.test(line) ? "over" : (/=([^;]*)/.exec(line)?.[1] ?? null);
}
