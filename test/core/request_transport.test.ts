import { describe, expect, test } from "vitest";
import { memoryStore, type Session, type SessionOptions, type Transport } from "../../mod.ts";
import { cookieOf, counted, idIn, SHOP, visitor } from "../setup/sessions.ts";

const MADE_UP = "a".repeat(32);
const set = (session: Session): void => session.set("a", 1);
const get = (session: Session): Promise<unknown> => session.get("a");
const destroy = (session: Session): Promise<void> => session.destroy();

describe("the header", () => {
  const header = "X-Session-Id";
  const told = (response: Response): string => response.headers.get(header) ?? "";

  test("[04] [07] [19] an empty one asks for the id, which then is all that a client without cookies needs", async () => {
    const options = { header, store: memoryStore() };
    const first = await visitor(options)(set, { headers: { [header]: "" } });
    expect(told(first.response)).toMatch(/^[\w-]{32}$/);
    expect(first.cookies).toEqual([]);
    const second = await visitor(options)(get, { headers: { [header]: told(first.response) } });
    expect([second.result, second.cookies]).toEqual([1, []]);
    const third = await visitor(options)((session) => session.regenerate(), {
      headers: { [header]: told(first.response) },
    });
    expect(told(third.response)).toMatch(/^[\w-]{32}$/);
    expect(told(third.response)).not.toBe(told(first.response));
    expect(third.cookies).toEqual([]);
    const last = await visitor(options)(destroy, { headers: { [header]: told(third.response) } });
    expect([last.response.headers.get(header), last.cookies]).toEqual(["", []]);
    expect(last.response.headers.get("Cache-Control")).toBe("no-store");
  });

  test("[19] a client that keeps no cookie and asks for no header begins a session each time", async () => {
    const store = memoryStore();
    const ids = new Set<string | null>();
    for (let n = 0; n < 3; n++) ids.add(idIn((await visitor({ store, header })(set)).cookies));
    expect(ids.size).toBe(3);
  });

  test("[04] a dead id in it is answered in it, by a new one", async () => {
    const { response, cookies } = await visitor({ header })(set, { headers: { [header]: MADE_UP } });
    expect(told(response)).toMatch(/^[\w-]{32}$/);
    expect(told(response)).not.toBe(MADE_UP);
    expect(cookies).toEqual([]);
  });

  test("without it in the request, a new session answers by cookie and in no header", async () => {
    const { response, cookies } = await visitor({ header })(set);
    expect(cookies).toHaveLength(1);
    expect(response.headers.has(header)).toBe(false);
  });

  test("[05] its name is an option, and may equal the cookie's", async () => {
    const options = { header: "session", cookie: { name: "session" }, store: memoryStore() };
    const first = await visitor(options)(set, { headers: { session: "" } });
    const id = first.response.headers.get("session") ?? "";
    expect((await visitor(options)(get, { headers: { session: id } })).result).toBe(1);
    expect((await visitor(options)(get, { headers: { Cookie: `session=${id}` } })).result).toBe(1);
  });

  test("[06] with both present the cookie wins, and nothing is merged", async () => {
    const store = memoryStore();
    const options = { store, header };
    const one = await visitor(options)((session) => session.set({ who: "cookie", a: 1 }));
    const other = await visitor(options)((session) => session.set({ who: "header", b: 2 }), {
      headers: { [header]: "" },
    });
    const headers = { Cookie: cookieOf(one), [header]: told(other.response) };
    const { result, response, cookies } = await visitor(options)(
      async (session) => {
        session.set("c", 3);
        await session.regenerate();
        return await session.all();
      },
      { headers },
    );
    expect({ ...result }).toEqual({ who: "cookie", a: 1, c: 3 });
    expect(cookies).toHaveLength(1);
    expect(response.headers.has(header)).toBe(false);
  });

  test("an Authorization header with a scheme carries the id, in any letter case", async () => {
    const options: SessionOptions = {
      cookie: false,
      header: { name: "Authorization", scheme: "Bearer" },
      store: memoryStore(),
    };
    const { response } = await visitor(options)(set, { headers: { Authorization: "Bearer" } });
    const answer = response.headers.get("Authorization") ?? "";
    expect(answer).toMatch(/^Bearer [\w-]{32}$/);
    for (const Authorization of [answer, answer.replace("Bearer", "bearer"), answer.replace(" ", "  ")]) {
      expect((await visitor(options)(get, { headers: { Authorization } })).result).toBe(1);
    }
    for (const Authorization of [answer.replace("Bearer", "Basic"), answer.slice(7), `Bearer${answer.slice(7)}`]) {
      expect((await visitor(options)(get, { headers: { Authorization } })).result).toBe(undefined);
    }
  });

  test("without a cookie it answers also a client that sends none", async () => {
    const { response, cookies } = await visitor({ header, cookie: false })(set);
    expect(told(response)).toMatch(/^[\w-]{32}$/);
    expect(cookies).toEqual([]);
  });

  test("[19] with cookie: false a cookie is not read", async () => {
    const store = memoryStore();
    const first = await visitor({ store })(set);
    const { result } = await visitor({ store, cookie: false, header })(get, { headers: { Cookie: cookieOf(first) } });
    expect(result).toBe(undefined);
  });

  test.each(["../../etc/passwd", "a b", "x".repeat(10_000), `${MADE_UP}, ${MADE_UP}`, "é".repeat(30), "{}"])(
    "[40] an id like %j costs no store call and is answered by a new one",
    async (id) => {
      const { store, calls } = counted(memoryStore());
      const { response } = await visitor({ store, header })(set, { headers: { [header]: id } });
      expect(told(response)).toMatch(/^[\w-]{32}$/);
      expect(calls).toEqual(["create"]);
    },
  );
});

