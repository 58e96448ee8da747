import { setImmediate } from "node:timers/promises";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { StoreBusyError } from "../../src/core/errors.ts";
import type { RecordVersion, SessionStore, Write } from "../../src/core/store.ts";
import { memoryStore } from "../../src/stores/memory.ts";
import { type OpenStore, storeCases } from "../../src/testing.ts";
import { brokenStores } from "./broken_stores.ts";
import { failing, heeding, limited, overwrite, repeating, spoiled, withTraits } from "./spoiling.ts";

const cases = storeCases();

/** Correct stores that work in an unusual way. */
const unusualStores: Readonly<Record<string, OpenStore>> = {
  "fails when a signal is aborted": heeding("aborted", () => ({ load: aborted, save: aborted, delete: aborted })),
  "knows a write that comes again": repeating((present, own) => (present === own ? own : "conflict")),
  "answers what became of a write that comes again": repeating((_, own) => own),
  "gives records that nobody can change": spoiled((good) => ({
    async load(key) {
      const found = await good.load(key);
      return found && { ...found, fields: readOnly(found.fields) };
    },
  })),
  "sweeps at once what has expired, or is about to": spoiled((good) => ({
    async save(key, write) {
      const version = await good.save(key, write);
      if (write.expiresAt - write.record.lastSeenAt <= 1000) await good.delete(key);
      return version;
    },
  })),
  "changes nothing that has expired": spoiled((good) => {
    const ends = new Map<string, number>();
    return {
      async save(key, write) {
        if ((ends.get(key) ?? Infinity) - write.record.lastSeenAt <= 1) return "conflict";
        const version = await good.save(key, write);
        if (version !== "conflict") ends.set(key, write.expiresAt);
        return version;
      },
    };
  }),
  "keeps the version of a value that was damaged in its place, and compares nothing else": () => {
    const damaged = new Set<string>();
    const { prune: _, ...good } = memoryStore();
    return {
      store: {
        ...good,
        async load(key) {
          const found = await good.load(key);
          return found && damaged.has(key) ? { fields: new Map(), lastSeenAt: 0, version: found.version } : found;
        },
      },
      spoil: (key) => void damaged.add(key),
    };
  },
  "promises little, and lets a creation replace what is not its own": () => {
    const foreign = new Set<string>();
    const weak = weakStore();
    return {
      store: {
        ...weak,
        load: (key) => (foreign.has(key) ? { fields: new Map(), lastSeenAt: 0, version: "?" } : weak.load(key)),
        save(key, write) {
          if (write.expected !== null && foreign.has(key)) return "conflict";
          return weak.save(key, write);
        },
        delete: (key) => (foreign.delete(key), weak.delete(key)),
      },
      spoil: (key) => void foreign.add(key),
    };
  },
  "promises little, and writes some time after it has looked": () => {
    const weak = weakStore();
    return {
      ...weak,
      async save(key, write) {
        if (write.expected !== null && ((await weak.load(key))?.fields.size ?? 0) === 0) return "conflict";
        for (let turns = 0; turns < 20; turns++) await Promise.resolve();
        return weak.save(key, { ...write, expected: null });
      },
    };
  },
  "is never stale": withTraits({ staleness: 0 }),
};

function aborted(): never {
  throw new Error("Aborted");
}

/** The same fields, without methods that change them. */
function readOnly(fields: ReadonlyMap<string, string>): ReadonlyMap<string, string> {
  const shown = {
    set: undefined,
    size: fields.size,
    get: (name: string) => fields.get(name),
    has: (name: string) => fields.has(name),
    keys: () => fields.keys(),
    values: () => fields.values(),
    entries: () => fields.entries(),
    forEach: (each: Parameters<ReadonlyMap<string, string>["forEach"]>[0]) => fields.forEach(each),
    [Symbol.iterator]: () => fields[Symbol.iterator](),
  };
  return shown;
}

