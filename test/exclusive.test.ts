import { describe, expect, expectTypeOf, onTestFinished, test, vi } from "vitest";
import { memoryStore, type Session, SessionManager, type SessionOptions, type SessionStore } from "../mod.ts";
import { cookieSessions } from "../src/cookie_sessions.ts";
import { encryption } from "../src/encryption.ts";
import { exclusive } from "../src/exclusive.ts";
import { faultyStore, type StoreFault } from "../src/testing.ts";
import { altered, codeOf, failing, gate, openStore, PATIENCE } from "./setup/sessions.ts";

interface Data {
  tokens?: { readonly refresh: number; readonly by?: string } | undefined;
  other?: string;
}

/** A session that several requests open. */
async function shared(
  options: SessionOptions<Data> = {},
): Promise<{ readonly sessions: SessionManager<Data>; readonly open: () => Session<Data> }> {
  const sessions = new SessionManager<Data>({ storeTimeout: PATIENCE, ...options });
  const session = sessions.open("");
  session.set("tokens", { refresh: 1 });
  await session.save();
  const id = String(await session.id());
  return { sessions, open: () => sessions.open(id) };
}

const next = (tokens: Data["tokens"]): Data["tokens"] => ({ refresh: (tokens?.refresh ?? 0) + 1 });