describe("custom transports", () => {
  const query: Transport = {
    read: (request) => new URL(request.url).searchParams.get("sid"),
    write: (headers, id, { maxAge, request }) =>
      headers.set("X-Next", `${new URL(request.url).pathname}?sid=${id}&for=${maxAge}`),
    clear: (headers) => headers.set("X-Next", "/"),
  };

  test("[08] read, write and clear carry the id in the address", async () => {
    const options = { transports: [query], store: memoryStore() };
    const first = await visitor(options)(set, { url: `${SHOP}basket` });
    const next = first.response.headers.get("X-Next") ?? "";
    expect(next).toMatch(/^\/basket\?sid=[\w-]{32}&for=86400$/);
    expect(first.cookies).toEqual([]);
    expect(first.response.headers.get("Cache-Control")).toBe("no-store");
    const url = new URL(next, SHOP).href;
    expect((await visitor(options)(get, { url })).result).toBe(1);
    expect((await visitor(options)(destroy, { url })).response.headers.get("X-Next")).toBe("/");
    expect((await visitor(options)(get, { url })).result).toBe(undefined);
  });

  test("[08] read may be async and read a form: the handler has the body all the same", async () => {
    const form: Transport = {
      read: async (request) => {
        if (request.method !== "POST") return null;
        const sid = (await request.clone().formData()).get("sid");
        return typeof sid === "string" ? sid : null;
      },
      write: (headers, id) => headers.set("X-Id", id),
      clear: (headers) => headers.delete("X-Id"),
    };
    const store = memoryStore();
    const post = (sid: string): { method: string; body: URLSearchParams } => ({
      method: "POST",
      body: new URLSearchParams({ sid, name: "ada" }),
    });
    const first = await visitor({ store, transports: [form] })(set);
    const id = first.response.headers.get("X-Id") ?? "";
    const lazy = await visitor({ store, transports: [form] })(async (session, request) => {
      const a = await session.get("a");
      return [a, (await request.formData()).get("name")];
    }, post(id));
    const eager = await visitor({ store, transports: [form], load: "eager" })(async (session, request) => {
      const name = (await request.formData()).get("name");
      return [await session.get("a"), name];
    }, post(id));
    expect([lazy.result, eager.result]).toEqual([
      [1, "ada"],
      [1, "ada"],
    ]);
    const unknown = await visitor({ store, transports: [form], load: "eager" })(set, post(MADE_UP));
    expect(unknown.response.headers.get("X-Id")).toMatch(/^[\w-]{32}$/);
    expect(unknown.response.headers.get("X-Id")).not.toBe(MADE_UP);
  });

  test("the first that presents an id answers, and the first of all answers a new session", async () => {
    const named = (name: string, isAsync: boolean): Transport => ({
      read: (request) => (isAsync ? Promise.resolve(request.headers.get(name)) : request.headers.get(name)),
      write: (headers, id) => headers.set(name, id),
      clear: (headers) => headers.delete(name),
    });
    const options = {
      transports: [named("One", false), named("Two", true), named("Three", false)],
      store: memoryStore(),
    };
    const told = ({ response }: { response: Response }): string[] =>
      ["One", "Two", "Three"].filter((name) => response.headers.has(name));
    expect(told(await visitor(options)(set))).toEqual(["One"]);
    expect(told(await visitor(options)(set, { headers: { Two: MADE_UP, Three: MADE_UP } }))).toEqual(["Two"]);
    expect(told(await visitor(options)(set, { headers: { Three: MADE_UP } }))).toEqual(["Three"]);
  });

  test("read is not asked when nobody touches the session, and once when it is used", async () => {
    let reads = 0;
    const counting = { ...query, read: (request: Request) => (reads++, query.read(request)) };
    const visit = visitor({ transports: [counting] });
    await visit(() => 0);
    expect(reads).toBe(0);
    await visit(async (session) => {
      await session.get("a");
      await session.update("a", () => 1);
      await session.save();
    });
    expect(reads).toBe(1);
  });
});
