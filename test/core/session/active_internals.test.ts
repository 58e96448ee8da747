import { describe, expect, test } from "vitest";
import { memoryStore, type Plugin, type PluginHost, type Session, type SessionEvent } from "../../../mod.ts";
import { SessionManager, type SessionOptions, withSession } from "../../../mod.ts";
import { internalsOf } from "../../../src/core/session_internals.ts";
import { faultyStore } from "../../../src/testing.ts";
import { codeOf, cookieOf, counted, failing, idIn, openStore, SHOP, soon, visitor } from "../../setup/sessions.ts";

test("refresh() finds nothing newer where there is no session", async () => {
  const session = new SessionManager().open("");
  await internalsOf(session).refresh();
  expect(internalsOf(session).found).toBeNull();
});

test("a plugin tells events of its own under the name of its manager, whether or not anybody listens", () => {
  const heard: SessionEvent[] = [];
  const hosts: PluginHost[] = [];
  const plugin: Plugin = { name: "job", attach: (host) => void hosts.push(host) };
  const managers = [{ onEvent: (event: SessionEvent) => heard.push(event) }, {}].map(
    (options) => new SessionManager({ plugins: [plugin], cookie: { name: "__Host-shop" }, ...options }),
  );
  for (const host of hosts) host.emit({ type: "revoked", sessions: 2 });
  expect([managers.length, hosts.length, heard]).toEqual([
    2,
    2,
    [{ type: "revoked", sessions: 2, name: "__Host-shop" }],
  ]);
});

test("discloseId() tells the id of a session that exists, and the new one of a session that perhaps got it", async () => {
  const faulty = faultyStore(openStore().store);
  const session = new SessionManager({ store: faulty }).open("");
  const old = await session.create();
  await session.save();
  expect(await internalsOf(session).discloseId()).toBe(old);
  expect(internalsOf(session).disclosedId).toBeUndefined();
  await session.regenerate();
  faulty.plan({ save: ["none", "rejects", "rejects"], load: "rejects" });
  expect(await codeOf(() => session.save())).toBe("ERR_STORE");
  faulty.plan({});
  const told = await internalsOf(session).discloseId();
  expect(told).not.toBe(old);
  expect(internalsOf(session).disclosedId).toBe(told);
  expect(await session.id()).toBe(told);
  await session.save();
  expect(await session.id()).toBe(told);
});

/** A client with a session, `{ n: 1 }`, and the calls of the store that its requests make. */
async function begun(options: SessionOptions = {}) {
  const { store, calls } = counted(openStore().store);
  const visit = visitor({ store, ...options });
  const cookie = cookieOf(await visit((session) => session.set("n", 1)));
  calls.length = 0;
  return { store, visit, calls, cookie };
}

describe("a session from the inside", () => {
  const MADE_UP = "a".repeat(32);

  test("tells what the client presented, what came of it, and with what the handler was called", async () => {
    const handler = withSession(async (request, session, env) => {
      const internals = internalsOf(session);
      expect([internals.presented, internals.rejected]).toEqual([undefined, null]);
      await internals.load();
      expect([internals.presented, internals.rejected]).toEqual([MADE_UP, "unknown"]);
      expect([internals.found, internals.unavailable]).toEqual([null, undefined]);
      expect([internals.request, internals.runtimeArguments]).toEqual([request, [env]]);
      return new Response();
    });
    await handler(new Request(SHOP, { headers: { Cookie: `__Host-session=${MADE_UP}` } }), { name: "env" });
  });

  test("tells whether the store was down, and changes nothing then", async () => {
    const store = failing(memoryStore(), ["load"]);
    const session = new SessionManager({ store, onStoreError: "anonymous" }).open(MADE_UP);
    const internals = internalsOf(session);
    await internals.load();
    expect(internals.unavailable?.code).toBe("ERR_STORE");
    expect(await codeOf(() => internals.update("n", () => 1))).toBe("ERR_STORE");
  });

  test("tells an id that was told before its session was stored, and no other", async () => {
    const session = new SessionManager().open("");
    const internals = internalsOf(session);
    session.set("n", 1);
    expect(internals.disclosedId).toBeUndefined();
    const id = await session.id();
    expect(internals.disclosedId).toBe(id);
    await session.save();
    expect(internals.disclosedId).toBeUndefined();
  });

  test("tells no id if none could be made", async () => {
    const session = new SessionManager({ generateId: () => Promise.reject(new Error("no entropy")) }).open("");
    session.set("n", 1);
    await expect(session.id()).rejects.toThrow("no entropy");
    expect(internalsOf(session).disclosedId).toBeUndefined();
  });

  test("authenticate() lets a client with a replaced id begin a session", async () => {
    const { store, visit, cookie } = await begun();
    await visit((session) => session.regenerate());
    const { result } = await visitor({ store })(
      async (session) => {
        const refused = await codeOf(() => session.create());
        internalsOf(session).authenticate();
        return [refused, typeof (await session.create())];
      },
      { headers: { Cookie: cookie } },
    );
    expect(result).toEqual(["ERR_SESSION_GONE", "string"]);
  });
});

