import type { SessionOptions } from "../../mod.ts";
import { cookieJar, fakeClock } from "../../src/testing.ts";
import { counted, idIn, openStore, visitor } from "./sessions.ts";

/** What an established session holds under the key `kept`. */
export const ESTABLISHED = "established";

/** The request headers that present a value in the cookie. */
export function withCookie(value: string, name = "__Host-session"): { headers: Record<string, string> } {
  return { headers: { Cookie: `${name}=${value}` } };
}

/** A client whose session holds a value, with the handler, store and records behind it. */
export async function established(options: SessionOptions = {}) {
  const { store, records } = openStore();
  const { store: watched, calls } = counted(store);
  const clock = fakeClock();
  const jar = cookieJar({ now: clock.now });
  const settings: SessionOptions = { store: watched, now: clock.now, ...options };
  const send = visitor(settings, { jar });
  const { cookies } = await send((session) => session.set("kept", ESTABLISHED));
  const id = idIn(cookies) ?? "";
  calls.length = 0;
  return { store, records, calls, clock, jar, settings, send, id };
}
