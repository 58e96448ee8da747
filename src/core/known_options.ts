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
const ALIASES: Readonly<Record<string, string>> = {
  idleTimeout: "ttl idle duration lifetime expires maxAge",
  maxAge: "expires",
  ttl: "expires maxAge",
  cookie: "maxAge name domain path sameSite secure httpOnly partitioned",
  ids: "secret secrets password",
  secrets: "password",
  limit: "max",
  rotateEvery: "rotation",
  codec: "serializer",
  onEvent: "log logger observe",
  now: "clock",
  // A store that was passed in place of the options has traits.
  store: "driver adapter traits",
};

/** The part of its letters beyond which a name is no misspelling of another one, but has another meaning. Chosen by trial. */
const MOST_EDITS = 0.5;

/**
 * The known name of an option that other libraries call `name`, or else the known name that needs the fewest edits;
 * undefined if that one needs too many, and does not begin with `name`, nor `name` with it.
 */
function nearestTo(name: string, known: readonly string[]): string | undefined {
  const alias = Object.entries(ALIASES).find(
    ([meant, names]) => known.includes(meant) && names.split(" ").includes(name),
  );
  if (alias !== undefined) return alias[0];
  const edits = (each: string): number =>
    distance(name.toLowerCase(), each.toLowerCase()) / Math.max(name.length, each.length);
  const nearest = known.reduce((nearest, each) => (edits(each) < edits(nearest) ? each : nearest));
  const isBeginning = nearest.startsWith(name) || name.startsWith(nearest);
  return edits(nearest) <= MOST_EDITS || isBeginning ? nearest : undefined;
}

/** The number of letters to insert, remove or exchange (Levenshtein). */
function distance(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, at) => at);
  for (let i = 1; i <= from.length; i++) {
    const next = [i];
    for (let j = 1; j <= to.length; j++) {
      const exchanged = (row[j - 1] ?? 0) + (from[i - 1] === to[j - 1] ? 0 : 1);
      next.push(Math.min(exchanged, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[to.length] ?? 0;
}
