import { describe, expect, expectTypeOf, test } from "vitest";
import { z } from "zod";
import { memoryStore, SessionManager, type SessionEvent, withSession } from "../../mod.ts";
import { structuredCodec } from "../../src/core/codec.ts";
import { withEnd } from "../../src/core/fields.ts";
import { validateLoaded } from "../../src/core/schema.ts";
import { cookieJar, fakeClock } from "../../src/testing.ts";
import { bare, codeOf, cookieOf, counted, errorOf, openStore, visitor } from "../setup/sessions.ts";

const FOUND = {
  id: "id",
  token: "token",
  version: 1,
  lastSeenAt: 2000,
  metadata: { createdAt: 1000, absoluteSince: 1000 },
};

describe("a schema", () => {
  const schema = z.object({ name: z.string().optional(), visits: z.number().default(0) });

  test("is checked on write: ERR_SCHEMA names the key and no value, and nothing is stored", async () => {
    const { store, records } = openStore();
    const error = await errorOf(() =>
      visitor({ store, schema })((session) => session.set("name", 4711 as unknown as string)),
    );
    expect(error.code).toBe("ERR_SCHEMA");
    expect(error.message).toContain("name");
    expect(error.message).not.toContain("4711");
    expect(records.size).toBe(0);
  });

  test.each<[unknown, string]>([
    [true, "undefined"],
    [undefined, "undefined"],
    [{}, "undefined"],
    [{ value: null }, "null"],
    [{ value: 7 }, "a number"],
    [{ value: ["Ada"] }, "a list"],
    [{ value: new Map([["name", "Ada"]]) }, "an object of another kind"],
  ])("that returns %j loses no data: that is a mistake, and nothing is stored", async (result, kind) => {
    const { store, records } = openStore();
    const own = { "~standard": { validate: () => result as { value: object } } };
    const storing = visitor({ store, schema: own })((session) => session.set("name" as never, "Ada" as never));
    await expect(storing).rejects.toThrow(
      new TypeError(`The schema must return the data as the value, an object with their keys; it is ${kind}`),
    );
    expect(records.size).toBe(0);
  });

  test("may return an object of any class", async () => {
    class Shop {
      readonly name = "Ada";
    }
    const visit = visitor<object>({ schema: { "~standard": { validate: async () => ({ value: new Shop() }) } } });
    await visit((session) => session.set("n" as never, 1 as never));
    expect({ ...(await visit((session) => session.all())).result }).toEqual({ name: "Ada" });
  });

  test("is not stored at the end of the request when save() has refused it and the handler has answered", async () => {
    const { store, records } = openStore();
    const visit = visitor({ store, schema });
    const { result, cookies } = await visit(async (session) => {
      session.set("name", 4711 as unknown as string);
      return await codeOf(() => session.save());
    });
    expect([result, cookies, records.size]).toEqual(["ERR_SCHEMA", [], 0]);

    await visit((session) => session.set("name", "Ada"));
    await visit(async (session) => {
      await session.regenerate();
      session.set("name", 4711 as unknown as string);
      return await codeOf(() => session.save());
    });
    expect((await visit((session) => session.all())).result).toEqual({ name: "Ada", visits: 0 });
  });

  test("is stored at the end of the request when save() has refused it and the handler has mended it", async () => {
    const visit = visitor({ schema });
    await visit(async (session) => {
      session.set({ name: 4711 as unknown as string, visits: 3 });
      expect(await codeOf(() => session.save())).toBe("ERR_SCHEMA");
      session.set("name", "Ada");
    });
    expect((await visit((session) => session.all())).result).toEqual({ name: "Ada", visits: 3 });
  });

  test("is checked on write when a regenerated session takes over what another request has stored meanwhile", async () => {
    const small = z.object({ n: z.number(), m: z.number().optional() }).refine(({ n, m = 0 }) => n + m <= 10);
    const options = { store: memoryStore(), schema: small };
    const jar = cookieJar();
    const visit = visitor(options, { jar });
    await visit((session) => session.set("n", 9));
    const code = await codeOf(() =>
      visit(async (session) => {
        await session.regenerate();
        session.set("m", 1);
        await visitor(options, { jar })((other) => other.set("n", 10));
      }),
    );
    expect(code).toBe("ERR_SCHEMA");
    expect((await visit((session) => session.get("n"))).result).toBe(10);
  });

  test("is checked on load: a session that fails it is ignored, and onEvent hears rejected", async () => {
    const store = memoryStore();
    const events: SessionEvent[] = [];
    const headers = { Cookie: cookieOf(await visitor({ store })((session) => session.set("name", 4711))) };
    const { result } = await visitor({ store, schema, onEvent: (event) => events.push(event) })(
      (session) => session.get("name"),
      { headers },
    );
    expect(result).toBe(undefined);
    expect(bare(events)).toEqual([{ type: "rejected", reason: "schema" }]);
  });

  test("checks values that a codec of the program has encoded", async () => {
    const codec = {
      encode: (value: unknown) => JSON.stringify(value),
      decode: (text: string): unknown => JSON.parse(text),
    };
    const visit = visitor({ store: memoryStore(), schema, codec });
    await visit((session) => session.set({ name: "Ada", visits: 3 }));
    expect((await visit((session) => session.all())).result).toEqual({ name: "Ada", visits: 3 });
    expect(await codeOf(() => visit((session) => session.set("name", 4711 as unknown as string)))).toBe("ERR_SCHEMA");
  });

  test("gives what it makes of the data, and that is no change", async () => {
    const { store, calls } = counted(memoryStore());
    const headers = { Cookie: cookieOf(await visitor({ store })((session) => session.set("name", "ada"))) };
    calls.length = 0;
    const { result } = await visitor({ store, schema })((session) => session.all(), { headers });
    expect({ ...result }).toEqual({ name: "ada", visits: 0 });
    expect(calls).toEqual(["load"]);
  });

  test("may remove a value, and its changes of a value leave the time to live as it is", async () => {
    const clock = fakeClock();
    const { store } = openStore();
    const jar = cookieJar();
    await visitor(
      { store, now: clock.now },
      { jar },
    )((session) => {
      session.set({ old: 1, kept: 1 });
      session.set("name", " Ada ", { ttl: 60 });
    });
    const trimmed = z.looseObject({ name: z.string().trim().optional() }).transform(({ old: _, ...rest }) => ({
      ...rest,
      old: undefined,
    }));
    const visit = visitor({ store, now: clock.now, schema: trimmed as never }, { jar });
    expect({ ...(await visit((session) => session.all())).result }).toEqual({ kept: 1, name: "Ada" });
    expect((await visit((session) => session.keys())).result).toEqual(["kept", "name"]);
    clock.advance(61);
    expect({ ...(await visit((session) => session.all())).result }).toEqual({ kept: 1 });
  });

  test("keeps the keys of a newer server if it is loose, and removes them with the next write if it leaves them out", async () => {
    const { store } = openStore();
    const jar = cookieJar();
    const [old, loose] = [z.object({ a: z.number().optional() }), z.looseObject({ a: z.number().optional() })];
    const newer = visitor({ store }, { jar });
    await newer((session) => session.set({ a: 1, b: 1 }));
    const all = async () => ({ ...(await newer((session) => session.all())).result });
    await visitor({ store, schema: loose }, { jar })((session) => session.set("a", 2));
    expect(await all()).toEqual({ a: 2, b: 1 });
    await visitor({ store, schema: old }, { jar })((session) => session.get("a"));
    expect(await all()).toEqual({ a: 2, b: 1 });
    await visitor({ store, schema: old }, { jar })((session) => session.set("a", 3));
    expect(await all()).toEqual({ a: 3 });
  });

  test("says what the data look like, as a manager and a type argument do", () => {
    withSession(
      async (_request, session) => {
        expectTypeOf(await session.get("name")).toEqualTypeOf<string | undefined>();
        // @ts-expect-error there is no such key
        session.set("nmae", "ada");
        // @ts-expect-error a name is text
        session.set("name", 1);
        return new Response();
      },
      { schema },
    );
    withSession(async (_request, session) => {
      expectTypeOf(await session.get("user")).toEqualTypeOf<string | undefined>();
      return new Response();
    }, new SessionManager<{ user?: string }>());
    withSession<{ user?: string }>(async (_request, session) => {
      expectTypeOf(await session.get("user", null)).toEqualTypeOf<string | null>();
      return new Response();
    });
  });
});

