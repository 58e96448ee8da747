import { describe, expect, test } from "vitest";
import { z } from "zod";
import { memoryStore, type Session, SessionError, type SessionEvent } from "../../mod.ts";
import { cookieJar, fakeClock } from "../../src/testing.ts";
import {
  altered,
  codeOf,
  cookieOf,
  counted,
  errorOf,
  failing,
  keyOf,
  SHOP,
  VERBS,
  visitor,
} from "../setup/sessions.ts";

const MADE_UP = "a".repeat(32);
const set = (session: Session): void => session.set("a", 1);
const get = (session: Session): Promise<unknown> => session.get("a");
const destroy = (session: Session): Promise<void> => session.destroy();

describe("a failing store", () => {
  const headers = { Cookie: `__Host-session=${MADE_UP}` };

  test("throws ERR_STORE when it cannot load, at the read and not before, and each read asks again", async () => {
    let fails = true;
    const store = failing(memoryStore(), ["load"], () => fails);
    const { cookies } = await visitor({ store })(set);
    const { result, response } = await visitor({ store })(
      async (session) => {
        const code = await codeOf(() => session.get("a"));
        fails = false;
        return [code, await session.get("a")];
      },
      { headers: { Cookie: cookieOf({ cookies }) } },
    );
    expect(result).toEqual(["ERR_STORE", 1]);
    expect(response.status).toBe(200);
  });

  test.each(["create", "change", "touch", "delete"] as const)(
    "throws ERR_STORE, and sends no cookie, when it cannot %s",
    async (verb) => {
      const clock = fakeClock();
      let fails = false;
      const store = failing(memoryStore(), [verb], () => fails);
      const visit = visitor({ store, now: clock.now });
      if (verb !== "create") await visit(set);
      fails = true;
      const use = {
        create: set,
        change: (session: Session) => session.set("a", 2),
        touch: (session: Session) => session.touch(),
        delete: destroy,
      }[verb];
      expect(await codeOf(() => visit(use))).toBe("ERR_STORE");
      fails = false;
      expect((await visit(get)).result).toBe(verb === "create" ? undefined : 1);
    },
  );

  test("throws ERR_STORE when its function rejects, and calls it again for the next request", async () => {
    const store = memoryStore();
    let calls = 0;
    const visit = visitor({
      store: async () => {
        if (++calls === 1) throw new Error("down");
        return store;
      },
    });
    expect(await codeOf(() => visit((session) => session.set("a", 1)))).toBe("ERR_STORE");
    for (let n = 0; n < 2; n++) await visit((session) => session.set("a", 1));
    expect(calls).toBe(2);
  });

  test("throws ERR_STORE when its function throws, and whatever it throws is not let out", async () => {
    const error = await errorOf(() =>
      visitor({
        store: () => {
          throw new Error("redis://user:password@host");
        },
      })(set),
    );
    expect(error.code).toBe("ERR_STORE");
    expect(error.message).not.toContain("password");
  });

  test("anonymous: a load that fails is a request without a session, which writes nothing and leaves the cookie alone", async () => {
    const events: SessionEvent[] = [];
    const { store, calls } = counted(failing(memoryStore(), ["load"]));
    const visit = visitor({ store, onStoreError: "anonymous", onEvent: (event) => events.push(event) });
    for (const use of [
      set,
      destroy,
      (session: Session) => session.update("a", (a = 0) => a + 1),
      (session: Session) => session.regenerate(),
    ]) {
      const { result, cookies, response } = await visit(
        async (session) => {
          const before = await session.get("a");
          await use(session);
          return [before, (await session.info()).isNew];
        },
        { headers },
      );
      expect([result, cookies, response.status]).toEqual([[undefined, true], [], 200]);
    }
    expect(new Set(calls)).toEqual(new Set(["load"]));
    expect(events[0]).toMatchObject({ type: "failed", during: "load", error: { code: "ERR_STORE" } });
  });

  test.each(["create", "change", "touch", "delete"] as const)(
    "anonymous: a %s that fails lets the response go out, without a cookie",
    async (verb) => {
      const events: SessionEvent[] = [];
      let fails = false;
      const store = failing(memoryStore(), [verb], () => fails);
      const jar = cookieJar();
      const visit = visitor({ store, onStoreError: "anonymous", onEvent: (event) => events.push(event) }, { jar });
      if (verb !== "create") await visit(set);
      const before = jar.header(SHOP);
      fails = true;
      const use = {
        create: set,
        change: (session: Session) => session.set("a", 2),
        touch: (session: Session) => session.touch(),
        delete: destroy,
      }[verb];
      const { response, cookies } = await visit(
        async (session) => (await use(session), new Response("Hello", { status: 201 })),
      );
      expect([response.status, cookies, jar.header(SHOP)]).toEqual([201, [], before]);
      expect(events.at(-1)).toMatchObject({ type: "failed", during: "store" });
      fails = false;
      expect((await visit(get)).result).toBe(verb === "create" ? undefined : 1);
    },
  );

  test("anonymous: a value that cannot be stored, or does not fit the schema, is an error all the same", async () => {
    const schema = z.object({ a: z.number().optional() });
    const visit = visitor({ schema, onStoreError: "anonymous" });
    expect(await codeOf(() => visit((session) => session.set("a", "one" as unknown as number)))).toBe("ERR_SCHEMA");
  });

  test.each(["load", "create"] as const)(
    "throws ERR_STORE_TIMEOUT when a %s takes longer than storeTimeout",
    async (verb) => {
      const store = altered(memoryStore(), { [verb]: () => new Promise(() => {}) });
      const visit = visitor({ store, storeTimeout: 0.02 });
      const use = verb === "load" ? get : set;
      const init = verb === "load" ? { headers } : {};
      expect(await codeOf(() => visit(use, init))).toBe("ERR_STORE_TIMEOUT");
      expect((await visitor({ store, storeTimeout: 0.02, onStoreError: "anonymous" })(use, init)).cookies).toEqual([]);
    },
  );

  test("throws ERR_CONFLICT when it never wins within storeTimeout", async () => {
    const store = altered(memoryStore(), { change: async () => "conflict" });
    const events: SessionEvent[] = [];
    const visit = visitor({ store, storeTimeout: 1, onEvent: (event) => events.push(event) });
    await visit(set);
    expect(await codeOf(() => visit((session) => session.update("a", (a) => a + 1)))).toBe("ERR_CONFLICT");
    expect(events.filter(({ type }) => type === "conflict").length).toBeGreaterThan(1);
    expect(events.at(-1)).toMatchObject({ type: "failed" });
  });

  test("[storeTimeout] may be longer than a timer can be", async () => {
    const slow = altered(memoryStore(), {
      create: async (create, ...args) => {
        await new Promise((resolve) => setTimeout(resolve, 5));
        return await create(...args);
      },
    });
    const { cookies } = await visitor({ store: slow, storeTimeout: 3_000_000 })((session) => session.set("n", 1));
    expect(cookies).toHaveLength(1);
  });

  test("a store whose client sends a command each time that its answer is awaited is waited for once", async () => {
    const store = memoryStore();
    /** As in many database clients, a query is sent each time its promise is awaited. */
    const lazily = <Answer>(send: () => Promise<Answer>): Promise<Answer> => ({
      // oxlint-disable-next-line unicorn/no-thenable, promise/no-callback-in-promise -- that is what such clients give
      then: (done, failed) => send().then(done, failed),
      catch: (failed) => send().catch(failed),
      finally: (settled) => send().finally(settled),
      [Symbol.toStringTag]: "Query",
    });
    const visit = visitor({
      store: altered(store, { change: (change, ...args) => lazily(async () => change(...args)) }),
    });
    await visit((session) => session.set("n", 1));
    await visit((session) => session.update("n", (n) => n + 1));
    expect((await visit((session) => session.get("n"))).result).toBe(2);
  });

  test("throws ERR_RECORD_TOO_LARGE as the store does", async () => {
    const failure = new SessionError(
      "ERR_RECORD_TOO_LARGE",
      "Cannot store the session: its record is 70 bytes, Toy takes 60",
    );
    const store = altered(memoryStore(), { create: () => Promise.reject(failure) });
    await expect(visitor({ store })(set)).rejects.toBe(failure);
  });

  test("an outage is not a logout: the session and its cookie are there when it is over", async () => {
    for (const onStoreError of ["throw", "anonymous"] as const) {
      let fails = false;
      const store = failing(memoryStore(), VERBS, () => fails);
      const jar = cookieJar();
      const visit = visitor({ store, onStoreError }, { jar });
      await visit(set);
      const before = jar.header(SHOP);
      fails = true;
      for (const use of [get, set, destroy, (session: Session) => session.regenerate()]) {
        await visit(use).catch(() => {});
      }
      fails = false;
      expect(jar.header(SHOP)).toBe(before);
      expect((await visit(get)).result).toBe(1);
    }
  });
});