describe("storeCases()", () => {
  it("has broken stores for every case, and for no other", () => {
    expect(Object.keys(brokenStores)).toEqual(cases.map(({ name }) => name));
  });

  for (const { name, run } of cases) {
    for (const [fault, open] of Object.entries(brokenStores[name] ?? {})) {
      it(`"${name}" fails when a store ${fault}`, async () => {
        const error: unknown = await run(open).catch((reason: unknown) => reason);
        expect(error).toBeInstanceOf(Error);
        // A plain Error is a finding of the kit. A TypeError would be an accident in the case itself.
        if (!/refuses a life|fails to read|rejects/.test(fault)) {
          expect(Object.getPrototypeOf(error)).toBe(Error.prototype);
        }
      });
    }

    it(`"${name}" holds when a store can do everything`, async () => {
      await run(() => ({ ...failing(), neighbour: memoryStore() }));
      await run(() => limited());
    });

    it(`"${name}" holds when a store answers with promises`, () => run(() => later(memoryStore())));

    it(`"${name}" holds when a store promises little`, () => run(() => weakStore()));

    for (const [what, open] of Object.entries(unusualStores))
      it(`"${name}" holds when a store ${what}`, () => run(open));
  }

  it("tries many names and texts, all of which differ, and some of which UTF-8 cannot write", async () => {
    const tried: number[][] = [];
    for (const { run } of cases.filter(({ name }) => /^(?:values that|text of|half|any text)/.test(name))) {
      const names = new Set<string>();
      const texts = new Set<string>();
      const open = spoiled((good) => ({
        save(key, write) {
          if (write.expected === null) {
            for (const name of write.record.fields.keys()) names.add(name);
            for (const text of write.record.fields.values()) texts.add(text);
          }
          return good.save(key, write);
        },
      }));
      await run(open);
      const all = [...names, ...texts];
      tried.push([
        [...names].filter((name) => name !== "").length,
        [...texts].filter((text) => text !== "").length,
        all.filter((text) => !text.isWellFormed()).length,
      ]);
    }
    expect(tried).toEqual([
      [60, 29, 0],
      [22, 22, 0],
      [3, 3, 5],
      [48, 49, 0],
    ]);
  });

  it("closes what was opened when a case holds and when it fails", async () => {
    const [first] = cases;
    let closed = 0;
    const close = () => void closed++;
    await first?.run(() => ({ store: memoryStore(), close }));
    expect(closed).toBe(1);
    const traits = { ...memoryStore().traits, maxBytes: -1 };
    await expect(first?.run(async () => ({ store: { ...memoryStore(), traits }, close }))).rejects.toThrow(
      "traits.maxBytes is -1",
    );
    expect(closed).toBe(2);
  });

  it("says what is wrong with what opens a store, or with what was opened", async () => {
    const [first] = cases;
    for (const none of [undefined, null, memoryStore(), "memory"] as unknown[]) {
      // @ts-expect-error Not one of them opens a store.
      await expect(first?.run(none)).rejects.toThrow(/^Give a case a function that opens your store/);
    }
    const { load, save, delete: remove } = memoryStore();
    const stores: unknown[] = [undefined, null, "memory", 7, {}, { load, save }, { load, delete: remove }];
    for (const store of [...stores, { save, delete: remove }]) {
      for (const opened of store === undefined ? [store] : [store, { store }]) {
        // @ts-expect-error Not one of them is a store.
        await expect(first?.run(() => opened)).rejects.toThrow(
          /^The store of a case must be an object with load, save, delete; it is /,
        );
      }
    }
    const callable = Object.assign(() => {}, memoryStore());
    await first?.run(() => callable);
  });

  it("leaves no failure behind that nobody handles when writes fail", async () => {
    const unhandled: unknown[] = [];
    const listen = (error: unknown): void => void unhandled.push(error);
    process.on("unhandledRejection", listen);
    const good = later(memoryStore());
    const fail = async (): Promise<never> => {
      await setImmediate();
      throw new Error("The engine is away");
    };
    const store: SessionStore = {
      ...good,
      save: (key, write) => (write.expected === null ? good.save(key, write) : fail()),
      delete: fail,
    };
    for (const { run } of cases) await run(() => store).catch(() => {});
    await setImmediate();
    process.off("unhandledRejection", listen);
    expect(unhandled).toEqual([]);
  });

  it("says what was expected and what came when a case fails", async () => {
    const missing = cases.find(
      ({ name }) => name === "save() answers conflict and creates nothing when there is no record",
    );
    const open = spoiled((good) => ({
      save: (key, write) => (write.expected === null ? good.save(key, write) : 7),
    }));
    await expect(missing?.run(open)).rejects.toThrow(
      'save() of changes of a deleted record: expected "conflict", got 7',
    );
  });
});

