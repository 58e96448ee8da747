import { describe, expect, expectTypeOf, test } from "vitest";
import { z } from "zod";
import { memoryStore, SessionManager, type SessionEvent, withSession } from "../../mod.ts";
import { cookieJar, fakeClock } from "../../src/testing.ts";
import { bare, codeOf, cookieOf, counted, errorOf, openStore, visitor } from "../setup/sessions.ts";

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
