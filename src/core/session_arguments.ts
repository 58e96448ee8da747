import { assertKnown } from "./known_options.ts";
import type { OwnTimeouts } from "./metadata.ts";
import type { ClearSiteData, ValueOptions } from "./session.ts";

/** The time to live among the options of a value, in seconds. @throws {RangeError} If it is not a positive number */
export function ttlOf(options: unknown, owner: string): number | undefined {
  if (options === undefined) return undefined;
  assertKnown(options, ["ttl"], owner);
  const { ttl }: ValueOptions = options as ValueOptions;
  if (ttl === undefined || (Number.isFinite(ttl) && ttl > 0)) return ttl;
  throw new RangeError(`${owner}: ttl must be a positive number of seconds`);
}

const CLEARABLE: readonly string[] = ["cache", "cookies", "storage", "executionContexts", "*"];

/** What a browser is to clear. @throws {TypeError} If it is not a list of known words */
export function clearingWords(words: readonly ClearSiteData[]): readonly ClearSiteData[] {
  if (Array.isArray(words) && words.every((word) => CLEARABLE.includes(word))) return words;
  throw new TypeError(
    `session.destroy: clearSiteData must be a list of ${CLEARABLE.map((word) => `"${word}"`).join(", ")}`,
  );
}

/** @throws {RangeError} If one of the timeouts is not a positive number of seconds */
export function assertTimeouts(timeouts: OwnTimeouts): void {
  assertKnown(timeouts, ["idle", "absolute", "cookie"], "session.setTimeouts");
  const { idle, absolute, cookie } = timeouts;
  const isDuration = (value: unknown): boolean => value === undefined || (Number.isFinite(value) && Number(value) > 0);
  const mistake = !isDuration(idle)
    ? "idle"
    : absolute !== false && !isDuration(absolute)
      ? "absolute"
      : cookie !== null && !isDuration(cookie)
        ? "cookie"
        : undefined;
  if (mistake !== undefined)
    throw new RangeError(`Cannot set timeouts: ${mistake} must be a positive number of seconds`);
}