describe("any Standard Schema", () => {
  /** A schema with only this `validate` function. */
  const toy = (validate: (value: unknown) => unknown): never =>
    ({ "~standard": { version: 1, vendor: "toy", validate } }) as never;

  test.each([
    ["a path and a message", [{ path: ["a"], message: "too dear" }], '"a" fails the schema: too dear'],
    [
      "a path of several keys",
      [{ path: ["list", 2, { key: "price" }], message: "no" }],
      '"list.2.price" fails the schema: no',
    ],
    ["a symbol in its path", [{ path: [Symbol("s")] }], '"Symbol(s)" fails the schema'],
    ["no message", [{ path: ["a"] }], '"a" fails the schema'],
    ["no path", [{ message: "no" }], "its data fails the schema: no"],
    ["an empty path", [{ path: [], message: "no" }], "its data fails the schema: no"],
    ["nothing to say", [{}], "its data fails the schema"],
    ["no issue in its list", [], "its data fails the schema"],
    [
      "another issue after it",
      [
        { path: ["a"], message: "no" },
        { path: ["b"], message: "too dear" },
      ],
      '"a" fails the schema: no; "b" fails the schema: too dear',
    ],
    [
      "four others after it",
      Array.from({ length: 5 }, (_, at) => ({ path: [at] })),
      '"0" fails the schema; "1" fails the schema; "2" fails the schema; "3" fails the schema; "4" fails the schema',
    ],
    [
      "more issues than anybody reads",
      Array.from({ length: 7 }, (_, at) => ({ path: [at] })),
      '"0" fails the schema; "1" fails the schema; "2" fails the schema; "3" fails the schema; "4" fails the schema; and 2 more',
    ],
  ])("says what is wrong by an issue with %s", async (_what, issues, words) => {
    const error = await errorOf(() => visitor({ schema: toy(() => ({ issues })) })((session) => session.set("a", 1)));
    expect([error.code, error.message]).toEqual(["ERR_SCHEMA", `Cannot store the session: ${words}`]);
  });

  test("may take its time, on load as on write", async () => {
    const schema = toy(async (value) => ({ value: { ...(value as object), added: true } }));
    const visit = visitor({ schema });
    await visit((session) => session.set("a", 1));
    expect({ ...(await visit((session) => session.all())).result }).toEqual({ a: 1, added: true });
    const refusing = toy(async () => ({ issues: [{ message: "no" }] }));
    expect(await codeOf(() => visitor({ schema: refusing })((session) => session.set("a", 1)))).toBe("ERR_SCHEMA");
  });

  test.each([
    ["throws", () => Promise.resolve().then(() => never())],
    ["throws at once", () => never()],
    ["refuses", () => ({ issues: [] })],
    ["refuses in its time", async () => ({ issues: [] })],
  ])("that %s on load leads to no session", async (_what, validate) => {
    const store = memoryStore();
    const jar = cookieJar();
    await visitor({ store }, { jar })((session) => session.set("a", 1));
    const events: SessionEvent[] = [];
    const visit = visitor({ store, schema: toy(validate), onEvent: (event) => events.push(event) }, { jar });
    expect((await visit((session) => session.get("a"))).result).toBeUndefined();
    expect(bare(events)).toEqual([{ type: "rejected", reason: "schema" }]);
  });

  test("is given the data alone, by their keys, with those that have a time to live", async () => {
    const seen: unknown[] = [];
    const schema = toy((value) => (seen.push(value), { value }));
    await visitor({ schema })((session) => {
      session.set({ 'a"b': "a b", "c\nd": [2] });
      session.set("later", 3, { ttl: 60 });
      session.set("__proto__", 4);
      session.flash("notice", 5);
    });
    expect(seen).toHaveLength(1);
    expect(Object.entries(Object(seen[0]))).toEqual(
      expect.arrayContaining([
        ['a"b', "a b"],
        ["c\nd", [2]],
        ["later", 3],
        ["__proto__", 4],
      ]),
    );
    expect(Object.keys(Object(seen[0]))).toHaveLength(4);
  });

  test("leaves flash values and times to live as they are, whatever it changes", async () => {
    const clock = fakeClock();
    const schema = toy((value) => {
      const { old: _, ...rest } = value as Record<string, unknown>;
      return { value: { ...rest, later: 30, added: 1 } };
    });
    const options = { store: memoryStore(), now: clock.now };
    const jar = cookieJar();
    await visitor(options, { jar })((session) => {
      session.set("later", 3, { ttl: 60 });
      session.set("old", 1);
      session.flash("notice", "hello");
    });
    const visit = visitor({ ...options, schema }, { jar });
    const { result } = await visit(async (session) => [{ ...(await session.all()) }, await session.get("notice")]);
    expect(result).toEqual([{ later: 30, added: 1, notice: "hello" }, "hello"]);
    clock.advance(61);
    // The value has expired, although the schema sets it at each load.
    expect((await visit((session) => session.has("later"))).result).toBe(false);
  });
});

