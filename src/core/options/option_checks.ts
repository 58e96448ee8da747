import type { Codec } from "../codec.ts";
import { mistake } from "../errors.ts";
import type { TimeoutLimits } from "../expiry.ts";
import { isObject, kindOf } from "../kind_of.ts";
import { assertKnown } from "../known_options.ts";
import { chain, isPromise, type MaybePromise } from "../maybe_promise.ts";
import type { SessionOptions } from "../options.ts";
import type { Plugin } from "../plugin.ts";
import type { Repository } from "../repository.ts";
import { isId } from "../session_id.ts";
import { assertDuration, oneOf } from "./simple_checks.ts";
import { hasTraits } from "../store_answers.ts";
import type { TokenFormat } from "../token_format.ts";

/** @param example What a program can write there, for the message */
export function assertMethods(name: string, value: unknown, methods: readonly string[], example?: string): void {
  const mayHave = isObject(value) || typeof value === "function";
  if (mayHave && methods.every((method) => typeof Reflect.get(value, method) === "function")) return;
  const hint = example === undefined ? "" : `, such as ${example}`;
  throw new TypeError(`${name} must be an object with ${methods.join(", ")}${hint}; it is ${kindOf(value)}`);
}

/** @throws {TypeError} If a value is not a store, or has no traits */
export function assertStore(name: string, value: unknown): void {
  assertMethods(name, value, ["load", "save", "delete"], "memoryStore()");
  if (hasTraits(value)) return;
  throw new TypeError(`${name} must have valid traits: see StoreTraits`);
}

export function assertFunction(name: string, value: unknown): void {
  if (typeof value !== "function") throw new TypeError(`${name} must be a function`);
}

/** A program's clock, whose answers are checked: an invalid time would be stored, and no server could read the record. */
export function checkedClock(now: () => number): () => number {
  return () => {
    const instant: unknown = now();
    // Capabilities write instants as whole numbers.
    if (typeof instant === "number" && Number.isFinite(instant)) return Math.floor(instant);
    throw new TypeError(`now must return epoch milliseconds, as Date.now does; it returned ${kindOf(instant)}`);
  };
}

/** A program's codec. It may return any text: written as JSON, the text has no line ends and no lone surrogates. */
export function checkedCodec(codec: Codec): Codec {
  assertMethods("codec", codec, ["encode", "decode"]);
  return {
    encode(value) {
      const text: unknown = codec.encode(value);
      if (typeof text === "string") return JSON.stringify(text);
      throw mistake(`codec.encode must return a text at once; it returned ${kindOf(text)}`);
    },
    decode: (text) => codec.decode(JSON.parse(text)),
  };
}

/** Printable ASCII without a semicolon, which would end the cookie's value. Spaces and quotes at the ends are removed from it. */
const TOKEN = /^(?![ "])[ -:<-~]+(?<![ "])$/;

/**
 * A program's token format, whose tokens are checked. Any other token could add attributes to its cookie, or would not come
 * back as it was, so that its session would be lost.
 */
export function checkedIds(ids: TokenFormat): TokenFormat {
  const checked = (token: unknown): string => {
    if (typeof token === "string" && TOKEN.test(token)) return token;
    // A header would refuse some of these tokens with a message that repeats them.
    const returned = typeof token === "string" ? "another text" : kindOf(token);
    throw mistake(
      `ids.toToken must return printable ASCII without semicolons, and without spaces or quotes at the ends; it returned ${returned}`,
    );
  };
  return {
    toToken: (id, op) => chain(ids.toToken(id, op), checked),
    toId: (token, op) => ids.toId(token, op),
  };
}

/**
 * A program's `touch`, whose answer must not be a promise: every promise is true. It is first called when "last seen" is
 * due, hours after a session began, so an async function is refused before that, when the handler is wrapped.
 */
export function checkedTouch(touch: (request: Request) => boolean): (request: Request) => boolean {
  const refused = (): TypeError => mistake("touch must return true or false at once; it returns a promise");
  if (Object.prototype.toString.call(touch) === "[object AsyncFunction]") throw refused();
  return (request) => {
    const answer: unknown = touch(request);
    if (isPromise(answer)) throw refused();
    return Boolean(answer);
  };
}

