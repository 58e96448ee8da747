import { describe, expect, test } from "vitest";
import {
  memoryStore,
  type Plugin,
  type Session,
  type SessionEvent,
  SessionManager,
  type SessionOptions,
  type SessionStore,
} from "../../mod.ts";
import { internalsOf } from "../../src/core/session_internals.ts";
import { cookieJar, fakeClock } from "../../src/testing.ts";
import { bare, codeOf, cookieOf, failing, idIn, openStore, visitor } from "../setup/sessions.ts";

const MADE_UP = "a".repeat(32);
const set = (session: Session): void => session.set("a", 1);
const get = (session: Session): Promise<unknown> => session.get("a");

test("A session whose store cannot be opened fails to load, which is reported as any other failure", async () => {
  const events: SessionEvent[] = [];
  const sessions = new SessionManager({
    store: () => Promise.reject(new Error("down")),
    onEvent: (event) => events.push(event),
  });
  expect(await codeOf(() => get(sessions.open(MADE_UP)))).toBe("ERR_STORE");
  expect(events).toMatchObject([{ type: "failed", during: "load", error: { code: "ERR_STORE" } }]);
});

describe("a token that leads to no session", () => {
  /** A session that a plugin rejects with this reason. The core handles its own reasons in the same way. */
  const refused = async (reason: string, store: SessionStore = openStore().store) => {
    const door: Plugin = { name: "door", admit: () => reason };
    const headers = { Cookie: cookieOf(await visitor({ store })(set)) };
    const events: SessionEvent[] = [];
    const { result, cookies } = await visitor({ store, plugins: [door], onEvent: (event) => events.push(event) })(
      async (session) => [await session.get("a"), (await session.info()).isNew],
      { headers },
    );
    expect(result).toEqual([undefined, true]);
    return { clears: cookies.length > 0, told: bare(events) };
  };

  test.each([
    ["malformed", true],
    ["unknown", true],
    ["expired", true],
    ["revoked", true],
    ["credentials", true],
    ["forged", false],
    ["retired", false],
    ["reuse", false],
    ["schema", false],
    ["corrupt", false],
    ["misplaced", false],
    ["newer", false],
    ["a reason of a plugin", false],
  ])("is cleared only if it will never open one again: %s", async (reason, clears) => {
    expect(await refused(reason)).toEqual({ clears, told: [{ type: "rejected", reason }] });
  });

  test("is not cleared when it was replaced just now, which nobody is told", async () => {
    expect(await refused("replaced")).toEqual({ clears: false, told: [{ type: "rejected", reason: "retired" }] });
  });

  test("is kept when the store may show it later: only one that is unknown can be late", async () => {
    const { store: inner } = openStore();
    const store: SessionStore = { ...inner, traits: { ...inner.traits, consistency: "eventual" } };
    expect((await refused("unknown", store)).clears).toBe(false);
    expect((await refused("expired", store)).clears).toBe(true);
    const { cookies } = await visitor({ store })(get, { headers: { Cookie: `__Host-session=${MADE_UP}` } });
    expect(cookies).toEqual([]);
  });

  test("that is ambiguous is told as such, and begins no session by itself", async () => {
    const { store, records } = openStore();
    const events: SessionEvent[] = [];
    const { result } = await visitor({ store, onEvent: (event) => events.push(event) })(
      async (session) => {
        const { ended, isNew } = await session.info();
        return [ended, isNew];
      },
      { headers: { Cookie: `__Host-session=${MADE_UP}; __Host-session=${"b".repeat(32)}` } },
    );
    expect([result, bare(events), records.size]).toEqual([["ambiguous", true], [{ type: "ambiguous" }], 0]);
  });

  test("that is absent is nothing to tell of", async () => {
    const events: SessionEvent[] = [];
    const { result } = await visitor({ onEvent: (event) => events.push(event) })((session) => session.info());
    expect([result.ended, result.isNew, events]).toEqual([null, true, []]);
  });
});

