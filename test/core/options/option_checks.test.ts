import { describe, expect, test } from "vitest";
import { type Operation, type Plugin, SessionManager } from "../../../mod.ts";
import {
  assertLimits,
  assertMethods,
  assertPlugins,
  checkedClock,
  checkedId,
  checkedIds,
  checkedRepository,
  rotationOf,
} from "../../../src/core/options/option_checks.ts";

const NO_DURATION = [0, -1, Number.NaN, Infinity, "60", null, undefined, true, [60], 60n];
const ID = "a".repeat(22);

test("a touchInterval can be 0 and an absoluteTimeout false, and the message for another value says so", () => {
  const given = (options: object) => (): unknown => new SessionManager(options);
  expect(given({ touchInterval: 0, absoluteTimeout: false })).not.toThrow();
  expect(given({ touchInterval: -1 })).toThrow(/touchInterval must be a positive number of seconds, or 0/);
  expect(given({ absoluteTimeout: null })).toThrow(/absoluteTimeout must be a positive number of seconds, or false/);
});

test("assertMethods() accepts an object or a function with these methods, and names what has not all of them", () => {
  const own = { load() {}, save() {} };
  class Store {
    load(): void {}
    save(): void {}
  }
  for (const value of [own, new Store(), Object.assign(() => {}, own)])
    expect(assertMethods("store", value, ["load", "save"])).toBeUndefined();
  for (const value of [undefined, null, 7, "store", {}, () => {}, { load() {} }, { ...own, save: true }, Store])
    expect(() => assertMethods("store", value, ["load", "save"])).toThrow(/^store must be an object with load, save; /);
});

test("checkedClock() lets no instant through that the store could not keep", () => {
  for (const instant of [0, -2, Date.now()])
    for (const part of [0, 0.25]) expect(checkedClock(() => instant + part)()).toBe(instant);
  for (const instant of [Number.NaN, Infinity, "0", new Date(), undefined, null, 0n])
    expect(() => checkedClock(() => instant as number)()).toThrow(TypeError);
});

test("checkedId() lets no id through that could be guessed or not travel, at once or later", async () => {
  expect([checkedId(ID), await checkedId(Promise.resolve(ID))]).toEqual([ID, ID]);
  for (const id of ["", ID.slice(1), `${ID} `, undefined, null, 7, [ID]] as string[]) {
    expect(() => checkedId(id)).toThrow(TypeError);
    await expect(checkedId(Promise.resolve(id))).rejects.toThrow(TypeError);
  }
});

describe("assertPlugins()", () => {
  const wrap: Plugin["wrap"] = (next) => next;

  test("accepts plugins of different names that each do something", () => {
    const steps = ["wrap", "admit", "respond", "attach", "answer"];
    const plugins = steps.map((step) => ({ name: step, [step]: () => {} }));
    expect(assertPlugins([])).toBeUndefined();
    expect(assertPlugins(plugins)).toBeUndefined();
  });

  test.each<[unknown, RegExp]>([
    [undefined, /plugins must be a list/],
    [{ name: "a", wrap }, /plugins must be a list/],
    [[undefined], /Each plugin must be an object with a name/],
    [[null], /Each plugin must be an object with a name/],
    [
      [wrap],
      /Each plugin must be an object with a name.*; signedIds\(\), encryption\(\) and cookieSessions\(\) belong to/,
    ],
    [["a"], /Each plugin must be an object with a name/],
    [[Object.assign(() => {}, { wrap })], /Each plugin must be an object with a name/],
    [[{ wrap }], /Each plugin must be an object with a name/],
    [[{ name: "", wrap }], /Each plugin must be an object with a name/],
    [[{ name: 7, wrap }], /Each plugin must be an object with a name/],
    [[{ name: "a" }], /"a" needs one of the functions wrap, admit, respond, attach, answer/],
    [[{ name: "a", Wrap: wrap }], /"a" needs one of the functions/],
    [[{ name: "a", wrap, answer: true }], /"a" needs one of the functions/],
    [[{ name: "a", wrap, respond: null }], /"a" needs one of the functions/],
    [
      [
        { name: "a", wrap },
        { name: "b", wrap },
        { name: "a", wrap },
      ],
      /two plugins of the name "a"/,
    ],
  ])("refuses %j, which would protect nothing", (plugins, message) => {
    expect(() => assertPlugins(plugins as Plugin[])).toThrow(message);
    expect(() => assertPlugins(plugins as Plugin[])).toThrow(TypeError);
  });
});

test("assertLimits() accepts timeouts up to their limits, and refuses longer ones", () => {
  for (const [limits, idle, absolute] of [
    [{}, 60, false],
    [{ idle: 60, absolute: 600 }, 60, 600],
    [{ idle: 60 }, 59, false],
    [{ absolute: 600 }, 601, 599],
  ] as const)
    expect(assertLimits(limits, idle, absolute)).toBeUndefined();
  expect(() => assertLimits({ idle: 60 }, 61, 60)).toThrow(/^idleTimeout must be at most timeoutLimits.idle, 60 s/);
  expect(() => assertLimits({ absolute: 60 }, 60, 61)).toThrow(
    /^absoluteTimeout must be at most timeoutLimits.absolute, 60 s/,
  );
  expect(() => assertLimits({ absolute: 60 }, 60, false)).toThrow(RangeError);
  for (const value of NO_DURATION.filter((each) => each !== undefined)) {
    expect(() => assertLimits({ idle: value } as object, 60, 60)).toThrow(/^timeoutLimits.idle must be/);
    expect(() => assertLimits({ absolute: value } as object, 60, 60)).toThrow(/^timeoutLimits.absolute must be/);
  }
  expect(() => assertLimits({ Idle: 60 } as object, 60, 60)).toThrow(TypeError);
});

