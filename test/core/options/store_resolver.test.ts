import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { afterEach, describe, expect, test, vi } from "vitest";
import { memoryStore, SessionManager, type SessionStore } from "../../../mod.ts";
import { cookieSessions } from "../../../src/cookie_sessions.ts";
import { argumentsOf, storeResolver } from "../../../src/core/options/store_resolver.ts";
import { codeOf } from "../../setup/sessions.ts";

const store = memoryStore();

/** A function that opens a store, and a list of its arguments. */
function opener<Found extends SessionStore | Promise<SessionStore>>(open: () => Found) {
  const asked: unknown[] = [];
  return { asked, open: (given: unknown): Found => (asked.push(given), open()) };
}

test("a store that is no function is the answer, whatever the runtime passes", () => {
  expect(storeResolver(store)(["env"])).toBe(store);
});

describe("a function of an argument", () => {
  test("is called once for each distinct first argument, an object or not", () => {
    const { asked, open } = opener(() => memoryStore());
    const resolve = storeResolver(open);
    const [env, otherEnv, bindings] = [{}, {}, (): void => {}];
    const given = [env, otherEnv, bindings, "env", "other", undefined, null, 0];
    const first = given.map((each) => resolve([each, "rest"]));
    expect(new Set(first).size).toBe(given.length);
    expect(given.map((each) => resolve([each, "other rest"]))).toEqual(first);
    expect(asked).toEqual(given);
  });

  test("is called once while it opens a client, and not again when that is open", async () => {
    const { asked, open } = opener(async () => memoryStore());
    const resolve = storeResolver(open);
    const opening = resolve(["env"]);
    expect(resolve(["env"])).toBe(opening);
    const found = await opening;
    // Without a promise, because a memory store answers at once.
    expect(resolve(["env"])).toBe(found);
    expect(asked).toEqual(["env"]);
  });

  test("is called again after a failure", async () => {
    let isDown = true;
    const { asked, open } = opener(async () => {
      if (isDown) throw new Error("down");
      return store;
    });
    const resolve = storeResolver(open);
    expect(await codeOf(() => resolve(["env"]))).toBe("ERR_STORE");
    isDown = false;
    expect(await resolve(["env"])).toBe(store);
    expect(asked).toEqual(["env", "env"]);
  });

  test("gets all that the runtime passes, but the sessions of other wrappers", async () => {
    const asked: unknown[][] = [];
    const sessions = new SessionManager({ store: (...given: unknown[]) => (asked.push(given), store) });
    const session = new SessionManager().open("");
    const request = new Request("https://shop.example/", { headers: { Cookie: `__Host-session=${"a".repeat(32)}` } });
    await sessions.start(request, session, "env", null, "context").get("n");
    expect(asked).toEqual([["env", null, "context"]]);
  });
});

test("an argument that the runtime has dropped is kept no longer than the runtime does", async () => {
  setFlagsFromString("--expose-gc");
  const collectGarbage: () => void = runInNewContext("gc");
  const resolve = storeResolver((_env: unknown) => store);
  const isKept = (argument: object): (() => boolean) => {
    expect(resolve([argument])).toBe(store);
    const kept = new WeakRef(argument);
    return () => kept.deref() !== undefined;
  };
  const asked = [isKept({}), isKept(() => {})];
  // A WeakRef keeps its object alive until the end of the turn.
  await new Promise(setImmediate);
  collectGarbage();
  expect(asked.map((each) => each())).toEqual([false, false]);
});

test("a function of no argument is called once, whatever the runtime passes", () => {
  let calls = 0;
  const resolve = storeResolver(() => (calls++, store));
  for (const given of [[{}], [{}], ["env"], []]) expect(resolve(given)).toBe(store);
  expect(calls).toBe(1);
});

