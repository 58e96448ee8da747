import { describe, expect, test, vi } from "vitest";
import { keyring, optionalSecrets, type Secrets } from "../../src/crypto/secrets.ts";

/** A keyring that uses each secret itself as its key. */
const resolverOf = (secrets: Secrets) => keyring(secrets, (secret) => secret);

const ONE = "a secret of at least thirty-two bytes";
const TWO = "another secret of at least thirty-two";

describe("keyring() of a list", () => {
  test("gives a copy, the same one each time", () => {
    const given = [ONE, TWO];
    const resolve = resolverOf(given);
    given.length = 0;
    expect(resolve([])).toEqual([ONE, TWO]);
    expect(resolve([{}])).toBe(resolve([]));
  });

  test.each<[unknown, string]>([
    [
      [undefined],
      "secrets must be a list of well-formed strings of 32 bytes or more, the current one first; secrets[0] is undefined. Is the environment variable unset?",
    ],
    [[ONE, null], "secrets[1] is null. Is the environment variable unset?"],
    [[1], "secrets[0] is a number. Is the environment variable unset?"],
    [[["a"]], "secrets[0] is a list. Is the environment variable unset?"],
    // oxlint-disable-next-line no-sparse-arrays
    [[,], "secrets[0] is undefined."],
    [
      [`${"a".repeat(40)}\uD800`],
      "list of well-formed strings of 32 bytes or more, the current one first; secrets[0] is not well-formed. Half of a surrogate pair is missing.",
    ],
    [[], "secrets is an empty list"],
    [
      undefined,
      "secrets must be a list of well-formed strings of 32 bytes or more, the current one first; secrets is undefined. Is the environment variable unset?",
    ],
    [ONE, "secrets is one string. Put it into a list."],
    [{}, "secrets is an object of another kind"],
  ])("throws a TypeError when it is %j", (secrets, message) => {
    const resolve = () => resolverOf(secrets as Secrets);
    expect(resolve).toThrow(TypeError);
    expect(resolve).toThrow(message);
  });

  test.each<[readonly string[], string]>([
    [
      [""],
      "secrets must be a list of well-formed strings of 32 bytes or more, the current one first; secrets[0] is 0 bytes long. Is the environment variable unset?",
    ],
    [[ONE, "a".repeat(31)], "strings of 32 bytes or more, the current one first; secrets[1] is 31 bytes long"],
  ])("throws a RangeError, and tells no secret, when it is %j", (secrets, message) => {
    expect(() => resolverOf(secrets)).toThrow(RangeError);
    expect(() => resolverOf(secrets)).toThrow(message);
    expect(() => resolverOf(secrets)).not.toThrow(/aaa/);
  });

  test("counts bytes, not characters", () => {
    expect(resolverOf(["ä".repeat(16)])([])).toHaveLength(1);
  });
});

describe("keyring() of a function", () => {
  test("that takes no argument calls it once", async () => {
    const secrets = vi.fn<() => string[]>(() => [ONE]);
    const resolve = resolverOf(secrets);
    expect(secrets).not.toHaveBeenCalled();
    expect(resolve([{}])).toEqual([ONE]);
    expect(resolve([{}])).toBe(resolve([]));
    expect(secrets).toHaveBeenCalledTimes(1);
  });

  test("calls it once for each first argument, with all of them", () => {
    const secrets = vi.fn<(env: { KEY: string }, context: unknown) => string[]>((env, _context) => [env.KEY]);
    const resolve = resolverOf(secrets);
    const [first, second] = [{ KEY: ONE }, { KEY: TWO }];
    for (let n = 0; n < 3; n++) {
      expect(resolve([first, "context"])).toEqual([ONE]);
      expect(resolve([second, "other"])).toEqual([TWO]);
    }
    expect(secrets.mock.calls).toEqual([
      [first, "context"],
      [second, "other"],
    ]);
  });

  test("does not take the secrets of one primitive argument for another's", () => {
    const resolve = resolverOf((tenant: string) => [tenant.repeat(40)]);
    expect(resolve(["a"])).toEqual(["a".repeat(40)]);
    expect(resolve(["b"])).toEqual(["b".repeat(40)]);
    const optional = resolverOf((tenant?: string) => [(tenant ?? "none").repeat(40)]);
    expect(optional([])).toEqual(["none".repeat(40)]);
    expect(optional(["b"])).toEqual(["b".repeat(40)]);
  });

  test("keeps the value of a promise, not the promise", async () => {
    const secrets = vi.fn<(env: object) => Promise<string[]>>(async (_env) => [ONE]);
    const resolve = resolverOf(secrets);
    const env = {};
    const [one, two] = [resolve([env]), resolve([env])];
    expect(one).not.toBe(two);
    expect(await Promise.all([one, two])).toEqual([[ONE], [ONE]]);
    expect(resolve([env])).toEqual([ONE]);
    expect(secrets).toHaveBeenCalledTimes(2);
  });

  test("forgets a failure", async () => {
    let isDown = true;
    const resolve = resolverOf(async () => {
      if (isDown) throw new Error("down");
      return [ONE];
    });
    await expect(resolve([])).rejects.toThrow("down");
    isDown = false;
    expect(await resolve([])).toEqual([ONE]);
  });

  test("says at the first request what is unset", () => {
    const resolve = resolverOf(((env: { SECRET?: string }) => [env.SECRET]) as unknown as Secrets);
    expect(() => resolve([{}])).toThrow("secrets[0] is undefined. Is the environment variable unset?");
  });
});

