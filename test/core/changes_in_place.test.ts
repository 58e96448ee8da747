import { describe, expect, test } from "vitest";
import { counted, errorOf, openStore, visitor } from "../setup/sessions.ts";

describe("objects changed in place", () => {
  test("get() hands out an object whose changes are saved", async () => {
    const visit = visitor();
    await visit((session) => session.set("cart", { items: [{ n: 1 }], tags: new Set(["a"]) }));
    await visit(async (session) => {
      const cart = await session.get("cart");
      cart.items[0].n = 2;
      cart.items.push({ n: 3 });
      cart.tags.add("b");
      expect(await session.get("cart")).toBe(cart);
      expect((await session.all())["cart"]).toEqual(cart);
    });
    const expected = { items: [{ n: 2 }, { n: 3 }], tags: new Set(["a", "b"]) };
    expect((await visit((session) => session.get("cart"))).result).toEqual(expected);
  });

  test("has(), keys(), size() and all() show a fallback that was changed, and none that was not", async () => {
    const visit = visitor();
    await visit(async (session) => {
      const shown = async () => [await session.has("cart"), await session.keys(), await session.size()];
      const cart = await session.get("cart", []);
      expect(await shown()).toEqual([false, [], 0]);
      cart.push(1);
      expect(await session.has("cart")).toBe(true);
      (await session.get("tags", new Set())).add("a");
      expect(await session.keys()).toEqual(["cart", "tags"]);
      (await session.get("more", [])).push(2);
      expect(await session.size()).toBe(3);
      expect({ ...(await session.all()) }).toEqual({ cart: [1], tags: new Set(["a"]), more: [2] });
    });
  });

  test("set() keeps an object whose later changes are saved", async () => {
    const visit = visitor();
    await visit(async (session) => {
      const cart = { items: [1] };
      session.set("cart", cart);
      cart.items.push(2);
      await session.save();
      cart.items.push(3);
    });
    expect((await visit((session) => session.get("cart"))).result).toEqual({ items: [1, 2, 3] });
  });

  test("update() gives an object whose later changes are saved", async () => {
    const visit = visitor();
    await visit(async (session) => {
      const list = await session.update("list", (list = []) => [...list, 1]);
      list.push(2);
    });
    expect((await visit((session) => session.get("list"))).result).toEqual([1, 2]);
  });

  test("update() sees what was changed in place before it", async () => {
    const visit = visitor();
    await visit((session) => session.set("list", [1]));
    await visit(async (session) => {
      (await session.get("list")).push(2);
      await session.update("list", (list) => [...list, 3]);
    });
    expect((await visit((session) => session.get("list"))).result).toEqual([1, 2, 3]);
  });

  test("set() and delete() win over changes of the object that was there before", async () => {
    const visit = visitor();
    await visit((session) => session.set({ a: [1], b: [1] }));
    await visit(async (session) => {
      const [a, b] = [await session.get("a"), await session.get("b")];
      session.set("a", [2]);
      session.delete("b");
      a.push(3);
      b.push(3);
    });
    expect({ ...(await visit((session) => session.all())).result }).toEqual({ a: [2] });
  });

  test("save() refuses, naming the key and no value, when an object was changed into what cannot be stored", async () => {
    const visit = visitor();
    await visit((session) => session.set("cart", { note: "secret" }));
    await visit(async (session) => {
      const cart = await session.get("cart");
      cart.total = () => 0;
      const error = await errorOf(() => session.save());
      expect(error.code).toBe("ERR_NOT_SERIALIZABLE");
      expect(error.message).toContain("cart");
      expect(error.message).not.toContain("secret");
      delete cart.total;
    });
  });

  test("memoryStore() shows nobody an object before it is saved", async () => {
    const visit = visitor();
    await visit((session) => session.set("list", [1]));
    await visit(async (session) => {
      (await session.get("list")).push(2);
      expect((await visit((other) => other.get("list"))).result).toEqual([1]);
    });
  });

  test("get() of a value that another program has spelled otherwise is no change", async () => {
    const { store, records } = openStore();
    const { store: watched, calls } = counted(store);
    const visit = visitor({ store: watched });
    await visit((session) => session.set("list", [1, 2]));
    for (const [key, record] of records) {
      const text = record.fields.get("=list") ?? "";
      records.set(key, { ...record, fields: new Map(record.fields).set("=list", text.replace(",", ", ")) });
      expect(records.get(key)?.fields.get("=list")).not.toBe(text);
    }
    calls.length = 0;
    expect((await visit((session) => session.get("list"))).result).toEqual([1, 2]);
    expect(calls).toEqual(["load"]);
  });

  test("get() shows what another request stored when the save was replayed on it", async () => {
    const visit = visitor();
    await visit((session) => session.set({ list: [1], n: 0 }));
    await visit(async (session) => {
      expect(await session.get("list")).toEqual([1]);
      await visit((other) => other.set("list", [9]));
      session.set("n", 1);
      await session.save();
      expect(await session.get("list")).toEqual([9]);
    });
    expect({ ...(await visit((session) => session.all())).result }).toEqual({ list: [9], n: 1 });
  });
});