describe("exclusive()", () => {
  test("exclusive() stores and returns the result, which this request and others read then", async () => {
    const { open } = await shared();
    const session = open();
    const before = await session.get("tokens");
    expect(before).toEqual({ refresh: 1 });
    const result = await exclusive(session, "tokens", next);
    expectTypeOf(result).toEqualTypeOf<Data["tokens"]>();
    expect(result).toEqual({ refresh: 2 });
    expect(await session.get("tokens")).toEqual({ refresh: 2 });
    expect(await open().get("tokens")).toEqual({ refresh: 2 });
    expect(await open().all()).toEqual({ tokens: { refresh: 2 } });
    expect(await open().keys()).toEqual(["tokens"]);
  });

  test("exclusive() begins a session when there is none, and undefined removes the value", async () => {
    const sessions = new SessionManager<Data>();
    const session = sessions.open("");
    expect(await exclusive(session, "tokens", next)).toEqual({ refresh: 1 });
    const again = sessions.open(String(await session.id()));
    expect(await exclusive(again, "tokens", () => undefined)).toBeUndefined();
    expect(await again.has("tokens")).toBe(false);
    expect(await again.size()).toBe(0);
  });

  test("exclusive() gives the function what this request has changed in place, and stores it", async () => {
    const sessions = new SessionManager<{ list: number[]; other: number[] }>();
    const add = (list: number[] = []): number[] => [...list, 9];
    const begun = sessions.open("");
    (await begun.get("list", [1])).push(2);
    expect(await exclusive(begun, "list", add)).toEqual([1, 2, 9]);
    const session = sessions.open(String(await begun.id()));
    (await session.get("list"))?.push(3);
    (await session.get("other", [])).push(4);
    expect(await exclusive(session, "list", add)).toEqual([1, 2, 9, 3, 9]);
    await session.save();
    const stored = sessions.open(String(await session.id()));
    expect(await stored.all()).toEqual({ list: [1, 2, 9, 3, 9], other: [4] });
  });

  test("exclusive() keeps what was changed in place, although another request has replaced it meanwhile", async () => {
    const sessions = new SessionManager<{ list: number[]; other: number }>();
    const first = sessions.open("");
    first.set({ list: [1], other: 1 });
    await first.save();
    const open = (): Session<{ list: number[]; other: number }> => sessions.open(id);
    const id = String(await first.id());
    const session = open();
    const list = await session.get("list");
    await open().update("list", () => [5]);
    list?.push(2);
    await exclusive(session, "other", (other = 0) => other + 1);
    await session.save();
    expect(await open().all()).toEqual({ list: [1, 2], other: 2 });
  });

  test("exclusive() gives those who wait the result, and runs the function once", async () => {
    const { open } = await shared();
    let exchanges = 0;
    const results = await Promise.all(
      Array.from({ length: 50 }, async () => {
        const session = open();
        await session.get("tokens");
        return await exclusive(session, "tokens", async (tokens) => {
          exchanges++;
          await new Promise((resolve) => setTimeout(resolve, 20));
          return next(tokens);
        });
      }),
    );
    expect(exchanges).toBe(1);
    expect(new Set(results.map((tokens) => tokens?.refresh))).toEqual(new Set([2]));
  });

  test("exclusive() waits for as long as the function takes, which may be longer than a store may take", async () => {
    const { open } = await shared({ storeTimeout: 0.02 });
    const jar = gate();
    const begun = gate();
    const slow = exclusive(open(), "tokens", async (tokens) => {
      begun.open();
      await jar.opened;
      return next(tokens);
    });
    await begun.opened;
    let runs = 0;
    const waiting = exclusive(open(), "tokens", (tokens) => (runs++, next(tokens)));
    await new Promise((resolve) => setTimeout(resolve, 100));
    jar.open();
    expect(await Promise.all([slow, waiting])).toEqual([{ refresh: 2 }, { refresh: 2 }]);
    expect(runs).toBe(0);
  });

  test("exclusive() gives those who wait in the same request the result as well", async () => {
    const { open } = await shared({ store: openStore().store });
    const session = open();
    let exchanges = 0;
    const exchange = (tokens: Data["tokens"]): Data["tokens"] => (exchanges++, next(tokens));
    const results = await Promise.all(Array.from({ length: 5 }, () => exclusive(session, "tokens", exchange)));
    expect(exchanges).toBe(1);
    expect(results).toEqual(Array.from({ length: 5 }, () => ({ refresh: 2 })));
  });

  test("exclusive() runs the function with the stored value for who has seen the last result already", async () => {
    const { open } = await shared();
    for (let refresh = 2; refresh < 6; refresh++) expect(await exclusive(open(), "tokens", next)).toEqual({ refresh });
    // This request has loaded the session before the next exchange, so it gets the result of that exchange.
    const late = open();
    await late.get("tokens");
    await exclusive(open(), "tokens", next);
    expect(await exclusive(late, "tokens", next)).toEqual({ refresh: 6 });
    expect(await exclusive(late, "tokens", next)).toEqual({ refresh: 7 });
  });

  test("a result that equals the former value is a result", async () => {
    const { open } = await shared();
    const late = open();
    await late.get("tokens");
    await exclusive(open(), "tokens", (tokens) => tokens);
    let runs = 0;
    await exclusive(late, "tokens", (tokens) => (runs++, tokens));
    expect(runs).toBe(0);
  });

  test("keys do not wait for each other, and any text is a key", async () => {
    const sessions = new SessionManager<Record<string, string>>({ store: openStore().store });
    const first = sessions.open("");
    await first.create();
    await first.save();
    const id = String(await first.id());
    const jar = gate();
    const waiting = exclusive(sessions.open(id), "a", async () => (await jar.opened, "a"));
    for (const key of ["b", "", "*", "\n", "a b", "\ud800", "漢", '"a"', "__proto__"]) {
      expect(await exclusive(sessions.open(id), key, () => `of ${key.length}`)).toBe(`of ${key.length}`);
      expect(await sessions.open(id).get(key)).toBe(`of ${key.length}`);
    }
    jar.open();
    expect(await waiting).toBe("a");
    expect(await sessions.open(id).size()).toBe(10);
  });

  test("what the function throws is thrown, and the next one runs", async () => {
    const { open } = await shared();
    const session = open();
    await expect(
      exclusive(session, "tokens", () => {
        throw new RangeError("invalid_grant");
      }),
    ).rejects.toThrow("invalid_grant");
    const began = performance.now();
    expect(await exclusive(session, "tokens", next)).toEqual({ refresh: 2 });
    // The lease would last 30 s.
    expect(performance.now() - began).toBeLessThan(20_000);
  });

  test("what the function throws is thrown also if it is a failure of another store", async () => {
    const { open } = await shared();
    const failed = new SessionManager({ store: failing(memoryStore(), ["load"]) }).open("d".repeat(32));
    expect(await codeOf(() => exclusive(open(), "tokens", async () => (await failed.get("tokens")) as never))).toBe(
      "ERR_STORE",
    );
    expect(await exclusive(open(), "tokens", next)).toEqual({ refresh: 2 });
  });

  test("what cannot be stored, or fails the schema, is refused, and the next one runs", async () => {
    const schema = {
      "~standard": {
        version: 1 as const,
        vendor: "test",
        validate: (value: unknown) =>
          Number(Object(Object(value).tokens).refresh) > 9
            ? { issues: [{ message: "too great", path: ["tokens"] }] }
            : { value: value as Data },
      },
    };
    const { open } = await shared({ schema });
    expect(await codeOf(() => exclusive(open(), "tokens", () => ({ refresh: 1, by: (() => "") as never })))).toBe(
      "ERR_NOT_SERIALIZABLE",
    );
    expect(await codeOf(() => exclusive(open(), "tokens", () => ({ refresh: 10 })))).toBe("ERR_SCHEMA");
    expect(await exclusive(open(), "tokens", next)).toEqual({ refresh: 2 });
  });

  test.each<[string, StoreFault[]]>([
    ["fails", ["none", "rejects"]],
    ["fails after it has stored it", ["none", "does it but rejects"]],
    ["does not answer", ["none", "hangs"]],
  ])("the result is stored once more if the store %s, so that the effect happens once", async (_how, save) => {
    const store = faultyStore({ ...memoryStore(), traits: { ...memoryStore().traits, exact: false } });
    const { sessions, open } = await shared({ store });
    const impatient = new SessionManager<Data>({ store, storeTimeout: 0.2 });
    const id = String(await open().id());
    const waiting = sessions.open(id);
    await waiting.get("tokens");
    store.plan({ save });
    const run = vi.fn<typeof next>(next);
    const first = exclusive(impatient.open(id), "tokens", run);
    expect([await first, await exclusive(waiting, "tokens", run)]).toEqual([{ refresh: 2 }, { refresh: 2 }]);
    expect(run).toHaveBeenCalledOnce();
  });

  test("the result is stored once more if other requests keep changing the session until no time is left", async () => {
    const { store: inner } = openStore();
    let isBusy = false;
    const store = altered(inner, {
      async change(save, key, write) {
        if (!isBusy) return await save(key, write);
        isBusy = false;
        // It takes so long that there is no time for another attempt.
        await new Promise((resolve) => setTimeout(resolve, 150));
        return "conflict";
      },
    });
    const { open } = await shared({ store, storeTimeout: 0.2 });
    const exchange = vi.fn<typeof next>((tokens) => ((isBusy = true), next(tokens)));
    expect(await exclusive(open(), "tokens", exchange)).toEqual({ refresh: 2 });
    expect(await open().get("tokens")).toEqual({ refresh: 2 });
    expect(exchange).toHaveBeenCalledOnce();
  });

  test("the first error is thrown if the result cannot be stored the second time either", async () => {
    const store = faultyStore(memoryStore());
    const { open } = await shared({ store, storeTimeout: 0.2 });
    const session = open();
    store.plan({ save: ["none", "hangs", "rejects"] });
    expect(await codeOf(() => exclusive(session, "tokens", next))).toBe("ERR_STORE_TIMEOUT");
    expect(await open().get("tokens")).toEqual({ refresh: 1 });
  });

  test('exclusive() throws the failure of the store to load the session, also with onStoreError: "anonymous"', async () => {
    const sessions = new SessionManager({ store: failing(memoryStore(), ["load"]), onStoreError: "anonymous" });
    let calls = 0;
    const session = sessions.open("d".repeat(32));
    expect(await codeOf(() => exclusive(session, "token", () => ++calls))).toBe("ERR_STORE");
    expect(calls).toBe(0);
  });

  test("what this request and the function itself change is stored as well", async () => {
    const { open } = await shared();
    const session = open();
    session.set("other", "before");
    session.set("tokens", { refresh: 5 });
    await exclusive(session, "tokens", async (tokens) => {
      expect(await session.get("other")).toBe("before");
      session.set("other", `within ${tokens?.refresh}`);
      await session.save();
      return next(tokens);
    });
    expect(await open().all()).toEqual({ other: "within 5", tokens: { refresh: 6 } });
  });

  test("exclusive() is waited for although nobody awaits it", async () => {
    const { sessions, open } = await shared({ store: openStore().store });
    const request = new Request("https://shop.example/", {
      headers: { Cookie: `__Host-session=${await open().id()}` },
    });
    const session = sessions.start(request);
    void exclusive(session, "tokens", next);
    await sessions.commit(session);
    expect(await open().get("tokens")).toEqual({ refresh: 2 });
  });
});