describe("keyring()", () => {
  test("makes keys once for a list, the current one first", () => {
    const derive = vi.fn<(secret: string) => number>((secret) => secret.length);
    const keys = keyring([ONE, `${TWO}!`], derive);
    expect(derive).not.toHaveBeenCalled();
    expect(keys([])).toEqual([ONE.length, TWO.length + 1]);
    expect(keys([])).toBe(keys([{}]));
    expect(derive).toHaveBeenCalledTimes(2);
  });

  test("gives keys at once after they were made with promises", async () => {
    const derive = vi.fn<(secret: string) => Promise<number>>(async (secret) => secret.length);
    const keys = keyring([ONE, TWO], derive);
    expect(await keys([])).toEqual([ONE.length, TWO.length]);
    expect(keys([])).toEqual([ONE.length, TWO.length]);
    expect(derive).toHaveBeenCalledTimes(2);
  });

  test("waits for all keys where one of them is made with a promise", async () => {
    const derive = (secret: string) => (secret === ONE ? Promise.resolve(secret.length) : secret.length);
    expect(await keyring([ONE, TWO], derive)([])).toEqual([ONE.length, TWO.length]);
  });

  test("throws when it is made with a bad list", () => {
    expect(() => keyring(["short"], (secret) => secret)).toThrow(RangeError);
  });
});

describe("keyring() of a function that takes an argument", () => {
  const spy = () => vi.fn<(tenant?: unknown) => string[]>((tenant) => [`${String(tenant)}, ${ONE}`]);

  test("calls it once when the runtime passes nothing", () => {
    const secrets = spy();
    const resolve = resolverOf(secrets);
    expect(resolve([])).toBe(resolve([]));
    expect(secrets).toHaveBeenCalledTimes(1);
  });

  test("takes null for an argument", () => {
    expect(resolverOf(spy())([null])).toEqual([`null, ${ONE}`]);
  });

  test("keeps apart what it gave for nothing and for a text", () => {
    const resolve = resolverOf(spy());
    expect(resolve(["b"])).toEqual([`b, ${ONE}`]);
    expect(resolve([])).toEqual([`undefined, ${ONE}`]);
    expect(resolve(["b"])).toEqual([`b, ${ONE}`]);
  });
});

describe("optionalSecrets()", () => {
  test("gives the secrets, or undefined where none were given", () => {
    const secrets = [ONE];
    expect(optionalSecrets({ secrets })).toBe(secrets);
    expect(optionalSecrets({})).toBeUndefined();
  });

  test("refuses those that were given and are undefined", () => {
    // As a program in plain JavaScript passes `secrets: process.env.SECRET`.
    const options = { secrets: undefined } as never;
    expect(() => optionalSecrets(options)).toThrow(TypeError);
    expect(() => optionalSecrets(options)).toThrow("secrets is undefined. Is the environment variable unset?");
  });
});

test("a promise of secrets is told from other objects", () => {
  expect(() => resolverOf(Promise.resolve([ONE]) as never)).toThrow(/secrets is a promise: await it/);
  expect(() => resolverOf({ ONE } as never)).toThrow(/secrets is an object of another kind/);
});