describe("errors", () => {
  test("tell no id, store key or value, in message, cause or event, whatever the client of the store throws", async () => {
    const id = "S".repeat(32);
    const secrets = [id, keyOf(id), "the value", "the flash"];
    const events: SessionEvent[] = [];
    const errors: unknown[] = [];
    const leak = async (_: unknown, ...args: unknown[]): Promise<never> => {
      throw Object.assign(
        new TypeError(`SET ${JSON.stringify(args)} ${secrets.join(" ")}`, { cause: new Error(secrets.join(" ")) }),
        {
          command: args,
          code: "ECONNRESET",
        },
      );
    };
    for (const verb of ["load", "create", "change", "touch", "delete"] as const) {
      let leaks = false;
      const store = altered(memoryStore(), {
        [verb]: (call: (...args: unknown[]) => unknown, ...args: unknown[]) =>
          leaks ? leak(0, ...args) : call(...args),
      });
      const visit = visitor({ store, generateId: () => id, onEvent: (event) => events.push(event) });
      if (verb !== "create") await visit((session) => session.set("key", "the value"));
      leaks = true;
      await visit(async (session) => {
        if (verb === "delete") return await session.destroy();
        if (verb === "touch") return session.touch();
        session.set("key", "the value!");
        session.flash("notice", "the flash");
      }).catch((error: unknown) => errors.push(error));
    }
    expect(errors).toHaveLength(5);
    for (const error of errors) expect(error).toBeInstanceOf(SessionError);
    const shown = (error: unknown): string =>
      error instanceof Error
        ? `${error} ${error.stack} ${JSON.stringify({ ...error })} ${shown(error.cause)}`
        : String(error);
    const said = [
      ...errors.map(shown),
      ...events.map((event) => ("error" in event ? shown(event.error) : JSON.stringify(event))),
    ].join("\n");
    for (const secret of secrets) expect(said).not.toContain(secret);
  });

  test("name the class and system code of what the client threw", async () => {
    const store = altered(memoryStore(), {
      create: () => Promise.reject(Object.assign(new TypeError("secret"), { code: "ECONNREFUSED" })),
    });
    const error = await errorOf(() => visitor({ store })(set));
    expect(error.name).toBe("SessionError");
    expect(String(error.cause)).toContain("TypeError ECONNREFUSED");
    expect(String(error.cause)).not.toContain("secret");
  });
});
