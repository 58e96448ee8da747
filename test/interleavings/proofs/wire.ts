import { type Copy, SECOND, SESSION } from "./owners.ts";
import type { Browser } from "../../device_bound/browser.ts";
import type { Sent } from "./history.ts";
import { type Act, OWNERS } from "./program.ts";
import { HEADER } from "./servers.ts";

export function pathOf({ url }: Request): string {
  const { pathname, search } = new URL(url);
  return pathname + search;
}

export function presentedBy({ headers }: Request): Omit<Copy, "owner"> {
  const cookies = headers.get("Cookie") ?? "";
  const valueOf = (name: string): string | null =>
    cookies
      .split("; ")
      .find((each) => each.startsWith(`${name}=`))
      ?.slice(name.length + 1) ?? null;
  const inHeader = headers.get(HEADER);
  return {
    id: inHeader === null ? valueOf(SESSION) : inHeader || null,
    second: valueOf(SECOND),
    isInHeader: inHeader !== null,
  };
}

export function copyOf(browser: Browser): Copy {
  return {
    owner: -1,
    id: browser.cookie("-session") ?? null,
    second: browser.cookie("-bound") ?? null,
    isInHeader: false,
  };
}

/** Notes what a response tells. */
export function learn(sent: Sent, { status, headers }: Response): void {
  const lines = headers.getSetCookie();
  const told = (name: string): string | null | undefined => {
    const line = lines.find((each) => each.startsWith(`${name}=`));
    return line === undefined ? undefined : /^[^=]*=([^;]*)/.exec(line)?.[1] || null;
  };
  const inHeader = headers.get(HEADER);
  sent.status = status;
  sent.toldId = inHeader === null ? told(SESSION) : inHeader || null;
  sent.toldSecond = told(SECOND);
  sent.toldNonce = headers.get("DPoP-Nonce") ?? undefined;
}

/** The address that an owner visits, and a CSRF token of those that each owner has got. */
export function addressOf(
  act: Act,
  owner: number,
  number: number,
  tokens: readonly (readonly string[])[],
): { path: string; headers?: Record<string, string> } {
  switch (act.does) {
    case "log in":
      return { path: `/login?number=${number}&grace=${act.grace}` };
    case "renew":
      return { path: `/renew?grace=${act.grace}` };
    case "log out":
      return { path: "/logout" };
    case "add":
      return { path: `/add?number=${number}` };
    case "post": {
      const own = tokens[act.of === "other" ? (owner + 1) % OWNERS : owner] ?? [];
      return { path: "/post", headers: { "X-CSRF-Token": own.at(act.of === "older" ? -2 : -1) ?? "none" } };
    }
    default:
      return { path: `/${act.does}` };
  }
}

/** A request that a server begins to serve. */
export function sentFrom(
  request: Request,
  begun: Pick<Sent, "number" | "who" | "owner" | "begunAt" | "begunTime" | "begunClock">,
): Sent {
  return {
    ...begun,
    ...presentedBy(request),
    method: request.method,
    path: new URL(request.url).pathname,
    dbsc: request.headers.get("Secure-Session-Response"),
    dpop: request.headers.get("DPoP"),
    endedAt: Infinity,
    heardAt: Infinity,
    endedClock: 0,
    outcome: "under way",
    faults: 0,
    status: 0,
  };
}