export function checkedId(id: MaybePromise<string>): MaybePromise<string> {
  if (isPromise(id)) return Promise.resolve(id).then(checkedId);
  if (typeof id === "string" && isId(id)) return id;
  throw new TypeError("generateId must give 22 to 4096 characters of A-Z, a-z, 0-9, - and _");
}

const STEPS = ["wrap", "admit", "respond", "attach", "answer"] as const;

export function assertPlugins(plugins: readonly Plugin[]): void {
  if (!Array.isArray(plugins)) throw new TypeError("plugins must be a list");
  const names = new Set<string>();
  for (const plugin of plugins as readonly Partial<Plugin>[]) {
    const name = plugin?.name;
    if (typeof plugin !== "object" || typeof name !== "string" || name === "")
      throw new TypeError(
        "Each plugin must be an object with a name, such as userSessions() returns; signedIds(), encryption() and cookieSessions() belong to the options ids, encryption and store",
      );
    const steps = STEPS.map((step) => plugin[step]).filter((step) => step !== undefined);
    if (steps.length === 0 || steps.some((step) => typeof step !== "function"))
      throw new TypeError(`The plugin ${JSON.stringify(name)} needs one of the functions ${STEPS.join(", ")}`);
    if (names.has(name)) throw new TypeError(`There are two plugins of the name ${JSON.stringify(name)}`);
    names.add(name);
  }
}

const METHODS = ["open", "refresh", "create", "update", "retire", "end"] as const;
const OPTIONAL_MEMBERS = ["tokenHoldsSession", "tokenFor", "idOf", "reinstate"] as const;

/**
 * The repository that a plugin's `wrap` returned. Without this check, a plugin that forgets to return it would protect
 * nothing. Optional members that it leaves out are those of `next`: most plugins do not know them, and the core does less
 * without them. For example, it cannot put back an id that was retired in a request that failed.
 */
export function checkedRepository({ name }: Plugin, repository: Repository, next: Repository): Repository {
  assertMethods(`The repository that wrap of the plugin ${JSON.stringify(name)} returns`, repository, METHODS);
  if (OPTIONAL_MEMBERS.every((member) => member in repository || next[member] === undefined)) return repository;
  const members = [...METHODS, ...OPTIONAL_MEMBERS].map((member) => {
    const owner = member in repository ? repository : next;
    const value = owner[member];
    // A repository may be an instance of a class with private fields.
    return [member, typeof value === "function" ? value.bind(owner) : value];
  });
  return Object.fromEntries(members) as Repository;
}

export function assertLimits(limits: TimeoutLimits, idleTimeout: number, absoluteTimeout: number | false): void {
  assertKnown(limits, ["idle", "absolute"], "timeoutLimits");
  for (const [name, timeout] of [["idle", idleTimeout] as const, ["absolute", absoluteTimeout] as const]) {
    const most = limits[name];
    if (most === undefined) continue;
    assertDuration(`timeoutLimits.${name}`, most);
    if (timeout === false || timeout > most)
      throw new RangeError(`${name}Timeout must be at most timeoutLimits.${name}, ${most} seconds`);
  }
}

export function rotationOf(option: SessionOptions["rotateEvery"]): {
  readonly rotateEvery: number | undefined;
  readonly endsOnReuse: boolean;
} {
  if (typeof option !== "object") {
    if (option !== undefined) assertDuration("rotateEvery", option);
    return { rotateEvery: option, endsOnReuse: false };
  }
  assertKnown(option, ["seconds", "onReuse"], "rotateEvery");
  const { seconds, onReuse } = option;
  assertDuration("rotateEvery.seconds", seconds);
  const endsOnReuse = oneOf("rotateEvery.onReuse", onReuse, ["reject", "destroy"]) === "destroy";
  return { rotateEvery: seconds, endsOnReuse };
}
