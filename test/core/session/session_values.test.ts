import { describe, expect, test } from "vitest";
import { memoryStore, type Session, type SessionEvent } from "../../../mod.ts";
import { fakeClock } from "../../../src/testing.ts";
import { bare, counted, openStore, visitor } from "../../setup/sessions.ts";

describe("the value of a key", () => {
  test("is the fallback where there is none, or none that can be read, also if that could not be stored", async () => {
    const { store, records } = openStore();
    const events: SessionEvent[] = [];
    const visit = visitor({ store, onEvent: (event) => events.push(event) });
    await visit((session) => session.set({ n: 1 }));
    const [[key, record]] = [...records] as [[string, NonNullable<ReturnType<typeof records.get>>]];
    records.set(key, { ...record, fields: new Map(record.fields).set("=n", "[[[") });
    const call = (): number => 0;
    events.length = 0;
    await visit(async (session) => {
      expect(await session.get("n", 7)).toBe(7);
      expect(await session.get("missing", null)).toBeNull();
      expect(await session.get("missing", call)).toBe(call);
      expect(await session.get("missing", undefined)).toBeUndefined();
    });
    expect([...records.values()].map(({ fields }) => fields.get("=n"))).toEqual(["[[["]);
    expect(bare(events)).toEqual([{ type: "loaded" }, { type: "rejected", reason: "corrupt" }]);
  });

  test("is no longer the object that was there before, when another one or a plain value took its place", async () => {
    const visit = visitor();
    await visit((session) => session.set("box", { n: 1 }));
    await visit(async (session) => {
      await session.get("box");
      session.set("box", 5);
      expect(await session.get("box")).toBe(5);
      const box = { n: 2 };
      session.set("box", box);
      expect(await session.get("box")).toBe(box);
      session.delete("box");
      expect(await session.get("box")).toBeUndefined();
      session.set("box", box);
      session.clear();
      expect(await session.get("box")).toBeUndefined();
    });
  });

  test("keeps its time to live when its object is changed in place or by update(), and loses it by set()", async () => {
    const clock = fakeClock();
    const visit = visitor({ now: clock.now });
    await visit((session) => session.set({ a: { n: 1 }, b: { n: 1 }, c: 1 }, { ttl: 60 }));
    await visit(async (session) => {
      (await session.get("a")).n = 2;
      session.set("b", { n: 2 });
      await session.update("c", (n) => n + 1);
    });
    clock.advance(59.999);
    expect({ ...(await visit((session) => session.all())).result }).toEqual({ a: { n: 2 }, b: { n: 2 }, c: 2 });
    clock.advance(0.001);
    const read = async (session: Session): Promise<unknown> => [
      await session.get("a"),
      await session.has("a"),
      await session.keys(),
      await session.size(),
    ];
    expect((await visit(read)).result).toEqual([undefined, false, ["b"], 1]);
  });

  test("gets a time to live by set(), and is stored in one field", async () => {
    const clock = fakeClock();
    const { store, records } = openStore();
    const visit = visitor({ store, now: clock.now });
    const names = (): string[] => [...records.values()].flatMap(({ fields }) => [...fields.keys()]).toSorted();
    await visit((session) => session.set("a", 1));
    expect(names()).toEqual(["=a", "@"]);
    await visit((session) => session.set("a", 2, { ttl: 60 }));
    expect(names()).toEqual(["%a", "@"]);
    await visit(async (session) => {
      expect([await session.get("a"), await session.keys()]).toEqual([2, ["a"]]);
      session.set("a", 3);
      expect([await session.get("a"), await session.keys()]).toEqual([3, ["a"]]);
    });
    expect(names()).toEqual(["=a", "@"]);
    await visit((session) => session.set("a", 2, { ttl: 60 }));
    await visit((session) => session.delete("a"));
    expect(names()).toEqual(["@"]);
    await visit((session) => session.set("a", 2, { ttl: 60 }));
    await visit((session) => session.update("a", () => undefined));
    expect(names()).toEqual(["@"]);
    await visit((session) => (session.set("a", 1), session.set("b", 2, { ttl: 60 }), session.flash("c", 3)));
    await visit((session) => session.clear());
    expect(names()).toEqual(["@"]);
  });

  test("is the same object after it was stored, and no change is stored twice", async () => {
    const { store, calls } = counted(memoryStore());
    const visit = visitor({ store });
    await visit((session) => session.set("box", { n: 1 }));
    await visit(async (session) => {
      const box = await session.get("box");
      box.n = 2;
      await session.save();
      expect(await session.get("box")).toBe(box);
      await visit((other) => other.set("box", { n: 10 }));
      calls.length = 0;
      await session.save();
      expect(calls).toEqual([]);
      session.set("other", 1);
      await session.save();
      expect(await session.get("box")).toEqual({ n: 10 });
    });
    expect((await visit((session) => session.get("box"))).result).toEqual({ n: 10 });
  });

  test("stays the object of a fallback when a save() stores other things, so that its later change is stored", async () => {
    const visit = visitor();
    await visit((session) => session.set("n", 1));
    await visit(async (session) => {
      const list = await session.get("list", [] as number[]);
      session.set("n", 2);
      await session.save();
      expect(await session.get("list")).toBe(list);
      list.push(1);
    });
    expect((await visit((session) => session.get("list"))).result).toEqual([1]);
  });

  test("that is a plain one is told as it is stored when update() has changed it, beside an object that was there", async () => {
    const visit = visitor();
    await visit((session) => session.set("box", { n: 1 }));
    await visit(async (session) => {
      await session.get("box");
      expect(await session.update("box", () => 5)).toBe(5);
      expect(await session.get("box")).toBe(5);
      expect(await session.update("box", () => undefined)).toBeUndefined();
      expect(await session.get("box")).toBeUndefined();
    });
    expect((await visit((session) => session.size())).result).toBe(0);
  });

  test("is what update() has stored, unless the request has set another one meanwhile, and nothing is taken for spoiled", async () => {
    const events: SessionEvent[] = [];
    const visit = visitor({ store: openStore().store, onEvent: (event) => events.push(event) });
    await visit((session) => session.set("n", 1));
    events.length = 0;
    await visit(async (session) => {
      const box = await session.update("box", (before) => ({ n: before === undefined ? 1 : 0 }));
      expect(await session.get("box")).toBe(box);
      await session.save();
      const updating = session.update("box", ({ n }) => ({ n: n + 1 }));
      session.set("box", { n: 100 });
      expect(await updating).toEqual({ n: 2 });
      expect(await session.get("box")).toEqual({ n: 100 });
    });
    expect(events.map(({ type }) => type)).not.toContain("rejected");
    expect((await visit((session) => session.get("box"))).result).toEqual({ n: 100 });
  });

  test("that is null is no object: it is what is stored, whoever has stored it", async () => {
    const visit = visitor();
    await visit((session) => session.set({ n: null, other: 0 }));
    await visit(async (session) => {
      expect(await session.get("n")).toBeNull();
      await visit((rival) => rival.set("n", 5));
      await session.update("other", (other) => other + 1);
      expect(await session.get("n")).toBe(5);
    });
  });
});