describe("a session that was found", () => {
  test("is not new, and gets its cookie again only where the client holds another one", async () => {
    const { store } = openStore();
    const { cookies } = await visitor({ store, cookie: { name: "old" } })(set);
    const id = idIn(cookies);
    const isNew = async (session: Session): Promise<boolean> => (await session.info()).isNew;
    const same = await visitor({ store, cookie: { name: "old" } })(isNew, { headers: { Cookie: `old=${id}` } });
    expect([same.result, same.cookies]).toEqual([false, []]);
    const renamed = { store, cookie: { name: "new", previous: [{ name: "old" }] } };
    const next = await visitor(renamed)(isNew, { headers: { Cookie: `old=${id}` } });
    expect([next.result, next.cookies.some((line) => line.startsWith(`new=${id}`))]).toEqual([false, true]);
  });

  test("is missing for one request when the store fails and that is tolerated, and its cookie stays", async () => {
    let isDown = false;
    const store = failing(memoryStore(), ["load"], () => isDown);
    const headers = { Cookie: cookieOf(await visitor({ store })(set)) };
    const events: SessionEvent[] = [];
    const visit = visitor({ store, onStoreError: "anonymous", onEvent: (event) => events.push(event) });
    isDown = true;
    const during = await visit(get, { headers });
    expect([during.result, during.cookies]).toEqual([undefined, []]);
    expect(events.map((event) => [event.type, "during" in event && event.during])).toEqual([["failed", "load"]]);
    isDown = false;
    expect((await visit(get, { headers })).result).toBe(1);
  });

  test("fails the request that asks for it when the store fails, unless that is tolerated", async () => {
    const headers = { Cookie: `__Host-session=${MADE_UP}` };
    await visitor({ store: failing(memoryStore(), ["load"]) })(
      async (session) => expect(await codeOf(() => session.get("a"))).toBe("ERR_STORE"),
      { headers },
    );
  });

  test("fails the request when its plugin throws what is no error of the store, tolerated or not", async () => {
    const store = memoryStore();
    const headers = { Cookie: cookieOf(await visitor({ store })(set)) };
    const fault = new Error("mine");
    const door: Plugin = {
      name: "door",
      admit: () => {
        throw fault;
      },
    };
    const events: SessionEvent[] = [];
    const options = { store, plugins: [door], onEvent: (event: SessionEvent) => events.push(event) };
    for (const onStoreError of ["throw", "anonymous"] as const)
      await expect(visitor({ ...options, onStoreError })(get, { headers })).rejects.toBe(fault);
    expect(events).toEqual([]);
  });
});

