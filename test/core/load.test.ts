import { describe, expect, test } from "vitest";
import { memoryStore, type Session, type SessionEvent, type Transport, withSession } from "../../mod.ts";
import { parseRecord } from "../../src/core/record_text.ts";
import { cookieJar, fakeClock, faultyStore } from "../../src/testing.ts";
import { bare, codeOf, cookieOf, counted, failing, idIn, keyOf, openStore, SHOP, visitor } from "../setup/sessions.ts";

const MADE_UP = "a".repeat(32);
const set = (session: Session): void => session.set("a", 1);
const get = (session: Session): Promise<unknown> => session.get("a");

describe("loading", () => {
  test("is done once for calls that come while it is under way", async () => {
    const { store, calls } = counted(openStore().store);
    const visit = visitor({ store });
    await visit(set);
    calls.length = 0;
    const { result } = await visit((session) => Promise.all([session.get("a"), session.has("a"), session.size()]));
    expect([result, calls]).toEqual([[1, true, 1], ["load"]]);
  });

  test("is tried again by the call that follows one that failed", async () => {
    const store = faultyStore(openStore().store);
    const visit = visitor({ store });
    await visit(set);
    store.plan({ load: ["rejects"] });
    const { result } = await visit(async (session) => [await codeOf(() => get(session)), await get(session)]);
    expect(result).toEqual(["ERR_STORE", 1]);
  });

  test("is tried again also where a transport of the program has rejected", async () => {
    let reads = 0;
    const transport: Transport = {
      read: () => (++reads === 1 ? Promise.reject(new Error("not yet")) : Promise.resolve(null)),
      write() {},
      clear() {},
    };
    const { result } = await visitor({ store: openStore().store, transports: [transport] })(async (session) => [
      await get(session).catch(String),
      await get(session),
    ]);
    expect([result, reads]).toEqual([["Error: not yet", undefined], 2]);
  });
});

describe("the beginning of a session", () => {
  test("[33] no request begins one by itself", async () => {
    const { store, records } = openStore();
    const visit = visitor({ store });
    await visit(() => 0);
    await visit(get);
    await visit((session) => session.all());
    expect(records.size).toBe(0);
  });

  test("[40] a thousand made-up ids leave no record, and none is adopted", async () => {
    const { store, records } = openStore();
    for (let n = 0; n < 1000; n++) {
      await visitor({ store })(get, { headers: { Cookie: `__Host-session=${MADE_UP}${n}` } });
    }
    expect(records.size).toBe(0);
    const { cookies } = await visitor({ store })(set, { headers: { Cookie: `__Host-session=${MADE_UP}` } });
    expect(idIn(cookies)).not.toBe(MADE_UP);
    expect(records.has(keyOf(MADE_UP))).toBe(false);
  });

  test("[13] [40] [44] an expired record is a fresh session under a new id, although the store still has it", async () => {
    const clock = fakeClock();
    const { store, records } = openStore();
    const events: SessionEvent[] = [];
    const options = { store, now: clock.now, onEvent: (event: SessionEvent) => events.push(event) };
    const headers = { Cookie: cookieOf(await visitor(options)(set)) };
    clock.advance(86_400);
    events.length = 0;
    const { result, cookies } = await visitor(options)(
      async (session) => {
        const before = await session.get("a");
        set(session);
        return [before, (await session.info()).isNew];
      },
      { headers },
    );
    expect(result).toEqual([undefined, true]);
    expect(cookies[0]).not.toContain(headers.Cookie);
    expect(bare(events)).toEqual([{ type: "rejected", reason: "expired" }, { type: "created" }]);
    expect(records.size).toBe(2);
  });

  test("[12] [13] the cookie's lifetime governs the cookie only, and without it a live record is out of reach", async () => {
    const clock = fakeClock();
    const { store, records } = openStore();
    const jar = cookieJar({ now: clock.now });
    const visit = visitor({ store, now: clock.now, cookie: { maxAge: 60 }, touchInterval: 30 }, { jar });
    const headers = { Cookie: cookieOf(await visit(set)) };
    clock.advance(61);
    expect((await visit(get)).result).toBe(undefined);
    expect(records.size).toBe(1);
    expect((await visitor({ store, now: clock.now })(get, { headers })).result).toBe(1);
  });

  test.each([
    ["has no metadata", () => new Map([["=a", "1"]]), "corrupt"],
    ["is empty, as that of an ended session", () => new Map(), "revoked"],
    ["has metadata that are half of JSON", (fields) => new Map(fields).set("@", "{"), "corrupt"],
    ["has metadata of another kind", (fields) => new Map(fields).set("@", '["x"]'), "corrupt"],
    ["has metadata that are null", (fields) => new Map(fields).set("@", "null"), "corrupt"],
    [
      "has times that are words",
      (fields) => new Map(fields).set("@", fields.get("@")!.replace(/\d{10,}/g, '"soon"')),
      "corrupt",
    ],
  ] as [string, (fields: ReadonlyMap<string, string>) => Map<string, string>, string][])(
    "a record that %s leads to no session, is not overwritten, and fails nobody",
    async (_, spoil, reason) => {
      const { store, records } = openStore();
      const events: SessionEvent[] = [];
      const options = { store, onEvent: (event: SessionEvent) => events.push(event) };
      const headers = { Cookie: cookieOf(await visitor(options)(set)) };
      const [[key, record]] = [...records] as [[string, NonNullable<ReturnType<typeof records.get>>]];
      const spoilt = { ...record, fields: spoil(record.fields) };
      records.set(key, spoilt);
      events.length = 0;
      const { result, cookies } = await visitor(options)(
        async (session) => {
          const value = await session.get("a");
          session.set("a", 2);
          return value;
        },
        { headers },
      );
      expect(result).toBe(undefined);
      expect(bare(events)).toEqual([{ type: "rejected", reason }, { type: "created" }]);
      expect(records.get(key)).toEqual(spoilt);
      expect(cookies[0]).not.toContain(headers.Cookie);
    },
  );

  test("a value that cannot be decoded reads as undefined, and the rest of the session is there", async () => {
    const { store, records } = openStore();
    const events: SessionEvent[] = [];
    const visit = visitor({ store, onEvent: (event) => events.push(event) });
    await visit((session) => session.set({ a: 1, b: 2 }));
    const [[key, record]] = [...records] as [[string, NonNullable<ReturnType<typeof records.get>>]];
    records.set(key, { ...record, fields: new Map(record.fields).set("=a", "[[[") });
    const { result } = await visit(async (session) => [await session.get("a"), await session.get("b")]);
    expect(result).toEqual([undefined, 2]);
    expect(bare(events)).toContainEqual({ type: "rejected", reason: "corrupt" });
  });

  test.each([[["=a", 5]], [[null, "1"]], [[5, "1"]], [["=a", null]], [[]], [[["x"], "1"]], [null]])(
    "a text of a record with the field %j gives a record that is corrupt",
    (entry) => {
      const whole = [["@", "1"], ["=b", "2"], entry];
      expect(parseRecord(`2${JSON.stringify([1, whole])}`)).toEqual({ fields: new Map(), lastSeenAt: 0 });
      expect(parseRecord(`2${JSON.stringify([1, whole.slice(0, 2)])}`).fields.size).toBe(2);
    },
  );

  test("a record found under another key leads to no session", async () => {
    const { store, records } = openStore();
    await visitor({ store })(set);
    const [record] = records.values();
    records.set(keyOf(MADE_UP), record!);
    const { result } = await visitor({ store })(get, { headers: { Cookie: `__Host-session=${MADE_UP}` } });
    expect(result).toBe(undefined);
  });

  test("a record of a newer version of the library is left alone", async () => {
    const { store, records } = openStore();
    const events: SessionEvent[] = [];
    const options = { store, onEvent: (event: SessionEvent) => events.push(event) };
    const headers = { Cookie: cookieOf(await visitor(options)(set)) };
    const [[key, record]] = [...records] as [[string, NonNullable<ReturnType<typeof records.get>>]];
    const newer = { ...record, fields: new Map(record.fields).set("@", record.fields.get("@")!.replace("1", "99")) };
    records.set(key, newer);
    events.length = 0;
    expect((await visitor(options)(get, { headers })).result).toBe(undefined);
    await visitor(options)((session) => session.set("a", 2), { headers });
    expect(bare(events)[0]).toEqual({ type: "rejected", reason: "newer" });
    expect(records.get(key)).toEqual(newer);
  });
});