test.each<[string, (open: () => SessionStore) => (env?: unknown) => SessionStore | Promise<SessionStore>]>([
  ["of no argument", (open) => () => open()],
  ["of an argument", (open) => (_env) => open()],
  ["that is async", (open) => async () => open()],
])("a function %s is called again when the client of its store has closed for good", async (_name, made) => {
  const closed = new Set<SessionStore>();
  let calls = 0;
  const open = (): SessionStore => {
    calls++;
    const opened: SessionStore = { ...memoryStore(), isClosed: () => closed.has(opened) };
    return opened;
  };
  const resolve = storeResolver(made(open) as never);
  const [env] = [{}];
  const first = await resolve([env]);
  expect(await resolve([env])).toBe(first);
  closed.add(first);
  const [second, same] = await Promise.all([resolve([env]), resolve([env])]);
  expect(second).not.toBe(first);
  expect(same).toBe(second);
  expect(await resolve([env])).toBe(second);
  expect(calls).toBe(2);
});

test("argumentsOf() gives the very same list when it holds no session", () => {
  const given = ["env", null];
  expect(argumentsOf(given)).toBe(given);
});

describe("on Workers, where a request must not await the promise of another one", () => {
  afterEach(() => {
    vi.unstubAllGlobals();
    vi.resetModules();
  });

  test("each request opens the store until one has opened it", async () => {
    vi.resetModules();
    vi.stubGlobal("navigator", { userAgent: "Cloudflare-Workers" });
    const fresh = await import("../../../src/core/options/store_resolver.ts");
    const { asked, open } = opener(async () => memoryStore());
    const resolve = fresh.storeResolver(open);
    const [one, other] = [resolve(["env"]), resolve(["env"])];
    expect(other).not.toBe(one);
    await Promise.all([one, other]);
    expect(resolve(["env"])).toBe(await other);
    expect(asked).toHaveLength(2);
  });
});

describe("what a function throws or rejects with", () => {
  const mistakes = [new TypeError("env.SESSIONS is not set"), new RangeError("no such shard"), new ReferenceError("x")];
  const failures: [string, unknown][] = [
    ["an error of a client", new Error("secret")],
    [
      "a TypeError with a code, as a client throws it",
      Object.assign(new TypeError("secret"), { code: "ERR_INVALID_URL" }),
    ],
    ["a TypeError with a cause, as fetch() throws it", new TypeError("secret", { cause: new Error("refused") })],
    ["a text", "secret"],
    ["null", null],
    ["nothing", undefined],
    ["an object without a name", { secret: "secret" }],
  ];
  const both = (thrown: unknown) => [
    () => {
      throw thrown;
    },
    () => Promise.reject(thrown),
  ];

  test.each(mistakes)("is told as it is when it is a mistake of the program: %s", async (error) => {
    for (const open of both(error)) await expect((async () => storeResolver(open)([]))()).rejects.toBe(error);
  });

  test.each(failures)("is a failure of the store when it is %s", async (_kind, thrown) => {
    for (const open of both(thrown)) {
      const error = await (async () => storeResolver(open)([]))().catch((error: unknown) => error);
      expect(error).toMatchObject({ code: "ERR_STORE" });
      expect(String(error)).toContain("open the store");
      expect(String(error)).not.toContain("secret");
    }
  });
});

test.each([undefined, null, {}, { load() {}, save() {} }, { ...store, delete: undefined }])(
  "a function that gives no store throws a TypeError, at once or later",
  async (found) => {
    for (const open of [() => found as unknown as SessionStore, async () => found as unknown as SessionStore]) {
      const opening = async () => storeResolver(open)([]);
      await expect(opening()).rejects.toThrow(TypeError);
      await expect(opening()).rejects.toThrow(/^What the function of the option store returns /);
    }
  },
);

test("a function must not give cookieSessions(), which is no store", async () => {
  const source = cookieSessions({ secrets: ["a secret of at least thirty-two bytes"] }) as unknown as SessionStore;
  for (const open of [() => source, async () => source])
    await expect((async () => storeResolver(open)([]))()).rejects.toThrow(/cookieSessions\(\) itself/);
});
