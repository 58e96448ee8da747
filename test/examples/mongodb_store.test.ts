import { describe, expect, test } from "vitest";
import { storeCases } from "with-session/testing";
import { type MongodbCollection, mongodbStore } from "../../examples/mongodb_store.ts";

interface Document {
  readonly _id: string;
  readonly value: unknown;
  readonly version: string;
  readonly expiresAt: Date;
}

/** A collection in memory, with the part of MongoDB that the example uses. Between a call and its effect, other calls may come. */
class FakeCollection implements MongodbCollection {
  readonly documents = new Map<string, Document>();
  calls = 0;
  isBroken = false;

  async findOne(filter: Filter): Promise<Document | null> {
    await this.#arrive();
    return this.#match(filter) ?? null;
  }

  async updateOne(filter: Filter, update: { $set: Omit<Document, "_id"> }, { upsert = false } = {}): Promise<object> {
    await this.#arrive();
    const found = this.#match(filter);
    if (found === undefined && !upsert) return { matchedCount: 0, upsertedCount: 0 };
    if (found === undefined && this.documents.has(keyOf(filter)))
      throw Object.assign(new Error("E11000"), { code: 11_000 });
    this.documents.set(keyOf(filter), { _id: keyOf(filter), ...update.$set });
    return found === undefined ? { matchedCount: 0, upsertedCount: 1 } : { matchedCount: 1, upsertedCount: 0 };
  }

  async deleteOne(filter: Filter): Promise<object> {
    await this.#arrive();
    const found = this.#match(filter);
    return { deletedCount: found !== undefined && this.documents.delete(keyOf(filter)) ? 1 : 0 };
  }

  async #arrive(): Promise<void> {
    this.calls++;
    await new Promise((resolve) => setTimeout(resolve));
    if (this.isBroken) throw new Error("The connection was lost");
  }

  #match(filter: Filter): Document | undefined {
    const { version, expiresAt } = filter;
    const found = this.documents.get(keyOf(filter));
    if (found === undefined || (version !== undefined && found.version !== version)) return undefined;
    return expiresAt === undefined || found.expiresAt < expiresAt.$lt ? found : undefined;
  }
}

interface Filter {
  readonly _id: string;
  readonly version?: string;
  readonly expiresAt?: { readonly $lt: Date };
}

function keyOf({ _id: key }: Filter): string {
  return key;
}

describe("mongodbStore() on a collection in memory", () => {
  for (const { name, run } of storeCases()) {
    test(name, () =>
      run(() => {
        const collection = new FakeCollection();
        return {
          store: mongodbStore(collection),
          calls: () => collection.calls,
          spoil: (key) => {
            const expiresAt = new Date(Date.now() + 3_600_000);
            collection.documents.set(key, { _id: key, value: 7, version: "somebody else's", expiresAt });
          },
          fail: () => {
            collection.isBroken = true;
          },
        };
      }),
    );
  }
});

test("mongodbStore() rejects when the driver answers without a meaning", async () => {
  const key = "0123456789abcdef".repeat(4);
  const fields = new Map([["=a", "1"]]);
  const now = Date.now();
  for (const answer of [undefined, null, {}, "ok", { acknowledged: true }]) {
    const store = mongodbStore({
      findOne: async () => answer ?? {},
      updateOne: async () => answer,
      deleteOne: async () => answer,
    });
    const write = {
      id: "a-write-of-16-letters",
      record: { fields, lastSeenAt: now },
      changed: fields,
      expiresAt: now + 60_000,
    };
    await expect(store.load(key)).rejects.toThrow();
    await expect(store.save(key, { ...write, expected: null })).rejects.toThrow();
    await expect(store.save(key, { ...write, expected: "v" })).rejects.toThrow();
    await expect(store.delete(key)).rejects.toThrow();
    await expect(store.delete(key, "v")).rejects.toThrow();
  }
});
