import { setImmediate } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import type { SessionStore } from "../../src/core/store.ts";
import { memoryStore } from "../../src/stores/memory.ts";
import { storeCases } from "../../src/testing.ts";
import { brokenStores } from "./broken_stores.ts";
import { failing, limited, overwrite, spoiled } from "./spoiling.ts";

const cases = storeCases();

describe("storeCases()", () => {
  it("has broken stores for every case, and for no other", () => {
    expect(Object.keys(brokenStores)).toEqual(cases.map(({ name }) => name));
  });

  for (const { name, run } of cases) {
    for (const [fault, open] of Object.entries(brokenStores[name] ?? {})) {
      it(`"${name}" fails when a store ${fault}`, async () => {
        const error: unknown = await run(open).catch((reason: unknown) => reason);
        expect(error).toBeInstanceOf(Error);
        // A plain Error is the kit's own word. A TypeError would be an accident on its way to one.
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
  }

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

/** The same store, each answer of which comes in a later turn. */
function later(store: SessionStore): SessionStore {
  return {
    ...store,
    load: async (...args) => store.load(...args),
    save: async (...args) => store.save(...args),
    delete: async (...args) => store.delete(...args),
  };
}

/** No compare-and-set, no prune, and a limit: the last write wins, as in Workers KV. */
function weakStore(): SessionStore {
  const { prune: _, ...good } = memoryStore();
  return {
    ...good,
    traits: { consistency: "eventual", compareAndSet: false, maxBytes: 100_000 },
    async save(key, write) {
      if (JSON.stringify([...write.record.fields]).length > 100_000) {
        throw Object.assign(new Error("Too large"), { code: "ERR_RECORD_TOO_LARGE" });
      }
      const found = await good.load(key);
      if (write.expected !== null && (found === null || found.fields.size === 0)) return "conflict";
      return overwrite(good, key, write);
    },
    delete: (key) => good.delete(key),
  };
}
