import { describe, expect, it, onTestFinished } from "vitest";
import { type SessionEvent, SessionManager } from "../../mod.ts";
import { isBusy } from "../../src/core/errors.ts";
import { isPromise } from "../../src/core/maybe_promise.ts";
import type { RecordVersion, SessionStore, Write } from "../../src/core/store.ts";
import { memoryStore } from "../../src/stores/memory.ts";
import { fakeClock, type FaultPlan, faultyStore, storeCases } from "../../src/testing.ts";

const KEY = "0123456789abcdef".repeat(4);
const OTHER = "fedcba9876543210".repeat(4);

function writeOf(fields: Record<string, string>, expected: RecordVersion | null = null): Write {
  const record = { fields: new Map(Object.entries(fields)), lastSeenAt: 1000 };
  return { id: crypto.randomUUID(), record, changed: record.fields, expected, expiresAt: 2000 };
}

async function valueOf(store: SessionStore, key: string = KEY): Promise<string | undefined> {
  return (await store.load(key))?.fields.get("a");
}

describe("faultyStore()", () => {
  it("has closed for good when the store has", () => {
    expect(faultyStore({ ...memoryStore(), isClosed: () => true }).isClosed?.()).toBe(true);
    expect(faultyStore(memoryStore()).isClosed).toBeUndefined();
  });

  for (const { name, run } of storeCases()) {
    it(`without a plan: ${name}`, () => run(() => faultyStore(memoryStore())));
  }

  it("answers as the store does, with or without a promise, when nothing is to fail", () => {
    const store = faultyStore(memoryStore());
    const answers = [store.save(KEY, writeOf({ a: "1" })), store.load(KEY), store.delete(KEY)];
    expect(answers.map(isPromise)).toEqual([false, false, false]);
  });

  it("counts calls, plays a list in turn, and starts again with each plan", async () => {
    const store = faultyStore(memoryStore(), { save: ["rejects", "none"] });
    await expect(store.save(KEY, writeOf({ a: "1" }))).rejects.toThrow("told to fail");
    await store.save(KEY, writeOf({ a: "1" }));
    await store.load(KEY);
    expect(store.calls).toEqual({ load: 1, save: 2, delete: 0 });
    store.plan({ load: "rejects" });
    expect(store.calls).toEqual({ load: 0, save: 0, delete: 0 });
    await expect(store.load(KEY)).rejects.toThrow();
    await expect(store.load(KEY)).rejects.toThrow();
    store.plan({});
    expect(await valueOf(store)).toBe("1");
  });

  it("throws a TypeError for a plan with a word that it does not know, which would do nothing", () => {
    const store = faultyStore(memoryStore());
    const wrong: readonly (readonly [plan: unknown, message: string])[] = [
      [{ laod: "rejects" }, "did you mean load?"],
      [{ load: "rejcts" }, "faultyStore: load must be one of"],
      [{ save: ["none", "hang"] }, "faultyStore: save must be one of"],
      [{ save: "truncated" }, "faultyStore: save must be one of"],
      [{ delete: 1 }, "faultyStore: delete must be one of"],
      [null, "must be an object"],
    ];
    for (const [plan, message] of wrong) {
      expect(() => store.plan(plan as FaultPlan)).toThrow(TypeError);
      expect(() => store.plan(plan as FaultPlan)).toThrow(message);
      expect(() => faultyStore(memoryStore(), plan as FaultPlan)).toThrow(message);
    }
  });

  it("says so when it is to answer another key's record and has seen no other one", async () => {
    const store = faultyStore(memoryStore());
    await store.save(KEY, writeOf({ a: "1" }));
    store.plan({ load: "another key's" });
    expect(() => store.load(KEY)).toThrow("faultyStore saw no other session created");
    await store.save(OTHER, writeOf({ a: "2" }));
    expect(await valueOf(store)).toBe("2");
  });

  it("takes no record for another session's that it saw changed alone", async () => {
    const inner = memoryStore();
    const store = faultyStore(inner);
    const version = await inner.save(OTHER, writeOf({ a: "2" }));
    if (version === "conflict") throw new Error("Nothing was stored");
    await store.save(KEY, writeOf({ a: "1" }));
    await store.save(OTHER, writeOf({ a: "3" }, version));
    store.plan({ load: "another key's" });
    expect(() => store.load(KEY)).toThrow("faultyStore saw no other session created");
  });

  it("takes a plan for each verb to begin with, and refuses what is no store, and a plan for anything else", async () => {
    for (const verb of ["load", "save", "delete"] as const) {
      const store = faultyStore(memoryStore(), { [verb]: "rejects" });
      const calls = {
        load: () => store.load(KEY),
        save: () => store.save(KEY, writeOf({})),
        delete: () => store.delete(KEY),
      };
      await expect(calls[verb]()).rejects.toThrow("told to fail");
      expect(() => faultyStore({ ...memoryStore(), [verb]: undefined } as never)).toThrow(TypeError);
    }
    expect(() => faultyStore(memoryStore(), { create: "rejects" } as object)).toThrow(TypeError);
  });

  it("lets nobody hear of a failure before the answer is released", async () => {
    const unhandled: unknown[] = [];
    const note = (reason: unknown): void => void unhandled.push(reason);
    process.on("unhandledRejection", note);
    onTestFinished(() => void process.off("unhandledRejection", note));
    const inner = { ...memoryStore(), load: () => Promise.reject(new Error("of the engine")) };
    const store = faultyStore(inner, { load: "answers late" });
    const outcome = Promise.resolve(store.load(KEY)).catch((error: Error) => error.message);
    // The runtime reports an unhandled rejection after all microtasks.
    await new Promise(setImmediate);
    await store.release();
    expect([await outcome, unhandled]).toEqual(["of the engine", []]);
  });

  it("promises what the store does, but not that its answers arrive", () => {
    const store = memoryStore();
    expect(store.traits.exact).toBe(true);
    expect(faultyStore(store).traits).toEqual({ ...store.traits, exact: false });
  });

  it("passes keys, versions and signals on", async () => {
    const seen: unknown[] = [];
    const heard = <Args extends unknown[], Answer>(verb: (...args: Args) => Answer) => {
      return (...args: Args): Answer => {
        seen.push(...args.filter((arg) => arg instanceof AbortSignal));
        return verb(...args);
      };
    };
    const good = memoryStore();
    const inner = { ...good, load: heard(good.load), save: heard(good.save), delete: heard(good.delete) };
    const store = faultyStore(inner);
    const { signal } = new AbortController();
    const version = await store.save(KEY, writeOf({ a: "1" }), signal);
    await store.load(KEY, signal);
    expect(await store.delete(KEY, `not ${version}`, signal)).toBe("conflict");
    expect(seen).toEqual([signal, signal, signal]);
  });

  it("has done nothing when it rejects, is busy, hangs or answers something without meaning", async () => {
    for (const fault of ["rejects", "is busy", "hangs", "wrong type"] as const) {
      const store = faultyStore(memoryStore());
      const version = await store.save(KEY, writeOf({ a: "1" }));
      if (version === "conflict") throw new Error("Nothing was stored");
      store.plan({ load: fault, save: fault, delete: fault });
      const answers = [store.load(KEY), store.save(KEY, writeOf({ a: "2" }, version)), store.delete(KEY)];
      const outcomes = answers.map(async (answer) => {
        const hung = new Promise((resolve) => setTimeout(resolve, 20, "hung"));
        return await Promise.race([Promise.resolve(answer).then(JSON.stringify, (error: unknown) => error), hung]);
      });
      for (const outcome of await Promise.all(outcomes)) {
        if (fault === "hangs") expect(outcome).toBe("hung");
        else if (fault === "wrong type") expect(outcome).toBe('{"aborted":true}');
        else expect([outcome, isBusy(outcome)]).toEqual([expect.any(Error), fault === "is busy"]);
      }
      store.plan({});
      expect(await valueOf(store)).toBe("1");
    }
  });

  it("has done it when it does it but rejects, and when it does it twice", async () => {
    const store = faultyStore(memoryStore(), { save: ["does it but rejects", "none", "does it twice"] });
    await expect(store.save(KEY, writeOf({ a: "1" }))).rejects.toThrow();
    expect(await valueOf(store)).toBe("1");
    const version = await store.save(OTHER, writeOf({ a: "1" }));
    if (version === "conflict") throw new Error("Nothing was stored");
    expect(await store.save(OTHER, writeOf({ a: "2" }, version))).toBe("conflict");
    expect(await valueOf(store, OTHER)).toBe("2");
    store.plan({ delete: "does it but rejects" });
    await expect(store.delete(KEY)).rejects.toThrow();
    expect(await store.load(KEY)).toBeNull();
  });

  it("answers, or does, what is late when it is released", async () => {
    const store = faultyStore(memoryStore(), { save: ["answers late", "does it late"] });
    const answers: unknown[] = [];
    void Promise.resolve(store.save(KEY, writeOf({ a: "1" }))).then((answer) => answers.push(answer));
    void Promise.resolve(store.save(OTHER, writeOf({ a: "1" }))).then((answer) => answers.push(answer));
    await new Promise(setImmediate);
    expect(answers).toEqual([]);
    expect(await valueOf(store)).toBe("1");
    expect(await store.load(OTHER)).toBeNull();
    await store.release();
    expect(answers.sort()).toEqual([1, 2]);
    expect(await valueOf(store, OTHER)).toBe("1");
  });

  it("keeps the failure of a late call for the one who waits", async () => {
    const inner = { ...memoryStore(), load: () => Promise.reject(new Error("of the engine")) };
    const store = faultyStore(inner, { load: ["answers late", "does it late"] });
    const calls = [store.load(KEY), store.load(KEY)];
    const outcomes = Promise.allSettled(calls);
    await store.release();
    expect((await outcomes).map(({ status }) => status)).toEqual(["rejected", "rejected"]);
  });

  it("finds a record that is wrong when a plan says how", async () => {
    const clock = fakeClock(1_800_000_000_000);
    const year = 365 * 86_400_000;
    const store = faultyStore(memoryStore());
    const events: string[] = [];
    const onEvent = (event: SessionEvent): unknown =>
      events.push(event.type === "rejected" ? event.reason : event.type);
    const sessions = new SessionManager<{ a: string }>({ store, now: clock.now, onEvent });
    const other = sessions.start(new Request("https://shop.example/"));
    other.set("a", "other");
    await sessions.commit(other);
    const session = sessions.start(new Request("https://shop.example/"));
    session.set("a", "1234");
    await sessions.commit(session);
    const id = String(await session.id());
    const found = async (load: FaultPlan["load"]) => {
      store.plan(load === undefined ? {} : { load });
      events.length = 0;
      const opened = sessions.open(id);
      const a = await opened.get("a");
      const { createdAt, lastSeenAt } = await opened.info();
      return { a, createdAt, lastSeenAt, heard: events.join() };
    };
    const now = clock.now();
    const nothing = { a: undefined, createdAt: null, lastSeenAt: null };
    expect(await found("none")).toEqual({ a: "1234", createdAt: now, lastSeenAt: now, heard: "loaded" });
    expect(await found("truncated")).toEqual({ ...nothing, heard: "corrupt" });
    expect(await found("another key's")).toEqual({ ...nothing, heard: "misplaced" });
    expect(await found("newer schema")).toEqual({ ...nothing, heard: "newer" });
    expect(await found("future times")).toEqual({
      a: "1234",
      createdAt: now + year,
      lastSeenAt: now + year,
      heard: "loaded",
    });
  });

  it("spoils what it finds in no other way than the plan says, and nothing that is not there", async () => {
    const inner = memoryStore();
    const store = faultyStore(inner);
    const year = 365 * 86_400_000;
    await inner.save(KEY, writeOf({ "@": "3 bound 50 60 70", "a": "1234", "b": "" }));
    const found = async (load: FaultPlan["load"] & string) => {
      store.plan({ load });
      expect(await store.load(OTHER)).toBeNull();
      const record = await store.load(KEY);
      return { ...Object.fromEntries(record?.fields ?? []), lastSeenAt: record?.lastSeenAt };
    };
    const good = { "@": "3 bound 50 60 70", "a": "1234", "b": "", "lastSeenAt": 1000 };
    expect(await found("none")).toEqual(good);
    expect(await found("truncated")).toEqual({ ...good, "@": "3 bound ", "a": "12" });
    expect(await found("newer schema")).toEqual({ ...good, "@": "4 bound 50 60 70" });
    expect(await found("future times")).toEqual({
      ...good,
      "@": `3 bound ${50 + year} ${60 + year} 70`,
      "lastSeenAt": 1000 + year,
    });
  });

  it.each<[FaultPlan["load"] & string, string]>([
    ["newer schema", "x3 bound 50 60"],
    ["newer schema", "3x bound 50 60"],
    ["newer schema", ""],
    ["future times", "3 bound 50 x"],
    ["future times", "3 bound x 60"],
    ["future times", "3 bound 50"],
  ])("leaves metadata as they are that it cannot read: %s of %j", async (load, metadata) => {
    const inner = memoryStore();
    await inner.save(KEY, writeOf({ "@": metadata }));
    expect((await faultyStore(inner, { load }).load(KEY))?.fields.get("@")).toBe(metadata);
  });

  it("releases each late call once", async () => {
    const inner = memoryStore();
    const store = faultyStore(inner, { save: "does it late" });
    for (const key of [KEY, OTHER]) {
      const saved = Promise.resolve(store.save(key, writeOf({ a: "1" })));
      await store.release();
      expect(await saved).not.toBe("conflict");
      expect(await valueOf(inner, key)).toBe("1");
    }
    await store.release();
  });

  it("leaves a record without metadata as it is, and prunes as the store does", async () => {
    const store = faultyStore(memoryStore(), { load: "newer schema" });
    await store.save(KEY, writeOf({ a: "1" }));
    expect(await valueOf(store)).toBe("1");
    expect(await store.prune?.(2001)).toBe(1);
    const { prune: _, ...without } = memoryStore();
    expect(faultyStore(without).prune).toBeUndefined();
  });
});