describe("validateLoaded()", () => {
  /** Validates these fields with a schema that changes the data by `edit`. */
  const loaded = async (fields: Record<string, string>, edit: (data: Record<string, unknown>) => unknown) => {
    const found = { ...FOUND, fields: new Map(Object.entries(fields)) };
    const validate = (value: unknown) => ({ value: edit({ ...(value as object) }) });
    const answer = await validateLoaded({ "~standard": { validate } }, structuredCodec, found);
    if (answer === "schema") throw new Error("The schema refuses nothing");
    return { answer, isSame: answer.fields === found.fields, fields: Object.fromEntries(answer.fields) };
  };
  const fields = { "=a": "1", "=b": "2", "%c": withEnd("3", 4000), "~notice%": "4" };

  test("gives the very same fields when the schema changes nothing", async () => {
    expect(await loaded(fields, (data) => data)).toMatchObject({ isSame: true, fields });
    expect(await loaded(fields, ({ a, b, c }) => ({ c, b, a }))).toMatchObject({ isSame: true, fields });
  });

  test("gives other fields when the schema changes, adds or removes one value", async () => {
    const changed = await loaded(fields, (data) => ({ ...data, b: 5 }));
    expect(changed).toMatchObject({ isSame: false, fields: { ...fields, "=b": "5" } });
    const added = await loaded(fields, (data) => ({ ...data, d: 5 }));
    expect(added).toMatchObject({ isSame: false, fields: { ...fields, "=d": "5" } });
    const { "=a": _, ...withoutA } = fields;
    expect((await loaded(fields, ({ b, c }) => ({ b, c }))).fields).toEqual(withoutA);
    expect((await loaded(fields, ({ b, c }) => ({ b, c, d: 5 }))).fields).toEqual({ ...withoutA, "=d": "5" });
  });

  test("removes a value with a time to live, and no flash value, when the schema removes it", async () => {
    const { "%c": _, ...withoutC } = fields;
    expect((await loaded(fields, ({ a, b }) => ({ a, b }))).fields).toEqual(withoutC);
  });

  test("leaves the rest of what was found as it is", async () => {
    expect((await loaded(fields, (data) => ({ ...data, b: 5 }))).answer).toEqual({
      ...FOUND,
      fields: new Map(Object.entries({ ...fields, "=b": "5" })),
    });
  });
});

function never(): never {
  throw new Error("no");
}
