/**
 * Secrets as a program gives them, and the keys that are derived from them.
 *
 * @module
 */
import { kindOf } from "../core/kind_of.ts";
import { chain, isPromise, type MaybePromise } from "../core/maybe_promise.ts";

/**
 * At least 32 bytes each, the current one first. The current secret signs and encrypts; all of them verify and decrypt.
 * To change a secret, put the new one in front, and remove the old one when everything that was made with it has expired.
 *
 * A function gets the arguments that the runtime passes beside the request, such as a Worker's `env`. It is called once
 * if it takes no argument, and otherwise once for each first argument.
 */
export type Secrets = readonly string[] | ((...rest: never[]) => readonly string[] | Promise<readonly string[]>);

/** The keys of secrets, the current one first. There is at least one, because an empty list of secrets is refused. */
export type Keys<Key> = readonly [current: Key, ...older: Key[]];

/** HMAC-SHA-256 can use 256 bits (RFC 2104, 3), and AES-256 needs as many. */
const MIN_BYTES = 32;

/**
 * Makes the keys of secrets, once for each list.
 *
 * @param secrets The secrets, as the program gave them
 * @param derive Makes the key of one secret
 * @returns A function that returns the keys, the current one first; without a promise once they were made
 * @throws {TypeError} If `secrets` is not a list or is empty, or a secret is not a string
 * @throws {RangeError} If a secret has fewer than 32 bytes
 */
export function keyring<Key>(
  secrets: Secrets,
  derive: (secret: string) => MaybePromise<Key>,
): (runtimeArguments: readonly unknown[]) => MaybePromise<Keys<Key>> {
  const give = typeof secrets === "function" ? secrets : giving(checkedSecrets(secrets));
  // The keys are kept as values and not as promises, because some runtimes bind a promise to one request.
  const known = new WeakMap<object, Keys<Key>>();
  /** Stands for the first argument where the secrets do not depend on one. */
  const none = {};
  return (runtimeArguments) => {
    const [first] = runtimeArguments;
    const owner = give.length === 0 || first === undefined ? none : first;
    // Keys for a primitive argument are not kept, because nothing would remove them.
    const isKept = typeof owner === "object" && owner !== null;
    const keys = isKept ? known.get(owner) : undefined;
    if (keys !== undefined) return keys;
    const given: MaybePromise<readonly string[]> = Reflect.apply(give, undefined, [...runtimeArguments]);
    return chain(given, (list) =>
      chain(all(checkedSecrets(list).map(derive)), (made) => {
        const keys = made as Keys<Key>;
        if (isKept) known.set(owner, keys);
        return keys;
      }),
    );
  };
}

/**
 * The secrets of options in which secrets are optional.
 *
 * @throws {TypeError} If they were given and are undefined, as with an unset environment variable
 */
export function optionalSecrets(options: { readonly secrets?: Secrets }): Secrets | undefined {
  if ("secrets" in options && options.secrets === undefined) throw new TypeError(wrong("secrets", "undefined"));
  return options.secrets;
}

function giving(list: readonly string[]): () => readonly string[] {
  return () => list;
}

/** Tries keys in their order. Returns the first result that is not null, or null. */
export function withAny<Key, Result>(
  keys: readonly Key[],
  attempt: (key: Key) => MaybePromise<Result | null>,
): MaybePromise<Result | null> {
  const [key] = keys;
  if (key === undefined) return null;
  return chain(attempt(key), (result) => result ?? withAny(keys.slice(1), attempt));
}

/**
 * Checks the secrets and copies their list. If the program changed its list later, keys would be made of other secrets, or of none.
 */
function checkedSecrets(given: unknown): readonly string[] {
  if (typeof given === "string") throw new TypeError(wrong("secrets", "one string", "Put it into a list."));
  if (!Array.isArray(given)) throw new TypeError(wrong("secrets", kindOf(given)));
  if (given.length === 0) throw new TypeError(wrong("secrets", "an empty list"));
  return Array.from(given, (secret: unknown, at) => {
    const name = `secrets[${at}]`;
    // UTF-8 cannot hold half of a surrogate pair, so secrets that differ only there would be the same.
    if (typeof secret !== "string") throw new TypeError(wrong(name, kindOf(secret)));
    if (!secret.isWellFormed())
      throw new TypeError(wrong(name, "not well-formed", "Half of a surrogate pair is missing."));
    const { length } = new TextEncoder().encode(secret);
    if (length < MIN_BYTES) throw new RangeError(wrong(name, `${length} bytes long`));
    return secret;
  });
}

function wrong(name: string, fact: string, hint = "Is the environment variable unset?"): string {
  return `secrets must be a list of well-formed strings of ${MIN_BYTES} bytes or more, the current one first; ${name} is ${fact}. ${hint}`;
}

function all<Value>(values: readonly MaybePromise<Value>[]): MaybePromise<readonly Value[]> {
  return values.every((value): value is Value => !isPromise(value)) ? values : Promise.all(values);
}
