/**
 * Checks of one value. They import nothing, so the files of the cookie and of the header can use them.
 *
 * @module
 */

/** @param other A value that the option takes besides durations, for the message */
export function assertDuration(name: string, value: unknown, other?: 0 | false | null): void {
  if (typeof value === "number" && value > 0 && value < Infinity) return;
  if (other !== undefined && value === other) return;
  throw new RangeError(`${name} must be a positive number of seconds${other === undefined ? "" : `, or ${other}`}`);
}

/** The chosen word, or the first one, which is the default. */
export function oneOf<const Word extends string>(
  name: string,
  value: Word | undefined,
  words: readonly [Word, ...Word[]],
): Word {
  if (value === undefined || words.includes(value)) return value ?? words[0];
  const choice = words.length === 1 ? "" : "one of ";
  throw new TypeError(`${name} must be ${choice}${words.map((word) => `"${word}"`).join(", ")}`);
}
