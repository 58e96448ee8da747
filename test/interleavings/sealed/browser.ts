import { type CookieJar, cookieJar } from "../../../src/testing.ts";
import type { Copy, Told } from "./history.ts";
import type { Visit } from "./program.ts";

export const SHOP = "https://shop.example/";
/** The name of the session cookie, before and after it was renamed. */
export const NAMES = ["__Host-session", "__Host-sid"] as const;

/** One browser, with its cookies. */
export class Browser {
  readonly #jar: CookieJar;
  /** The session cookies that it has received. */
  readonly #received: Copy[] = [];

  constructor(now: () => number) {
    this.#jar = cookieJar({ now });
  }

  /** The session cookies that it holds, at most one of each name. */
  get held(): Copy[] {
    const cookies = new Map(this.#jar.cookies().map(({ name, value }) => [name, value]));
    return NAMES.flatMap((name) => joined(name, cookies) ?? []);
  }

  /** A request with the cookies of this browser, or with one that somebody has copied. Null if there is nothing to copy. */
  request({ copy }: Visit): { request: Request; presented: readonly Copy[] } | null {
    const request = new Request(SHOP, { method: "POST" });
    const copied = copy === null ? undefined : this.#received[copy % this.#received.length];
    if (copy !== null && copied === undefined) return null;
    const header = copied === undefined ? this.#jar.header(SHOP) : inParts(copied);
    if (header !== null && header !== "") request.headers.set("Cookie", header);
    return { request, presented: copied === undefined ? this.held : [copied] };
  }

  /** Receives a response. Returns whether it has taken away the last session cookie. */
  receive(headers: Headers): boolean {
    const before = this.held;
    this.#jar.store(SHOP, { headers });
    for (const each of this.held) if (!before.some(({ token }) => token === each.token)) this.#received.push(each);
    return before.length > 0 && this.held.length === 0;
  }
}

/** What a response does with the session cookie. */
export function toldBy(headers: Headers): Told {
  const set = new Map<string, string>();
  let expires = false;
  for (const line of headers.getSetCookie()) {
    const [, name = "", value = ""] = /^([^=]*)=([^;]*)/.exec(line) ?? [];
    if (!NAMES.some((each) => name === each || name.startsWith(`${each}.`))) continue;
    if (/; Max-Age=0(;|$)/.test(line)) expires = true;
    else set.set(name, value);
  }
  const [told] = NAMES.flatMap((name) => joined(name, set) ?? []);
  return told ?? (expires ? "over" : null);
}

/** A token from its parts; undefined if there is none. */
function joined(name: string, cookies: ReadonlyMap<string, string>): Copy | undefined {
  let token = cookies.get(name);
  if (token === undefined) return undefined;
  for (let at = 1; cookies.has(`${name}.${at}`); at++) token += cookies.get(`${name}.${at}`) ?? "";
  return { name, token };
}

/** The most characters of a part. It need not be the number that the library takes. */
const PART = 4000;

function inParts({ name, token }: Copy): string {
  const parts = token.match(new RegExp(`.{1,${PART}}`, "g")) ?? [];
  return parts.map((part, at) => `${at === 0 ? name : `${name}.${at}`}=${part}`).join("; ");
}
