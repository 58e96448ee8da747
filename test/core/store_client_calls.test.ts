import { beforeEach, describe, expect, onTestFinished, test, vi } from "vitest";
import { SessionError, type SessionStore, StoreBusyError, type StoredRecord, type Write } from "../../mod.ts";
import { mistake, storeLocked } from "../../src/core/errors.ts";
import { cleanError, reportFailure, StoreClient } from "../../src/core/store_client.ts";
import { codeOf, errorOf } from "../setup/sessions.ts";

const KEY = "key";
const FIELDS = new Map([["=a", "1"]]);
const RECORD: StoredRecord = { fields: FIELDS, lastSeenAt: 1, version: 1 };
const TRAITS = { consistency: "strong", compareAndSet: true, maxBytes: Infinity } as const;
const CHANGE: Write = { id: "w", record: RECORD, changed: FIELDS, expected: 1, expiresAt: 2 };
const TOUCH: Write = { ...CHANGE, changed: new Map() };
const END: Write = { ...TOUCH, record: { fields: new Map(), lastSeenAt: 1 } };

/** A client of a store, with a limit of five seconds. By default the store succeeds. */
function clientOf(verbs: Partial<SessionStore>, seconds = 5): StoreClient {
  return new StoreClient({ traits: TRAITS, load: () => RECORD, save: () => 2, delete: () => {}, ...verbs }, seconds);
}

/** Answers after this many milliseconds. */
function after<Answer>(milliseconds: number, answer: () => Answer): Promise<Answer> {
  return new Promise((resolve, reject) => {
    setTimeout(() => {
      try {
        resolve(answer());
      } catch (error) {
        reject(error);
      }
    }, milliseconds);
  });
}

/** How many milliseconds a promise takes to settle, and its value or the code of its error. */
async function settled(promise: unknown): Promise<readonly [milliseconds: number, outcome: unknown]> {
  const from = performance.now();
  let result: readonly [number, unknown] | undefined;
  const note = (outcome: unknown): void => {
    result = [performance.now() - from, outcome];
  };
  Promise.resolve(promise).then(note, (error: unknown) => note(error instanceof SessionError ? error.code : error));
  await vi.runAllTimersAsync();
  if (result === undefined) throw new Error("It did not settle");
  return result;
}

/** The event that reports a failure. */
function reported(during: "load" | "store", error: SessionError): unknown {
  const emit = vi.fn<(event: object) => void>();
  reportFailure({ emit }, during, error);
  return emit.mock.lastCall?.[0];
}

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] });
  vi.spyOn(Math, "random").mockReturnValue(0);
  onTestFinished(() => {
    vi.restoreAllMocks();
    vi.useRealTimers();
  });
});