describe("the lease", () => {
  test("a function that took longer and was overtaken cannot store its result", async () => {
    const { open } = await shared();
    const jar = gate();
    const slow = exclusive(open(), "tokens", async () => (await jar.opened, { refresh: 100, by: "slow" }), {
      lease: 0.05,
    });
    const fast = gate();
    const begun = gate();
    const overtake = async (tokens: Parameters<typeof next>[0]) => {
      begun.open();
      await fast.opened;
      return next(tokens);
    };
    const overtaking = exclusive(open(), "tokens", overtake, { lease: 30 });
    // The slow function ends before the other has stored anything.
    await begun.opened;
    jar.open();
    expect(await codeOf(() => slow)).toBe("ERR_CONFLICT");
    fast.open();
    expect(await overtaking).toEqual({ refresh: 2 });
    expect(await open().get("tokens")).toEqual({ refresh: 2 });
  });

  test("a function that took longer and was not overtaken stores its result", async () => {
    const { open } = await shared();
    const result = await exclusive(
      open(),
      "tokens",
      async (tokens) => (await new Promise((resolve) => setTimeout(resolve, 60)), next(tokens)),
      { lease: 0.01 },
    );
    expect(result).toEqual({ refresh: 2 });
  });

  test("a request that fails after it was overtaken does not end the lease of the other", async () => {
    const { open } = await shared();
    const jar = gate();
    const slow = exclusive(open(), "tokens", async () => (await jar.opened, Promise.reject(new Error("failed"))), {
      lease: 0.02,
    });
    const fast = gate();
    let runs = 0;
    const exchange = async (tokens: Data["tokens"]): Promise<Data["tokens"]> => (
      runs++,
      await fast.opened,
      next(tokens)
    );
    const overtaking = exclusive(open(), "tokens", exchange);
    while (runs === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    jar.open();
    await expect(slow).rejects.toThrow("failed");
    const third = exclusive(open(), "tokens", exchange);
    await new Promise((resolve) => setTimeout(resolve, 50));
    fast.open();
    expect(await Promise.all([overtaking, third])).toEqual([{ refresh: 2 }, { refresh: 2 }]);
    expect(runs).toBe(1);
  });

  test("a request that waits while one lease follows another waits for the second one as long", async () => {
    const store = memoryStore();
    let loads = 0;
    let runs = 0;
    let held: Promise<void> | undefined;
    const watched: SessionStore = {
      ...store,
      async load(key) {
        loads++;
        await held;
        return await store.load(key);
      },
    };
    const loaded = async (more: number): Promise<void> => {
      const enough = loads + more;
      while (loads < enough && runs === 0) await new Promise((resolve) => setTimeout(resolve, 1));
    };
    const real = performance.now.bind(performance);
    let ahead = 0;
    const spy = vi.spyOn(performance, "now").mockImplementation(() => real() + ahead);
    onTestFinished(() => spy.mockRestore());
    const sessions = new SessionManager<Data>({ store });
    const first = sessions.open("");
    first.set("tokens", { refresh: 1 });
    await first.save();
    const id = String(await first.id());

    const failure = gate();
    const fail = async (): Promise<never> => (await failure.opened, Promise.reject(new Error("failed")));
    const failing = exclusive(sessions.open(id), "tokens", fail, { lease: 30 });
    const waiting = exclusive(new SessionManager<Data>({ store: watched }).open(id), "tokens", (tokens) => {
      runs++;
      return next(tokens);
    });
    await loaded(4);
    const release = gate();
    held = release.opened;
    ahead = 29_000;
    failure.open();
    await expect(failing).rejects.toThrow("failed");
    const begun = gate();
    const end = gate();
    const follow = async (tokens: Data["tokens"]): Promise<Data["tokens"]> => {
      begun.open();
      await end.opened;
      return next(tokens);
    };
    const following = exclusive(sessions.open(id), "tokens", follow, { lease: 30 });
    await begun.opened;
    // The first lease would have ended, and the second one has just begun.
    ahead = 31_000;
    held = undefined;
    release.open();
    await loaded(4);
    end.open();
    expect(await Promise.all([following, waiting])).toEqual([{ refresh: 2 }, { refresh: 2 }]);
    expect(runs).toBe(0);
  });

  test("servers whose clocks are five minutes apart do not take a lease for over", async () => {
    const store = memoryStore();
    const server = (skew: number): SessionManager<Data> =>
      new SessionManager<Data>({ store, now: () => Date.now() + skew * 1000 });
    const first = server(0).open("");
    first.set("tokens", { refresh: 1 });
    await first.save();
    const id = String(await first.id());
    let runs = 0;
    const results = await Promise.all(
      [-300, 300, 0, -300, 300].map((skew) =>
        exclusive(
          server(skew).open(id),
          "tokens",
          async (tokens) => (runs++, await new Promise((resolve) => setTimeout(resolve, 40)), next(tokens)),
          { lease: 500 },
        ),
      ),
    );
    expect(runs).toBe(1);
    expect(results.every((tokens) => tokens?.refresh === 2)).toBe(true);
  });

  test("a lease of a process that ended is over for who has waited for it, and long afterwards for everybody", async () => {
    const store = memoryStore();
    let isDead = false;
    const dying: SessionStore = {
      ...store,
      save: (key, write) => (isDead ? new Promise(() => {}) : store.save(key, write)),
    };
    let now = Date.now();
    const clock = (): number => now;
    const sessions = new SessionManager<Data>({ store, now: clock });
    const first = sessions.open("");
    first.set("tokens", { refresh: 1 });
    await first.save();
    const id = String(await first.id());
    const die = (lease: number): void => {
      isDead = false;
      const session = new SessionManager<Data>({ store: dying, now: clock }).open(id);
      exclusive(session, "tokens", () => ((isDead = true), { refresh: 100 }), { lease }).catch(() => {});
    };
    die(0.2);
    await new Promise((resolve) => setTimeout(resolve, 20));
    const began = performance.now();
    expect(await exclusive(sessions.open(id), "tokens", next)).toEqual({ refresh: 2 });
    expect(performance.now() - began).toBeGreaterThan(150);
    die(3600);
    await new Promise((resolve) => setTimeout(resolve, 20));
    now += 3600_000 + 600_001;
    expect(await exclusive(sessions.open(id), "tokens", next)).toEqual({ refresh: 3 });
  });

  test("clear() does not end a lease, and destroy() does", async () => {
    const { open } = await shared();
    for (const end of ["clear", "destroy"] as const) {
      const session = open();
      const running = exclusive(session, "tokens", async () => {
        const other = open();
        if (end === "clear") other.clear();
        else await other.destroy();
        await other.save();
        return { refresh: 7 };
      });
      if (end === "clear") expect(await running).toEqual({ refresh: 7 });
      else expect(await codeOf(() => running)).toBe("ERR_SESSION_GONE");
      expect(await open().all()).toEqual(end === "clear" ? { tokens: { refresh: 7 } } : {});
    }
  });

  test.each<[string, (session: Session<Data>) => unknown]>([
    ["", () => {}],
    [" and records a change of another one", (session) => session.set("other", "x")],
    [" and begins another one", async (session) => (session.set("other", "x"), await session.save())],
  ])(
    "a function that ends the session itself%s stores no result, and begins no session for it",
    async (_what, more) => {
      const { sessions, open } = await shared();
      const id = String(await open().id());
      const session = sessions.start(
        new Request("https://shop.example", { headers: { Cookie: `__Host-session=${id}` } }),
      );
      const call = exclusive(session, "tokens", async (tokens) => {
        await session.destroy();
        await more(session);
        return next(tokens);
      });
      expect(await codeOf(() => call)).toBe("ERR_SESSION_GONE");
      const [line = ""] = (await sessions.respond(session, new Response())).headers.getSetCookie();
      const [, begun = ""] = /=([^;]*)/.exec(line) ?? [];
      expect({ ...(await sessions.open(begun).all()) }).toEqual(_what === "" ? {} : { other: "x" });
      expect(await open().all()).toEqual({});
      if (_what === "") expect(line).toContain("Max-Age=0");
    },
  );

  test("stores that cannot compare and set are refused at the call, and so is what is no lease", async () => {
    const store = {
      ...memoryStore(),
      traits: { consistency: "eventual", compareAndSet: false, maxBytes: Infinity },
    } as const;
    await expect(exclusive(new SessionManager<Data>({ store }).open(""), "tokens", next)).rejects.toThrow(TypeError);
    const cookies = new SessionManager<Data>({
      store: cookieSessions({ secrets: ["a secret of at least thirty-two bytes"] }),
    });
    await expect(exclusive(cookies.start(new Request("https://shop.example/")), "tokens", next)).rejects.toThrow(
      TypeError,
    );
    const session = new SessionManager<Data>().open("");
    for (const lease of [0, -1, NaN, Infinity])
      expect(() => exclusive(session, "tokens", next, { lease })).toThrow(RangeError);
    // @ts-expect-error -- from JavaScript
    expect(() => exclusive(session, "tokens", next, { lease: "30" })).toThrow(RangeError);
    // @ts-expect-error -- from JavaScript
    expect(() => exclusive(session, 7, next)).toThrow("needs a key and a function");
    // @ts-expect-error -- from JavaScript
    expect(() => exclusive(session, "tokens", { refresh: 2 })).toThrow("needs a key and a function");
    // @ts-expect-error -- from JavaScript
    expect(() => exclusive(session, "tokens", next, { leese: 1 })).toThrow(/lease/);
    // @ts-expect-error -- from JavaScript
    expect(() => exclusive({}, "tokens", next)).toThrow(TypeError);
  });

  test("an encrypted session keeps its lease as well", async () => {
    const { open } = await shared({ encryption: encryption({ secrets: ["a secret of at least thirty-two bytes"] }) });
    let runs = 0;
    await Promise.all(
      Array.from({ length: 5 }, () =>
        exclusive(
          open(),
          "tokens",
          async (tokens) => (runs++, await new Promise((resolve) => setTimeout(resolve, 10)), next(tokens)),
        ),
      ),
    );
    expect(runs).toBe(1);
  });
});