describe("the facts of a plugin", () => {
  const facts = (session: Session): unknown[] =>
    (["+a", "+b"] as const).map((name) => internalsOf(session).metadata(name));

  test("are seen at once, and by later requests until they are removed", async () => {
    const { visit } = await begun();
    await visit(async (session) => {
      await session.get("n");
      expect(facts(session)).toEqual([undefined, undefined]);
      internalsOf(session).setMetadata("+a", 0);
      internalsOf(session).setMetadata("+b", { of: ["mine"] });
      expect(facts(session)).toEqual([0, { of: ["mine"] }]);
    });
    const { result } = await visit(async (session) => {
      await session.get("n");
      const before = facts(session);
      internalsOf(session).setMetadata("+b", null);
      return [before, facts(session), typeof (await session.info()).createdAt];
    });
    expect(result).toEqual([[0, { of: ["mine"] }], [0, undefined], "number"]);
    expect((await visit(async (session) => (await session.get("n"), facts(session)))).result).toEqual([0, undefined]);
  });

  test.each(["changed", "under a new id"])(
    "are seen when their write got no answer: the session is %s",
    async (way) => {
      const store = faultyStore(openStore().store);
      const session = new SessionManager({ store }).open("");
      await session.create();
      await session.save();
      if (way === "under a new id") await session.regenerate();
      internalsOf(session).setMetadata("+a", 1);
      store.plan({ load: "rejects", save: way === "changed" ? "rejects" : ["none", "rejects", "rejects"] });
      expect(await codeOf(() => session.save())).toBe("ERR_STORE");
      expect(facts(session)).toEqual([1, undefined]);
      internalsOf(session).setMetadata("+a", 2);
      expect(facts(session)).toEqual([2, undefined]);
    },
  );

  test("are changed by a function of the newest ones, which stores nothing if it keeps them", async () => {
    const { visit, calls } = await begun();
    await visit(async (session) => {
      await session.get("n");
      internalsOf(session).setMetadata("+a", (count, { createdAt }) => {
        expect(createdAt).toBeTypeOf("number");
        return Number(count ?? 0) + 1;
      });
      await visit((elsewhere) => internalsOf(elsewhere).setMetadata("+a", 10));
    });
    calls.length = 0;
    const { result } = await visit(async (session) => {
      await session.get("n");
      internalsOf(session).setMetadata("+a", (count) => count);
      return facts(session);
    });
    expect([result, calls]).toEqual([[11, undefined], ["load"]]);
  });

  test("are stored at once after the response, or refused where there is no session", async () => {
    const { store, visit } = await begun();
    const { result: late } = await visit(async (session) => (await session.get("n"), { session }));
    internalsOf(late.session).setMetadata("+a", 1);
    await soon(0);
    expect((await visit(async (session) => (await session.get("n"), facts(session)))).result).toEqual([1, undefined]);
    const { result: without } = await visitor({ store })(async (session) => (await session.get("n"), { session }));
    expect(facts(without.session)).toEqual([undefined, undefined]);
    expect(await codeOf(() => internalsOf(without.session).setMetadata("+a", 1))).toBe("ERR_RESPONSE_SENT");
  });
});

describe("update() from the inside", () => {
  const add = (n: unknown): number => Number(n ?? 0) + 1;

  test("stores what it changes at once, and nothing else", async () => {
    const { visit, calls } = await begun();
    await visit(async (session) => {
      session.set("other", 2);
      expect(await internalsOf(session).update("n", add)).toBe(2);
      expect({ ...(await visit((elsewhere) => elsewhere.all())).result }).toEqual({ n: 2 });
    });
    expect(calls.filter((call) => call !== "load")).toEqual(["change", "change"]);
  });

  test("begins the session if there is none", async () => {
    const session = new SessionManager().open("");
    expect(await internalsOf(session).update("n", add)).toBe(1);
    expect(internalsOf(session).found).not.toBeNull();
  });

  test("stores what it changes under the new id of a session that gets one, and it alone", async () => {
    const { store, visit, cookie } = await begun();
    const changed = await visit(async (session) => {
      await session.regenerate();
      expect(await internalsOf(session).update("n", add)).toBe(2);
      const old = await visitor({ store })((elsewhere) => elsewhere.all(), { headers: { Cookie: cookie } });
      expect({ ...old.result }).toEqual({});
    });
    expect(idIn(changed.cookies)).not.toBeNull();
    expect({ ...(await visit((session) => session.all())).result }).toEqual({ n: 2 });
  });
});

test("refresh() finds what another request has stored, and stores nothing that waits", async () => {
  const { visit, calls } = await begun();
  await visit(async (session) => {
    session.set("list", [1]);
    await session.save();
    expect(await session.get("list")).toEqual([1]);
    session.set("waiting", true);
    await visit((other) => other.set({ n: 2, list: [1, 2] }));
    calls.length = 0;
    await internalsOf(session).refresh();
    expect(calls).toEqual(["load"]);
    expect({ ...(await session.all()) }).toEqual({ n: 2, list: [1, 2], waiting: true });
    expect(await session.get("list")).toEqual([1, 2]);
  });
});
