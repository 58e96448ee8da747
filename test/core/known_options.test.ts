import { describe, expect, test } from "vitest";
import { assertKnown, inheriting } from "../../src/core/known_options.ts";

const KNOWN = ["idleTimeout", "ids", "cookie", "encryption", "onEvent", "store", "storeTimeout", "now"];

describe("assertKnown()", () => {
  test("accepts an object with known names, or with none", () => {
    for (const options of [{}, { ids: 1 }, { store: undefined, cookie: 1 }, Object.create(null)])
      expect(assertKnown(options, KNOWN, "withSession")).toBeUndefined();
  });

  test("accepts an instance of a class that has one of the names", () => {
    class Chosen {
      ids = 1;
    }
    class Inherited {
      get ids(): number {
        return 1;
      }
    }
    for (const options of [new Chosen(), new Inherited()])
      expect(assertKnown(options, KNOWN, "withSession")).toBeUndefined();
    expect(() => assertKnown(Object.assign(new Chosen(), { idz: 1 }), KNOWN, "withSession")).toThrow('no option "idz"');
  });

  const instances = [new Date(), new Map(), new Request("https://shop.example/"), new URLSearchParams()];

  test.each([undefined, null, 7, "ids", () => {}, [], ["ids"], Promise.resolve({}), ...instances])(
    "throws a TypeError when it gets %j in place of an object",
    (options) => {
      expect(() => assertKnown(options, KNOWN, "withSession")).toThrow(
        new TypeError("The options of withSession must be an object, such as { idleTimeout: … }"),
      );
    },
  );

  test.each([
    ["secret", "ids"],
    ["secrets", "ids"],
    ["password", "ids"],
    ["ttl", "idleTimeout"],
    ["idle", "idleTimeout"],
    ["maxAge", "idleTimeout"],
    ["name", "cookie"],
    ["encrypt", "encryption"],
    ["observe", "onEvent"],
    ["logger", "onEvent"],
    ["clock", "now"],
    ["STORE", "store"],
    ["cookies", "cookie"],
    ["coookie", "cookie"],
    ["okie", "cookie"],
    ["storTimeout", "storeTimeout"],
    ["idsTimeout", "idleTimeout"],
    ["onevents", "onEvent"],
    ["id", "ids"],
  ])("names the known option that is nearest to %s, or that means the same elsewhere", (name, nearest) => {
    expect(() => assertKnown({ [name]: 1 }, KNOWN, "withSession")).toThrow(
      `withSession has no option "${name}": did you mean ${nearest}? It has ${KNOWN.join(", ")}`,
    );
  });

  test.each([
    ["expires", ["maxAge", "path", "refresh"], "maxAge"],
    ["maxAge", ["ttl"], "ttl"],
    ["maxAge", ["idle", "absolute", "cookie"], "cookie"],
    ["password", ["secrets", "revocation", "chunks"], "secrets"],
    ["max", ["limit", "onLimit", "credentialVersion", "indexes"], "limit"],
    ["max", ["maxSessions"], "maxSessions"],
    ["touchAfter", ["touchInterval", "touch"], "touchInterval"],
  ])("knows what %s is called where the options are %j", (name, known, meant) => {
    expect(() => assertKnown({ [name]: 1 }, known, "x")).toThrow(`did you mean ${meant}?`);
  });

  test.each(["name", "domain", "path", "sameSite", "secure", "httpOnly"])(
    "knows that %s is a part of the cookie here",
    (name) => {
      expect(() => assertKnown({ [name]: 1 }, ["cookie", `${name}s`], "x")).toThrow("did you mean cookie?");
    },
  );

  test.each([
    ["ttl", "idleTimeout"],
    ["expires", "maxAge"],
    ["expires", "ttl"],
    ["path", "cookie"],
    ["password", "ids"],
    ["password", "secrets"],
    ["max", "limit"],
    ["lazy", "load"],
    ["serializer", "codec"],
    ["log", "onEvent"],
    ["clock", "now"],
    ["driver", "store"],
  ])("takes %s for %s only where it is the whole name", (name, meant) => {
    expect(() => assertKnown({ [name]: 1 }, [meant], "x")).toThrow(`did you mean ${meant}?`);
    for (const longer of [`x${name}`, `${name}x`])
      expect(() => assertKnown({ [longer]: 1 }, [meant], "x")).toThrow(`no option "${longer}". It has ${meant}`);
  });

  test("names no alias that is not known there", () => {
    expect(() => assertKnown({ maxAge: 1 }, ["domain", "maxPage"], "cookie")).toThrow("did you mean maxPage?");
  });

  test.each(["rolling", "toString", "__proto__", "user"])("names none for %s, which is near to none", (name) => {
    expect(() => assertKnown(JSON.parse(`{"${name}":1}`), KNOWN, "withSession")).toThrow(
      `withSession has no option "${name}". It has ${KNOWN.join(", ")}`,
    );
  });

  test("goes by the beginning and the end of the whole name", () => {
    expect(() => assertKnown({ ab: 1 }, ["a", "abc"], "x")).toThrow("did you mean abc?");
    expect(() => assertKnown({ abc: 1 }, ["xyz", "abcdefgh"], "x")).toThrow("did you mean abcdefgh?");
    expect(() => assertKnown({ abcdefgh: 1 }, ["xyz", "abc"], "x")).toThrow("did you mean abc?");
    expect(() => assertKnown({ abcde: 1 }, ["xyz", "abxyz"], "x")).toThrow(
      'x has no option "abcde". It has xyz, abxyz',
    );
  });

  test("counts no letter twice", () => {
    expect(() => assertKnown({ abc: 1 }, ["xabc", "abxbc"], "x")).toThrow("did you mean xabc?");
  });

  test("names the first of two that are as near", () => {
    expect(() => assertKnown({ ab: 1 }, ["ac", "ad"], "x")).toThrow("did you mean ac?");
  });
});

test("inheriting() gives a copy of options what they inherit", () => {
  class Chosen {
    ids = 1;
    get store(): string {
      return "inherited";
    }
  }
  const options = new Chosen();
  const copy = inheriting({ ...options, ids: 2 }, options);
  expect([copy.ids, Reflect.get(copy, "store")]).toEqual([2, "inherited"]);
});
