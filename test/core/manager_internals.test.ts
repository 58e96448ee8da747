import { describe, expect, test } from "vitest";
import { SessionManager, withSession } from "../../mod.ts";
import { MANAGER } from "../../src/core/manager_internals.ts";
import { isManager, managerInternalsOf } from "../../src/core/session_manager.ts";
import { codeOf, cookieOf, counted, openStore, SHOP } from "../setup/sessions.ts";

test("a manager is known by its internals, also one that another copy of this package made", () => {
  const internals = {};
  const foreign: object = { [Symbol.for("with-session.SessionManager.1")]: internals };
  expect([isManager(new SessionManager()), isManager(foreign)]).toEqual([true, true]);
  expect(managerInternalsOf(foreign as SessionManager)).toBe(internals);
  for (const other of [undefined, null, 7, "manager", {}, []]) expect(isManager(other as object)).toBe(false);
  // If the property were enumerable, a copy of options would contain it, and would count as a manager.
  expect(Object.keys(new SessionManager())).not.toContain(MANAGER);
});

describe("what adapters ask of a manager", () => {
  /** A manager, and a session with one value. */
  async function begun() {
    const { store, calls } = counted(openStore().store);
    const sessions = new SessionManager<{ n: number; notice?: string }>({ store });
    const response = await withSession(
      (_request, session) => (session.set("n", 1), new Response()),
      sessions,
    )(new Request(SHOP));
    const Cookie = cookieOf({ cookies: response.headers.getSetCookie() });
    const start = () => sessions.start(new Request(SHOP, { headers: { Cookie } }));
    calls.length = 0;
    return { sessions, internals: managerInternalsOf(sessions), start, calls };
  }

  test("commit() answers nothing for a session that nobody has used, and nothing more reaches its client", async () => {
    const { internals, start } = await begun();
    const session = start();
    expect(await internals.commit(session)).toBeUndefined();
    expect(await codeOf(() => session.regenerate())).toBe("ERR_RESPONSE_SENT");
  });

  test("commit() stores a session, and answers what its response must carry", async () => {
    const { internals, start } = await begun();
    const session = start();
    session.set("n", 2);
    expect(Object.fromEntries((await internals.commit(session)) ?? [])).toEqual({
      "cache-control": "private",
      "vary": "Cookie",
    });
    expect(await start().get("n")).toBe(2);
    expect(await codeOf(() => session.regenerate())).toBe("ERR_RESPONSE_SENT");
  });

  test("after close() nothing more reaches the client", async () => {
    const { internals, start, calls } = await begun();
    const session = start();
    internals.close(session);
    expect(await codeOf(() => session.regenerate())).toBe("ERR_RESPONSE_SENT");
    expect(calls).not.toContain("create");
  });

  test("idle() waits for the calls that are under way, and for nothing if there are none", async () => {
    const { internals, start } = await begun();
    const session = start();
    expect(internals.idle(session)).toBeUndefined();
    const done: string[] = [];
    const reading = session.get("n").then(() => done.push("get"));
    await internals.idle(session);
    expect(done).toEqual(["get"]);
    await reading;
    expect(internals.idle(session)).toBeUndefined();
  });

  test.each([true, false])(
    "discard() after commit() takes a new id back unless it was confirmed (%s)",
    async (isConfirmed) => {
      const { internals, start } = await begun();
      const session = start();
      await session.regenerate();
      await internals.commit(session);
      if (isConfirmed) internals.confirm(session);
      await internals.discard(session);
      expect(await start().get("n")).toBe(isConfirmed ? undefined : 1);
    },
  );

  test("dropRecorded() drops what was recorded and not stored, and lets the session be used on", async () => {
    const { internals, start } = await begun();
    const session = start();
    session.set("n", 2);
    internals.dropRecorded(session);
    await internals.commit(session);
    expect(await start().get("n")).toBe(1);
    // A session that was never used.
    const unused = start();
    internals.dropRecorded(unused);
    expect(await internals.commit(unused)).toBeUndefined();
  });

  test("dropRecorded() keeps a flash value that was shown for the next request", async () => {
    const { internals, start } = await begun();
    const setting = start();
    setting.flash("notice", "hello");
    await internals.commit(setting);
    const session = start();
    expect(await session.get("notice")).toBe("hello");
    internals.dropRecorded(session);
    await internals.commit(session);
    expect(await start().get("notice")).toBe("hello");
  });

  test("discard() ends a request that failed, and calls no store if there is nothing to put back", async () => {
    const { internals, start, calls } = await begun();
    const session = start();
    session.set("n", 2);
    await internals.discard(session);
    expect(calls).toEqual([]);
    expect(await codeOf(() => session.regenerate())).toBe("ERR_RESPONSE_SENT");
  });

  test.each<[string, (internals: ReturnType<typeof managerInternalsOf>, value: object) => unknown]>([
    ["commit()", (internals, value) => internals.commit(value)],
    ["close()", (internals, value) => internals.close(value)],
    ["idle()", (internals, value) => internals.idle(value)],
    ["dropRecorded()", (internals, value) => internals.dropRecorded(value)],
    ["discard()", (internals, value) => internals.discard(value)],
  ])("%s refuses what is no session of this copy of the package", (_name, call) => {
    for (const value of [{}, new Map(), new Request(SHOP)])
      expect(() => call(managerInternalsOf(new SessionManager()), value)).toThrow(/^Expected a Session/);
  });
});
