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
  const deriveAll = (list: readonly string[]): MaybePromise<readonly Key[]> => all(list.map(derive));
  const resolve = secretsResolver(secrets);
  // Keys are kept as values: some runtimes bind a promise to one request.
  const known = new WeakMap<readonly string[], readonly Key[]>();
  return (runtimeArguments) =>
    chain(resolve(runtimeArguments), (list) => {
      const keys = known.get(list);
      if (keys !== undefined) return keys;
      return chain(deriveAll(list), (made) => {
        known.set(list, made);
        return made;
      });
    });
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
  let only: readonly string[] | undefined;
  const byArgument = new WeakMap<object, readonly string[]>();
  return (runtimeArguments) => {
    const [first] = runtimeArguments;
    // Primitive arguments cannot be remembered without keeping them for ever.
    const key = secrets.length > 0 && typeof first === "object" && first !== null ? first : undefined;
    const isOnly = secrets.length === 0 || first === undefined;
    const known = key === undefined ? (isOnly ? only : undefined) : byArgument.get(key);
    if (known !== undefined) return known;
    const given: MaybePromise<readonly string[]> = Reflect.apply(secrets, undefined, [...runtimeArguments]);
    return chain(given, (list) => {
      const checked = checkedSecrets(list);
      if (key !== undefined) byArgument.set(key, checked);
      else if (isOnly) only = checked;
      return checked;
    });
  };
}

/** A copy: a list that is changed later would leave keys of other secrets, or of none. */
function checkedSecrets(given: unknown): readonly string[] {
  if (!Array.isArray(given))
    throw new TypeError(`secrets must be a list of strings, the current one first; it is ${kindOf(given)}. ${HINT}`);
  if (given.length === 0)
    throw new TypeError("secrets must have at least one secret, the current one first; the list is empty");
  const list: readonly unknown[] = [...given];
  return list.map((secret, at) => {
    const name = `secrets[${at}]`;
    if (typeof secret !== "string")
      throw new TypeError(`Each secret must be a string; ${name} is ${kindOf(secret)}. ${HINT}`);
    if (secret === "")
      throw new RangeError(`Each secret must have ${LEAST_BYTES} bytes or more; ${name} is empty. ${HINT}`);
    // UTF-8 has no half of a pair, so secrets that differ only there would be the same.
    if (!secret.isWellFormed()) throw new TypeError(`Each secret must be well-formed Unicode; ${name} is not`);
    const { length } = new TextEncoder().encode(secret);
    if (length < LEAST_BYTES)
      throw new RangeError(`Each secret must have ${LEAST_BYTES} bytes or more; ${name} has ${length}`);
    return secret;
  });
}

const HINT = "Is the environment variable set?";

function kindOf(value: unknown): string {
  if (value === undefined || value === null) return String(value);
  if (typeof value === "object") return Array.isArray(value) ? "a list" : "an object";
  return `a ${typeof value}`;
}

function all<Value>(values: readonly MaybePromise<Value>[]): MaybePromise<readonly Value[]> {
  const ready: Value[] = [];
  for (const value of values) {
    if (isPromise(value)) return Promise.all(values);
    ready.push(value);
  }
  return ready;
}