describe("checkedIds()", () => {
  const op = {} as Operation;

  test("returns what the program's functions return, with or without a promise", async () => {
    const characters = String.fromCharCode(...Array.from({ length: 95 }, (_, at) => 32 + at));
    const token = `.${characters.replace(";", "")}`;
    const ids = checkedIds({ toToken: () => token, toId: (text, given) => (given === op ? text : null) });
    expect([ids.toToken("id", op), ids.toId("id", op)]).toEqual([token, "id"]);
    const later = checkedIds({ toToken: async (id) => id, toId: async () => null });
    expect(await Promise.all([later.toToken(token, op), later.toId("id", op)])).toEqual([token, null]);
  });

  const texts = [..."\t\r\n\0\u007f\u00a0;é😀"].map((each) => `secret${each}id`);
  test.each([...texts, " secret", "secret ", "secret\n", '"secret"', '"', "", " ", undefined, null, 7])(
    "refuses %j, and does not repeat it",
    async (token) => {
      const refused = /^ids\.toToken must return (?!.*secret)/;
      expect(() => checkedIds({ toToken: () => token as string, toId: String }).toToken("id", op)).toThrow(refused);
      const later = checkedIds({ toToken: async () => token as string, toId: String });
      await expect(later.toToken("id", op)).rejects.toThrow(refused);
    },
  );
});

test.each(["open", "refresh", "create", "update", "retire", "end"])(
  "checkedRepository() refuses what the wrap of a plugin returns without %s",
  (method) => {
    const plugin: Plugin = { name: "audit", admit: () => undefined };
    const call = (): never => {
      throw new Error("not called");
    };
    const repository = { open: call, refresh: call, create: call, update: call, retire: call, end: call };
    expect(checkedRepository(plugin, repository, repository)).toBe(repository);
    const incomplete = { ...repository, [method]: undefined };
    expect(() => checkedRepository(plugin, incomplete, repository)).toThrow(TypeError);
  },
);

describe("checkedRepository() of a plugin that leaves out optional members", () => {
  const plugin: Plugin = { name: "audit", admit: () => undefined };
  /** A repository whose methods need their object, as those of a class with private fields do. */
  class Named {
    readonly #name: string;
    constructor(name: string) {
      this.#name = name;
    }
    open = method("open");
    refresh = method("refresh");
    create = method("create");
    update = method("update");
    retire = method("retire");
    end = method("end");
    name(verb: string): string {
      return `${this.#name}.${verb}`;
    }
  }
  class Whole extends Named {
    readonly tokenHoldsSession = true;
    tokenFor = method("tokenFor");
    idOf = method("idOf");
    reinstate = method("reinstate");
  }
  function method(verb: string) {
    return function (this: Named): never {
      return this.name(verb) as never;
    };
  }
  const called = (repository: object): unknown[] =>
    ["open", "end", "tokenFor", "idOf", "reinstate"].map((verb) => Reflect.get(repository, verb)?.());

  test("takes those of the repository below", () => {
    const checked = checkedRepository(plugin, new Named("own"), new Whole("next"));
    expect(checked.tokenHoldsSession).toBe(true);
    expect(called(checked)).toEqual(["own.open", "own.end", "next.tokenFor", "next.idOf", "next.reinstate"]);
  });

  test("keeps those that it has, also if it has them as undefined", () => {
    const own = Object.assign(new Whole("own"), { idOf: undefined });
    const { reinstate: _, ...less } = new Whole("own");
    expect(checkedRepository(plugin, own as never, new Whole("next"))).toBe(own);
    const checked = checkedRepository(
      plugin,
      Object.assign(new Named("own"), { ...less, idOf: undefined }) as never,
      new Whole("next"),
    );
    expect(called(checked)).toEqual(["own.open", "own.end", "own.tokenFor", undefined, "next.reinstate"]);
  });

  test("has none that the repository below does not have", () => {
    const own = new Named("own");
    expect(checkedRepository(plugin, own, new Named("next"))).toBe(own);
  });
});

test("rotationOf() takes seconds, alone or with what follows when an old id is used again", () => {
  expect([
    rotationOf(undefined),
    rotationOf(60),
    rotationOf({ seconds: 60 }),
    rotationOf({ seconds: 60, onReuse: "destroy" }),
  ]).toEqual([
    { rotateEvery: undefined, endsOnReuse: false },
    { rotateEvery: 60, endsOnReuse: false },
    { rotateEvery: 60, endsOnReuse: false },
    { rotateEvery: 60, endsOnReuse: true },
  ]);
  for (const value of NO_DURATION.filter((each) => typeof each !== "object" && each !== undefined))
    expect(() => rotationOf(value as number)).toThrow(/^rotateEvery must be/);
  for (const seconds of NO_DURATION)
    expect(() => rotationOf({ seconds } as never)).toThrow(/^rotateEvery.seconds must be/);
  for (const wrong of [null, [], { seconds: 60, onReuse: "ban" }, { seconds: 60, onreuse: "destroy" }])
    expect(() => rotationOf(wrong as never)).toThrow(TypeError);
});
