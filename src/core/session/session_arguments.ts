import { assertKnown } from "../known_options.ts";
import type { OwnTimeouts } from "../metadata.ts";
import { assertDuration } from "../options/simple_checks.ts";
import type { Policy } from "../policy.ts";
import type { ClearSiteData, ValueOptions } from "../session.ts";

/**
 * The instant at which a value ends by the time to live among its options, in epoch milliseconds; undefined if it has none.
 *
 * @throws {RangeError} If the time to live is not a positive number
 */
export function endOfValue(options: unknown, owner: string, { now }: Pick<Policy, "now">): number | undefined {
  if (options === undefined) return undefined;
  assertKnown(options, ["ttl"], owner);
  const { ttl }: ValueOptions = options as ValueOptions;
  if (ttl === undefined) return undefined;
  assertDuration(`${owner}: ttl`, ttl);
  return now() + ttl * 1000;
}

/** Refuses unknown options, and a callback, which sessions of Express take. @throws {TypeError} */
export function assertCallOptions(options: unknown, known: readonly string[], owner: string): void {
  if (typeof options === "function") throw new TypeError(`${owner} takes no callback: await it`);
  assertKnown(options, known, owner);
}

/** Refuses a call with a key alone, as `flash` of connect-flash reads. It would delete the value. @throws {TypeError} */
export function assertValueGiven(given: number, owner: string): void {
  if (given > 1) return;
  throw new TypeError(`${owner} takes a key and a value: to read use session.get, to delete session.delete`);
}

const CLEARABLE: readonly string[] = ["cache", "cookies", "storage", "executionContexts", "*"];

/** What `clearSiteData: true` clears. Without cookies, because browsers would also remove those of other programs. */
const CLEARED: readonly ClearSiteData[] = ["cache", "storage"];

/** The words for `Clear-Site-Data`, checked. @throws {TypeError} If they are neither a list of known words nor a boolean */
export function clearingWords(words: readonly ClearSiteData[] | boolean): readonly ClearSiteData[] {
  if (typeof words === "boolean") return words ? CLEARED : [];
  if (Array.isArray(words) && words.every((word) => CLEARABLE.includes(word))) return words;
  throw new TypeError(
    `session.destroy: clearSiteData must be true, or a list of ${CLEARABLE.map((word) => `"${word}"`).join(", ")}`,
  );
}

/** @throws {RangeError} If one of the timeouts is not a positive number of seconds */
export function assertTimeouts(timeouts: OwnTimeouts): void {
  assertKnown(timeouts, ["idle", "absolute", "cookie"], "session.setTimeouts");
  const others = { idle: undefined, absolute: false, cookie: null } as const;
  for (const name of ["idle", "absolute", "cookie"] as const) {
    const value = timeouts[name];
    if (value !== undefined) assertDuration(`session.setTimeouts: ${name}`, value, others[name]);
  }
}