describe("load", () => {
  test("[41] eager loads before the handler runs", async () => {
    const { store, calls } = counted(memoryStore());
    const jar = cookieJar();
    await visitor({ store }, { jar })(set);
    calls.length = 0;
    const { result } = await visitor({ store, load: "eager" }, { jar })(() => [...calls]);
    expect(result).toEqual(["load"]);
  });

  test("[41] eager turns a failing store into an error before the handler runs", async () => {
    let ran = false;
    const visit = visitor({ store: failing(memoryStore(), ["load"]), load: "eager" });
    expect(await codeOf(() => visit(() => (ran = true), { headers: { Cookie: `__Host-session=${MADE_UP}` } }))).toBe(
      "ERR_STORE",
    );
    expect(ran).toBe(false);
  });

  test("[31] [32] the store's function gets the rest, without Session objects, when the session is first used", async () => {
    const store = memoryStore();
    const asked: unknown[][] = [];
    const options = {
      store: (...rest: unknown[]) => {
        asked.push(rest);
        return store;
      },
    };
    const env = { name: "env" };
    const ctx = { waitUntil() {} };
    const inner = withSession(
      async (_request, _admin, _shop: Session, _env: unknown, _ctx: unknown) =>
        new Response(String(await _admin.get("a"))),
      options,
    );
    const outer = withSession(inner, { cookie: { name: "shop" } });
    await outer(new Request(SHOP), env, ctx);
    expect(asked).toEqual([]);
    await outer(new Request(SHOP, { headers: { Cookie: `__Host-session=${MADE_UP}` } }), env, ctx);
    expect(asked).toEqual([[env, ctx]]);
    expect(asked[0]?.[0]).toBe(env);
  });

  test("the store's function may be async, and is called once a request", async () => {
    const store = memoryStore();
    let calls = 0;
    const visit = visitor({ store: async () => (calls++, store) });
    await visit(async (session) => {
      await session.get("a");
      set(session);
      await session.save();
      session.set("a", 2);
    });
    expect(calls).toBe(1);
    expect((await visit(get)).result).toBe(2);
  });
});