describe("a call of a store", () => {
  test("is answered at once by a store that answers at once, and passes on what it is for", () => {
    const calls: unknown[] = [];
    const note = (...call: unknown[]): void => void calls.push(call);
    const client = clientOf({
      load: (...args) => (note("load", ...args), RECORD),
      save: (...args) => (note("save", ...args), 2),
      delete: (...args) => note("delete", ...args),
    });
    expect([client.load(KEY), client.save(KEY, CHANGE), client.delete(KEY, 1), client.delete(KEY)]).toEqual([
      RECORD,
      2,
      undefined,
      undefined,
    ]);
    expect(calls).toEqual([
      ["load", KEY, undefined],
      ["save", KEY, CHANGE, undefined],
      ["delete", KEY, 1, undefined],
      ["delete", KEY, undefined, undefined],
    ]);
    expect(client.traits).toBe(TRAITS);
    expect(vi.getTimerCount()).toBe(0);
  });

  test("is of the store itself, which may be an instance of a class", () => {
    class Store implements SessionStore {
      readonly traits = TRAITS;
      readonly #record: StoredRecord = RECORD;
      load(): StoredRecord {
        return this.#record;
      }
      save(): number {
        return Number(this.#record.version);
      }
      delete(): void {
        this.load();
      }
    }
    const client = new StoreClient(new Store(), 5);
    expect([client.load(KEY), client.save(KEY, CHANGE), client.delete(KEY)]).toEqual([RECORD, 1, undefined]);
  });

  test("is given no signal where its parameters leave none a place", () => {
    const given: unknown[] = [];
    // A parameter with a default value does not count, so these functions get no signal.
    const client = clientOf({
      load: (_key, signal: unknown = "none") => (given.push(signal), RECORD),
      save: (_key, _write, signal: unknown = "none") => (given.push(signal), 2),
      delete: (_key, _expected, signal: unknown = "none") => void given.push(signal),
    });
    client.load(KEY);
    client.save(KEY, CHANGE);
    client.delete(KEY, 1);
    expect(given).toEqual(["none", "none", "none"]);
  });

  test("leaves no timer behind, whatever became of it", async () => {
    const client = clientOf({ load: async () => RECORD, save: () => Promise.reject(new Error("down")) });
    expect(await client.load(KEY)).toBe(RECORD);
    expect(await codeOf(() => client.save(KEY, CHANGE))).toBe("ERR_STORE");
    expect(vi.getTimerCount()).toBe(0);
  });

  test.each([
    ["load", "OK"],
    ["save", ""],
    ["save", "OK"],
    ["delete", 1],
  ] as const)("of which the answer has no meaning is a failure, now and later: %s, %j", async (verb, answer) => {
    for (const given of [() => answer, async () => answer]) {
      const client = clientOf({ [verb]: given });
      const call = {
        load: () => client.load(KEY),
        save: () => client.save(KEY, CHANGE),
        delete: () => client.delete(KEY),
      };
      const error = await errorOf(call[verb]);
      expect(error.code).toBe("ERR_STORE");
      expect(error.message).toContain(
        { load: "load the session", save: "store the session", delete: "end the session" }[verb],
      );
    }
  });
});

describe("the time limit", () => {
  test("is one for all calls of an operation, from the first one on that takes time", async () => {
    const slow = <Answer>(answer: Answer) => after(3000, () => answer);
    const client = clientOf({ load: () => slow(RECORD), save: () => slow(2) });
    expect(await settled(client.load(KEY))).toEqual([3000, RECORD]);
    expect((await settled(client.save(KEY, CHANGE)))[1]).toBe("ERR_STORE_TIMEOUT");
    const other = clientOf({ save: () => slow(2) });
    other.load(KEY);
    vi.advanceTimersByTime(60_000);
    expect(await settled(other.save(KEY, CHANGE))).toEqual([3000, 2]);
  });

  test.each(["load", "save", "delete"] as const)("ends %s, and tells a store that asks for a signal", async (verb) => {
    const signals: AbortSignal[] = [];
    const hang = (signal?: AbortSignal): Promise<never> => {
      if (signal !== undefined) signals.push(signal);
      return new Promise(() => {});
    };
    const asking = clientOf({
      load: (_key, signal) => hang(signal),
      save: (_key, _write, signal) => hang(signal),
      delete: (_key, _expected, signal) => hang(signal),
    });
    const silent = clientOf({
      load: (_key) => hang(),
      save: (_key, _write) => hang(),
      delete: (_key, _expected) => hang(),
    });
    for (const client of [asking, silent]) {
      const call = {
        load: () => client.load(KEY),
        save: () => client.save(KEY, CHANGE),
        delete: () => client.delete(KEY),
      };
      let isOver = false;
      const pending = settled(call[verb]()).finally(() => (isOver = true));
      expect(signals.map(({ aborted }) => aborted)).toEqual(client === asking ? [false] : [true]);
      expect(isOver).toBe(false);
      expect(await pending).toEqual([5000, "ERR_STORE_TIMEOUT"]);
    }
    expect(signals.map(({ aborted }) => aborted)).toEqual([true]);
  });

  test("may be longer than a timer can be", async () => {
    const client = clientOf({ load: () => after(1000, () => RECORD) }, 3_000_000);
    expect(await settled(client.load(KEY))).toEqual([1000, RECORD]);
  });
});

describe("a busy store", () => {
  /** A store that is busy this many times. Its answers come at once, or later. */
  const busy = (times: number, takesTime: boolean, refusal = () => new StoreBusyError()) => {
    let calls = 0;
    const answer = (): number => {
      if (++calls <= times) throw refusal();
      return 2;
    };
    const save = (): number | Promise<number> => (takesTime ? after(0, answer) : answer());
    return { client: clientOf({ save }), calls: () => calls };
  };

  test.each([true, false])(
    "is asked again after 100, 200 and 400 milliseconds; it answers later: %s",
    async (takesTime) => {
      const { client, calls } = busy(3, takesTime);
      expect(await settled(client.save(KEY, CHANGE))).toEqual([700, 2]);
      expect(calls()).toBe(4);
    },
  );

  test.each([true, false])(
    "is asked again after 2, 4 and 8 milliseconds where another writer holds its lock; it answers later: %s",
    async (takesTime) => {
      const { client, calls } = busy(3, takesTime, () => storeLocked(new StoreBusyError()));
      expect(await settled(client.save(KEY, CHANGE))).toEqual([14, 2]);
      expect(calls()).toBe(4);
    },
  );

  test("is asked again after up to twice as long, by chance", async () => {
    vi.mocked(Math.random).mockReturnValue(0.5);
    expect(await settled(busy(2, false).client.save(KEY, CHANGE))).toEqual([450, 2]);
  });

  test("is not asked after the time limit", async () => {
    const { client, calls } = busy(Infinity, false);
    // The first five pauses add up to 3100; the sixth would end after 6300.
    expect(await settled(client.save(KEY, CHANGE))).toEqual([3100, "ERR_STORE"]);
    expect(calls()).toBe(6);
  });

  test("is not asked again for a touch, which may wait for the next request; for an end it is", async () => {
    expect(await settled(Promise.resolve().then(() => busy(1, false).client.save(KEY, TOUCH)))).toEqual([
      0,
      "ERR_STORE",
    ]);
    expect(await settled(busy(1, false).client.save(KEY, END))).toEqual([100, 2]);
  });

  test("is asked again for a load and a deletion", async () => {
    let isBusy = true;
    const once = <Answer>(answer: Answer): Answer => {
      isBusy = !isBusy;
      if (!isBusy) throw new StoreBusyError();
      return answer;
    };
    const client = clientOf({ load: () => once(RECORD), delete: () => once(undefined) });
    expect(await settled(client.load(KEY))).toEqual([100, RECORD]);
    expect(await settled(client.delete(KEY))).toEqual([100, undefined]);
  });

  test("is told from one that fails, which is not asked again", async () => {
    let calls = 0;
    const fail = (): never => {
      calls++;
      throw new Error("down");
    };
    const client = clientOf({ save: fail, load: async () => fail() });
    expect(await codeOf(() => client.save(KEY, CHANGE))).toBe("ERR_STORE");
    expect(await settled(client.load(KEY))).toEqual([0, "ERR_STORE"]);
    expect(calls).toBe(2);
  });
});

describe("after a conflict", () => {
  test("the next attempt follows at once, those after it wait for up to what the last one took, times the conflicts before", async () => {
    vi.mocked(Math.random).mockReturnValue(1);
    const client = clientOf({ save: () => after(10, () => "conflict" as const) }, 10);
    for (const wait of [0, 10, 20, 30]) {
      expect(await settled(client.save(KEY, CHANGE))).toEqual([10, "conflict"]);
      expect(await settled(client.backOff())).toEqual([wait, undefined]);
    }
    vi.mocked(Math.random).mockReturnValue(0.5);
    expect(await settled(client.save(KEY, CHANGE))).toEqual([10, "conflict"]);
    expect(await settled(client.backOff())).toEqual([20, undefined]);
  });

  test("no wait is longer than a quarter of what is left", async () => {
    vi.mocked(Math.random).mockReturnValue(1);
    const client = clientOf({ save: () => after(1000, () => "conflict" as const) }, 6);
    for (const wait of [0, 750]) {
      expect(await settled(client.save(KEY, CHANGE))).toEqual([1000, "conflict"]);
      expect(await settled(client.backOff())).toEqual([wait, undefined]);
    }
  });

  test("it is ERR_CONFLICT when no time is left for an attempt that takes as long as the last one", async () => {
    const client = clientOf({ save: () => after(2500, () => "conflict" as const) });
    expect(await settled(client.save(KEY, CHANGE))).toEqual([2500, "conflict"]);
    expect(await settled(client.backOff())).toEqual([0, "ERR_CONFLICT"]);
    const faster = clientOf({ save: () => after(2499, () => "conflict" as const) });
    expect(await settled(faster.save(KEY, CHANGE))).toEqual([2499, "conflict"]);
    expect(await settled(faster.backOff())).toEqual([0, undefined]);
  });

  test("an operation that took no time has all of it left", async () => {
    const client = clientOf({});
    expect(await settled(client.backOff())).toEqual([0, undefined]);
  });
});

describe("cleanError()", () => {
  const said = (error: unknown): string => String(cleanError("load the session", error).cause ?? "");

  test("leaves a SessionError and a mistake of the program as they are", () => {
    for (const error of [new SessionError("ERR_SESSION_GONE", "gone"), mistake("no binding")]) {
      expect(cleanError("load the session", error)).toBe(error);
    }
  });

  test("tells the class, the code and the reply of a client's error, each once, and keeps the error for an event", () => {
    class ReplyError extends Error {}
    const error = Object.assign(new ReplyError("NOAUTH Authentication required: secret"), { code: "ECONNRESET" });
    const cleaned = cleanError("load the session", error);
    expect(cleaned).toMatchObject({ code: "ERR_STORE", name: "SessionError" });
    expect(String(cleaned.cause)).toBe("Error: ReplyError ECONNRESET NOAUTH");
    expect(cleaned.message).toMatch(/^Cannot load the session: the store failed \(ReplyError ECONNRESET NOAUTH\)/);
    expect(reported("load", cleaned as SessionError)).toEqual({
      type: "failed",
      during: "load",
      error: cleaned,
      detail: error,
    });
    expect(said(Object.assign(new Error("OOM command"), { code: "OOM" }))).toBe("Error: Error OOM");
  });

  test("has nothing to tell in an event where a store has thrown nothing", () => {
    const error = new SessionError("ERR_STORE_TIMEOUT", "slow");
    expect(reported("store", error)).toStrictEqual({ type: "failed", during: "store", error });
  });

  test.each([
    ["no words", new Error("key 4711")],
    ["a code that holds more than a word", Object.assign(new Error(), { code: "user:4711" })],
    ["a code that begins with a word", Object.assign(new Error(), { code: "E 4711" })],
    ["a code that is too long to be one", Object.assign(new Error(), { code: "x".repeat(41) })],
    ["a reply that is not in capitals", new Error("Noauth 4711")],
    ["a word in capitals that no engine replies", new Error("HUNTER is no valid value")],
    ["a word that begins as a reply does", new Error("ERROR 4711")],
    ["a reply that does not come first", new Error("4711 NOAUTH ")],
    ["a reply without anything after it", new Error("NOAUTH")],
  ])("tells the class alone of an error with %s", (_what, error) => {
    expect(said(error)).toBe("Error: Error");
  });

  test.each([
    ["a text", "NOAUTH secret"],
    ["null", null],
    ["nothing", undefined],
    ["an object without a class", Object.create(null)],
    [
      "a proxy that refuses to be read",
      new Proxy(
        {},
        {
          get() {
            throw new Error("secret");
          },
          has() {
            throw new Error("secret");
          },
        },
      ),
    ],
  ])("says nothing of %s", (_what, error) => {
    const cleaned = cleanError("load the session", error);
    expect(cleaned.cause).toBeUndefined();
    expect(cleaned.message).toMatch(/^Cannot load the session: the store failed; the event/);
    expect(Reflect.get(Object(reported("store", cleaned as SessionError)), "detail")).toBe(error);
  });
});
