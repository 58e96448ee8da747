/**
 * Refuses options that have an unknown name, so that a misspelt option is not silently ignored.
 *
 * @param options What was given
 * @param known The names that are known. If `options` is not an object, the message shows the first one
 * @param owner The function or option that takes them, for the message: `withSession`, `cookie`
 * @throws {TypeError} If `options` is not an object, or has an unknown name; the message names the known one that is near
 */
export function assertKnown(options: unknown, known: readonly string[], owner: string): void {
  const example = String(known[0]);
  assertObject(options, example, owner);
  for (const name of Object.keys(options)) {
    if (known.includes(name)) continue;
    const near = nearestTo(name, known);
    const guess = near === undefined ? "." : `: did you mean ${near}?`;
    throw new TypeError(`${owner} has no option ${JSON.stringify(name)}${guess} It has ${known.join(", ")}`);
  }
  // A promise, a session or another instance of a class has none of the names. An object of options may be of a class.
  if ((options.constructor?.name ?? "Object") === "Object" || known.some((name) => name in options)) return;
  throw noOptions(example, owner);
}

/**
 * Refuses anything but an object that can hold options, whatever their names are.
 *
 * @param example The name of an option, for the message
 * @throws {TypeError} If `options` is not an object, or is a list
 */
export function assertObject(options: unknown, example: string, owner: string): asserts options is object {
  if (typeof options !== "object" || options === null || Array.isArray(options)) throw noOptions(example, owner);
}

function noOptions(example: string, owner: string): TypeError {
  return new TypeError(`The options of ${owner} must be an object, such as { ${example}: … }`);
}

/**
 * Makes a copy of options inherit from the same object as the options, such as from defaults or a class. A copy by
 * `{ ...options }` has only their own properties.
 */
export function inheriting<Options extends object>(copy: Options, options: object): Options {
  return Object.setPrototypeOf(copy, Object.getPrototypeOf(options));
}

/** What options are called in other libraries, or elsewhere in this one. The first option that is known counts. */
const ALIASES: Readonly<Record<string, RegExp>> = {
  idleTimeout: /^(ttl|timeout|duration|lifetime|expires|maxAge)$/,
  maxAge: /^expires$/,
  ttl: /^(expires|maxAge)$/,
  cookie: /^(maxAge|name|domain|path|sameSite|secure|httpOnly|partitioned)$/,
  ids: /^(secrets?|password)$/,
  secrets: /^password$/,
  limit: /^max$/,
  load: /^(eager|lazy)$/,
  touchInterval: /^touchAfter$/,
  codec: /^serializer$/,
  onEvent: /^(log|logger|observe)$/,
  now: /^clock$/,
  // A store that was passed in place of the options has traits.
  store: /^(driver|adapter|traits)$/,
};

/** The part of its letters that a misspelt name shares with the known one. Chosen by trial. */
const SHARED = 0.45;

/**
 * The known name of an option that other libraries call `name`, or else the known name that is most like it; undefined if
 * that one is not like it either.
 */
function nearestTo(name: string, known: readonly string[]): string | undefined {
  const alias = Object.entries(ALIASES).find(([meant, names]) => known.includes(meant) && names.test(name));
  if (alias !== undefined) return alias[0];
  let nearest: string | undefined;
  let most = SHARED;
  for (const each of known) {
    const shared = sharedLetters(name.toLowerCase(), each.toLowerCase());
    // The beginning of a name is like the whole name, however long that is.
    const isBeginning = each.startsWith(name) || name.startsWith(each);
    const part = shared / Math.max(name.length, each.length) + (isBeginning ? SHARED : 0);
    if (part > most) [nearest, most] = [each, part];
  }
  return nearest;
}

/** How many letters two names share at the beginning and at the end. */
function sharedLetters(one: string, other: string): number {
  const least = Math.min(one.length, other.length);
  let start = 0;
  let end = 0;
  while (start < least && one[start] === other[start]) start++;
  while (start + end < least && one.at(-1 - end) === other.at(-1 - end)) end++;
  return start + end;
}