describe("rotateEvery", () => {
  /** A session of the given age in seconds, and whether a request with it gets a new id. */
  async function aged(seconds: number, more: SessionOptions = {}) {
    const clock = fakeClock();
    const { store } = openStore();
    const options = { store, now: clock.now, rotateEvery: 600, ...more };
    const jar = cookieJar({ now: clock.now });
    const visit = visitor(options, { jar });
    const first = idIn((await visit(set)).cookies)!;
    clock.advance(seconds);
    return { clock, options, visit, first };
  }

  test("gives a new id as soon as the old one is that old", async () => {
    const young = await aged(599.999);
    expect((await young.visit(get)).cookies).toEqual([]);
    const old = await aged(600);
    const { result, cookies } = await old.visit(get);
    expect([result, idIn(cookies) === old.first]).toEqual([1, false]);
  });

  test("gives none in a request that a plugin does not count as use", async () => {
    const { visit, first } = await aged(600);
    const { result, cookies } = await visit((session) => (internalsOf(session).ignoreUse(), session.id()));
    expect([result, cookies]).toEqual([first, []]);
    expect(idIn((await visit(get)).cookies)).not.toBe(null);
  });

  test("counts from the last new id, and gives none in the request that first uses one", async () => {
    const { clock, visit } = await aged(600);
    const second = idIn((await visit(get)).cookies);
    expect(second).not.toBeNull();
    clock.advance(700);
    // This request only records the first use of the new id.
    expect((await visit(get)).cookies.map((line) => idIn([line]) === second)).not.toContain(false);
    const third = idIn((await visit(get)).cookies);
    expect([third === null, third === second]).toEqual([false, false]);
    clock.advance(599);
    await visit(get);
    const before = await visit((session) => session.id());
    expect(before.result).toBe(third);
  });

  test("does not count as a proof of who the user is", async () => {
    const { visit, first } = await aged(600);
    const { result, cookies } = await visit((session) => session.info());
    expect([idIn(cookies) === first, result.authenticatedAt]).toEqual([false, null]);
    expect((await visit((session) => session.info())).result.authenticatedAt).toBeNull();
  });

  test("lets the old id be used as often as the client has it alone: the new one is not taken for used", async () => {
    const { clock, options, first } = await aged(600);
    const old = { headers: { Cookie: `__Host-session=${first}` } };
    for (let count = 0; count < 3; count++) {
      expect((await visitor(options)(get, old)).result).toBe(1);
      clock.advance(61);
    }
  });

  test("lets requests with the old id come until a minute after the client first used the new one", async () => {
    const { clock, options, visit, first } = await aged(600, { rotateEvery: { seconds: 600, onReuse: "destroy" } });
    const old = { headers: { Cookie: `__Host-session=${first}` } };
    // The response of this request is lost.
    await visitor(options)(get, old);
    clock.advance(700);
    // The client sends several requests at once. The response to one of them arrives before the others are answered.
    await visit(get);
    await visit(get);
    clock.advance(59);
    expect((await visitor(options)(get, old)).result).toBe(1);
    // The new id may be renewed meanwhile.
    expect((await visit((session) => session.id())).result).not.toBe(first);
    expect((await visitor(options)(get, old)).result).toBe(1);
    clock.advance(1);
    expect((await visitor(options)((session) => session.info(), old)).result.ended).toBe("reuse");
    expect((await visit(get)).result).toBeUndefined();
  });

  test("does not take a new id for used because a request with the one before is stored under it", async () => {
    const { clock, options, visit } = await aged(600);
    const headers = { Cookie: cookieOf(await visit(get)) };
    clock.advance(600);
    const { promise: renewed, resolve } = Promise.withResolvers<void>();
    // The responses to these three are lost. The first of them is stored last.
    const slow = visitor(options)(
      async (session) => {
        await session.get("a");
        await renewed;
      },
      { headers },
    );
    await visitor(options)(get, { headers });
    await visitor(options)(get, { headers });
    resolve();
    await slow;
    clock.advance(60);
    expect((await visitor(options)(get, { headers })).result).toBe(1);
  });

  test("takes an old id for none of theft that a program has kept, for a WebSocket say", async () => {
    const events: SessionEvent[] = [];
    const { clock, options, visit, first } = await aged(600, {
      rotateEvery: { seconds: 600, onReuse: "destroy" },
      header: "X-Session-Id",
      onEvent: (event) => events.push(event),
    });
    for (let requests = 0; requests < 2; requests++) await visit(get);
    clock.advance(60);
    const kept = new SessionManager(options).open(first);
    events.length = 0;
    expect([await kept.id(), (await kept.info()).ended]).toEqual([null, "retired"]);
    expect(bare(events)).toEqual([{ type: "rejected", reason: "retired" }]);
    expect((await visit(get)).result).toBe(1);
  });

  test("rejects an old id also while a grace of the id after it lasts", async () => {
    const { clock, options, visit, first } = await aged(600);
    const old = { headers: { Cookie: `__Host-session=${first}` } };
    for (let requests = 0; requests < 2; requests++) await visit(get);
    clock.advance(60);
    const ended = async () => (await visitor(options)((session) => session.info(), old)).result.ended;
    expect(await ended()).toBe("reuse");
    await visit((session) => session.regenerate({ grace: 30 }));
    expect(await ended()).toBe("reuse");
  });

  test("lets an old id in during a grace of the id after it if the client did not have that one", async () => {
    const { clock, options, first } = await aged(600);
    const old = { headers: { Cookie: `__Host-session=${first}` } };
    await visitor(options)(get, old);
    clock.advance(60);
    await visitor(options)((session) => session.regenerate({ grace: 30 }), old);
    expect((await visitor(options)(get, old)).result).toBe(1);
  });

  test("does not take a new id for used that a server opens: its response may be lost", async () => {
    const { clock, options, first } = await aged(600);
    const old = { headers: { Cookie: `__Host-session=${first}` } };
    const { result: id } = await visitor(options)((session) => session.id(), old);
    const session = new SessionManager(options).open(id ?? "");
    session.set("b", 2);
    await session.save();
    clock.advance(61);
    expect({ ...(await visitor(options)((late) => late.all(), old)).result }).toEqual({ a: 1, b: 2 });
  });

  test("gives none to a request that does not count as use, nor where there is no request", async () => {
    const idle = await aged(600, { touch: () => false });
    expect((await idle.visit(get)).cookies).toEqual([]);
    const { options, first } = await aged(600);
    const session = new SessionManager(options).open(first);
    expect(await session.get("a")).toBe(1);
    await session.save();
    expect(await session.id()).toBe(first);
    const prefetch = { headers: { "Cookie": `__Host-session=${first}`, "Sec-Purpose": "prefetch" } };
    expect((await visitor(options)(get, prefetch)).cookies).toEqual([]);
  });

  test("gives none to a session that is first used after the response", async () => {
    const { options, first } = await aged(600);
    let late: Session | undefined;
    await visitor(options)((session) => void (late = session), { headers: { Cookie: `__Host-session=${first}` } });
    expect(await late?.get("a")).toBe(1);
    late?.set("a", 2);
    await late?.save();
    expect(await late?.id()).toBe(first);
  });
});