/** The same store, whose answers come in a later turn of the event loop. */
function later(store: SessionStore): SessionStore {
  return {
    ...store,
    load: async (...args) => store.load(...args),
    save: async (...args) => store.save(...args),
    delete: async (...args) => store.delete(...args),
  };
}

/** A store without compare-and-set and prune, and with a size limit. The last write wins, as in Workers KV. */
function weakStore(): SessionStore {
  const { prune: _, ...good } = memoryStore();
  return {
    ...good,
    traits: { consistency: "eventual", compareAndSet: false, maxBytes: 40_000 },
    async save(key, write) {
      if (JSON.stringify([...write.record.fields]).length > 40_000) {
        throw Object.assign(new Error("Too large"), { code: "ERR_RECORD_TOO_LARGE" });
      }
      const found = await good.load(key);
      if (write.expected !== null && (found === null || found.fields.size === 0)) return "conflict";
      return overwrite(good, key, write);
    },
    delete: (key) => good.delete(key),
  };
}

/** Its methods are on its prototype, and each call is refused once. */
class BusyStore implements SessionStore {
  readonly #records = memoryStore();
  readonly traits = this.#records.traits;
  attempts = 0;

  load(key: string): ReturnType<SessionStore["load"]> {
    return this.#secondTime(() => this.#records.load(key));
  }

  save(key: string, write: Write): ReturnType<SessionStore["save"]> {
    return this.#secondTime(() => this.#records.save(key, write));
  }

  delete(key: string, expected?: RecordVersion): ReturnType<SessionStore["delete"]> {
    return this.#secondTime(() => this.#records.delete(key, expected));
  }

  async prune(now: number): Promise<number> {
    return (await this.#records.prune?.(now)) ?? 0;
  }

  #secondTime<Answer>(call: () => Answer): Answer {
    if (this.attempts++ % 2 === 0) throw new StoreBusyError();
    return call();
  }
}

it.each(cases)("storeCases() accept a store that refuses each call once, since it is busy: $name", async ({ run }) => {
  const store = new BusyStore();
  await run(() => store);
  expect(store.attempts % 2).toBe(0);
});

it("storeCases() accept a store that stays busy until something else of the process has run", async () => {
  const good = memoryStore();
  let isFree = false;
  const store: SessionStore = {
    ...good,
    load(key) {
      if (!isFree) throw new StoreBusyError();
      return good.load(key);
    },
  };
  setTimeout(() => (isFree = true), 0);
  await cases.find(({ name }) => name === "save() creates a record that load() finds")?.run(() => store);
  expect(isFree).toBe(true);
});

it("storeCases() accept an engine that removes early what lives for a second only", async () => {
  vi.useFakeTimers();
  onTestFinished(() => void vi.useRealTimers());
  const [found] = cases.filter(({ name }) => name.endsWith("where the engine removes records by itself"));
  for (const moment of ["after the creation", "before the change"]) {
    const { prune: _, ...good } = memoryStore();
    const short = new Set<string>();
    const running = found?.run(() => ({
      ...good,
      async save(key, write) {
        if (short.delete(key)) await good.delete(key);
        const version = await good.save(key, write);
        if (write.expiresAt - write.record.lastSeenAt > 1000) return version;
        if (moment === "after the creation") await good.delete(key);
        else short.add(key);
        return version;
      },
    }));
    await Promise.all([running, vi.advanceTimersByTimeAsync(60_000)]);
  }
});
