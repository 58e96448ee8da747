/**
 * Secrets as a program gives them, and the keys that are made of them.
 *
 * @module
 */
import { chain, isPromise, type MaybePromise } from "../core/maybe_promise.ts";

/**
 * At least 32 bytes each, the current one first: it signs and encrypts, all of them verify and decrypt. To change a secret, put the new one in
 * front, and remove the old one when what was made with it has expired.
 *
 * A function gets what the runtime passes beside the request, such as a Worker's `env`. It is called once if it takes no argument, and
 * otherwise once for each first argument.
 */
export type Secrets = readonly string[] | ((...rest: never[]) => readonly string[] | Promise<readonly string[]>);

/** HMAC-SHA-256 can use 256 bits (RFC 2104, 3), and AES-256 needs as many. */
const LEAST_BYTES = 32;

/**
 * Makes the keys of secrets, once for each list.
 *
 * @param secrets What the program gave
 * @param derive Makes the key of one secret
 * @returns A function that gives the keys, the current one first; without a promise once they were made
 * @throws {TypeError} If a secret is not a string, or the list is not one or is empty
 * @throws {RangeError} If a secret has fewer than 32 bytes
 */
export function keyring<Key>(
  secrets: Secrets,
  derive: (secret: string) => MaybePromise<Key>,
): (runtimeArguments: readonly unknown[]) => MaybePromise<readonly Key[]> {
  const resolve = secretsResolver(secrets);
  // Keys are kept as values: some runtimes bind a promise to one request.
  const known = new WeakMap<readonly string[], readonly Key[]>();
  return (runtimeArguments) =>
    chain(
      resolve(runtimeArguments),
      (list) =>
        known.get(list) ??
        chain(all(list.map(derive)), (keys) => {
          known.set(list, keys);
          return keys;
        }),
    );
}

/** Tries keys in their order. Gives the first result that is not null; null if there is none. */
export function withAny<Key, Result>(
  keys: readonly Key[],
  attempt: (key: Key) => MaybePromise<Result | null>,
): MaybePromise<Result | null> {
  const [key] = keys;
  if (key === undefined) return null;
  return chain(attempt(key), (result) => result ?? withAny(keys.slice(1), attempt));
}

/**
 * Resolves secrets: a function that gives the checked list, which is the same object as long as the secrets are the same.
 *
 * @throws {TypeError} If a secret is not a string, or the list is not one or is empty
 * @throws {RangeError} If a secret has fewer than 32 bytes
 */
export function secretsResolver(
  secrets: Secrets,
): (runtimeArguments: readonly unknown[]) => MaybePromise<readonly string[]> {
  if (typeof secrets !== "function") {
    const list = checkedSecrets(secrets);
    return () => list;
  }
  const lists = new WeakMap<object, readonly string[]>();
  return (runtimeArguments) => {
    const [first] = runtimeArguments;
    const key = secrets.length === 0 || first === undefined ? NO_ARGUMENT : first;
    // A list for a primitive argument could only be kept for ever.
    const isKept = typeof key === "object" && key !== null;
    const known = isKept ? lists.get(key) : undefined;
    if (known !== undefined) return known;
    const given: MaybePromise<readonly string[]> = Reflect.apply(secrets, undefined, [...runtimeArguments]);
    return chain(given, (list) => {
      const checked = checkedSecrets(list);
      if (isKept) lists.set(key, checked);
      return checked;
    });
  };
}

/** Stands for the first argument where there is none, or where it makes no difference. */
const NO_ARGUMENT = {};

/** A copy: a list that is changed later would leave keys of other secrets, or of none. */
function checkedSecrets(given: unknown): readonly string[] {
  const rule = "secrets must be a list of strings, the current one first";
  if (!Array.isArray(given)) throw new TypeError(`${rule}; it is ${kindOf(given)}. ${HINT}`);
  if (given.length === 0) throw new TypeError(`${rule}; the list is empty`);
  return Array.from(given, (secret: unknown, at) => {
    const name = `secrets[${at}]`;
    if (typeof secret !== "string")
      throw new TypeError(`Each secret must be a string; ${name} is ${kindOf(secret)}. ${HINT}`);
    // UTF-8 has no half of a pair, so secrets that differ only there would be the same.
    if (!secret.isWellFormed()) throw new TypeError(`Each secret must be well-formed Unicode; ${name} is not`);
    const { length } = new TextEncoder().encode(secret);
    if (length >= LEAST_BYTES) return secret;
    const fact = length === 0 ? `is empty. ${HINT}` : `has ${length}`;
    throw new RangeError(`Each secret must have ${LEAST_BYTES} bytes or more; ${name} ${fact}`);
  });
}

const HINT = "Is the environment variable set?";

function kindOf(value: unknown): string {
  if (value === undefined || value === null) return String(value);
  if (typeof value !== "object") return `a ${typeof value}`;
  return Array.isArray(value) ? "a list" : "then" in value ? "a promise" : "an object";
}

function all<Value>(values: readonly MaybePromise<Value>[]): MaybePromise<readonly Value[]> {
  const ready = values.filter((value): value is Value => !isPromise(value));
  return ready.length === values.length ? ready : Promise.all(values);
}
