import { randomUUID } from "node:crypto";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { type Codec, memoryStore, type Session, type SessionEvent, SessionManager } from "../../../mod.ts";
import { SessionHandle } from "../../../src/core/session/session_handle.ts";
import { cookieJar, faultyStore } from "../../../src/testing.ts";
import {
  codeOf,
  cookieOf,
  counted,
  FAKED,
  gate,
  openStore,
  SHOP,
  soon,
  soonest,
  visitor,
} from "../../setup/sessions.ts";

const increment = (session: Session): Promise<number> => session.update("n", (n = 0) => n + 1);

test.each([memoryStore(), openStore().store])(
  "update() sends no cookie, for the client has the id, and it counts for no longer",
  async (store) => {
    const visit = visitor({ store });
    await visit((session) => session.set({ n: 1, other: 1 }));
    expect((await visit(increment)).cookies).toEqual([]);
  },
);

test("the function of an update() is noted as running until it has returned or thrown, and no longer", async () => {
  const visit = visitor({ store: openStore().store });
  await visit((session) => session.set("n", 1));
  await visit(async (session) => {
    const computing = () => SessionHandle.lazyOf(session).active?.computing;
    const seen: unknown[] = [];
    const functions: ((n: number) => number | Promise<number>)[] = [
      (n) => (seen.push(computing()), n),
      async (n) => (await soonest(Promise.resolve()), seen.push(computing()), n),
      () => {
        throw new Error("mine");
      },
    ];
    for (const each of functions) {
      await session.update("n", each).catch(() => {});
      seen.push(computing());
    }
    expect(seen).toEqual(["n", undefined, "n", undefined, undefined]);
  });
});

describe("update() after the response", () => {
  test("is stored at once and reported as late, also if the session did not get the new id that was asked for", async () => {
    const { store: inner } = openStore();
    const faulty = faultyStore(inner);
    const events: SessionEvent[] = [];
    const jar = cookieJar();
    const visit = visitor(
      { store: faulty, onStoreError: "anonymous", onEvent: (event) => events.push(event) },
      { jar },
    );
    await visit((session) => session.set("n", 1));
    const before = jar.header(SHOP);
    const { result } = await visit(async (session) => {
      await session.regenerate();
      faulty.plan({ save: ["rejects"] });
      return { session };
    });
    events.length = 0;
    expect(await increment(result.session)).toBe(2);
    expect(events.map(({ type }) => type)).toEqual(["late", "changed"]);
    expect(jar.header(SHOP)).toBe(before);
    expect((await visit((session) => session.get("n"))).result).toBe(2);
  });

  test("is refused when its function returns after the handler has thrown, and there was no session", async () => {
    const { opened, open } = gate();
    let updating: Promise<unknown> = Promise.resolve();
    const visiting = visitor()(async (session) => {
      updating = session.update("n", async () => (await opened, 1));
      await session.get("n");
      throw new Error("mine");
    });
    await expect(visiting).rejects.toThrow("mine");
    open();
    expect(await codeOf(() => updating)).toBe("ERR_RESPONSE_SENT");
  });
});

test("update() begins no session for a client that comes with a replaced id: its function is not called", async () => {
  const store = memoryStore();
  const old = { headers: { Cookie: cookieOf(await visitor({ store })((session) => session.set("n", 1))) } };
  await visitor({ store })((session) => session.regenerate(), old);
  let calls = 0;
  await visitor({ store })(async (session) => {
    expect(await codeOf(() => session.update("n", () => ++calls))).toBe("ERR_SESSION_GONE");
  }, old);
  expect(calls).toBe(0);
});

test.each(["rejects", "does it but rejects"] as const)(
  "update() returns the value that is stored, also after a save of the new session that %s",
  async (fault) => {
    const faulty = faultyStore(openStore().store);
    const visit = visitor({ store: faulty });
    const { result } = await visit(async (session) => {
      session.set("other", 1);
      faulty.plan({ save: [fault] });
      const code = await codeOf(() => session.save());
      return [code, await session.update("n", () => randomUUID())];
    });
    expect(result).toEqual(["ERR_STORE", (await visit((session) => session.get("n"))).result]);
  },
);

test("update() on a session that begins asks no codec to encode what is not there", async () => {
  const codec: Codec = {
    encode(value) {
      if (value === undefined) throw new Error("There is no text of undefined");
      return JSON.stringify(value);
    },
    decode: (text) => JSON.parse(text),
  };
  const visit = visitor({ codec });
  const { result } = await visit(async (session) => {
    session.set("other", 1);
    return [await session.update("n", () => undefined), await session.keys()];
  });
  expect(result).toEqual([undefined, ["other"]]);
});

test("update() stores nothing under the old id when it is unknown whether that was retired", async () => {
  const { store: inner } = openStore();
  const faulty = faultyStore(inner);
  const session = new SessionManager({ store: faulty }).open("");
  session.set("n", 0);
  const old = String(await session.create());
  await session.save();
  const elsewhere = (): Session => new SessionManager({ store: inner }).open(old);
  await session.regenerate();
  faulty.plan({ save: ["none", "rejects", "rejects"], load: "rejects" });
  expect(await codeOf(() => session.save())).toBe("ERR_STORE");
  faulty.plan({});
  await elsewhere().update("other", () => 7);
  expect(await increment(session)).toBe(1);
  expect({ ...(await elsewhere().all()) }).toEqual({});
  const renewed = new SessionManager({ store: inner }).open(String(await session.id()));
  expect({ ...(await renewed.all()) }).toEqual({ n: 1, other: 7 });
});

test("update() on a session that gets a new id is not stored later when it was refused for want of an answer", async () => {
  const { store: inner } = openStore();
  const faulty = faultyStore(inner);
  const session = new SessionManager({ store: faulty }).open("");
  session.set({ n: 0, other: 0 });
  await session.save();
  await session.regenerate();
  session.set("other", 1);
  faulty.plan({ save: ["rejects"] });
  expect(await codeOf(() => increment(session))).toBe("ERR_STORE");
  expect(await session.get("n")).toBe(0);
  await session.save();
  const renewed = new SessionManager({ store: inner }).open(String(await session.id()));
  expect({ ...(await renewed.all()) }).toEqual({ n: 0, other: 1 });
});

test("update() that was refused together with a new id is not stored when the old id turns out to be in use", async () => {
  const { store: inner } = openStore();
  const faulty = faultyStore(inner);
  const session = new SessionManager({ store: faulty }).open("");
  session.set({ n: 0, other: 0 });
  const old = String(await session.create());
  await session.save();
  await session.regenerate();
  session.set("other", 1);
  // The successor is created. Then the store fails, also when the library asks whether the old id was retired.
  faulty.plan({ save: ["none", "rejects", "rejects"], load: "rejects" });
  expect(await codeOf(() => increment(session))).toBe("ERR_STORE");
  faulty.plan({});
  await new SessionManager({ store: inner }).open(old).update("seen", () => true);
  await session.save();
  const renewed = new SessionManager({ store: inner }).open(String(await session.id()));
  expect({ ...(await renewed.all()) }).toEqual({ n: 0, other: 1, seen: true });
});

test.each(["a change", "a change with a new id"])(
  "update() on a session that gets a new id leaves what got no answer before it when it is refused: %s",
  async (before) => {
    const { store: inner } = openStore();
    const faulty = faultyStore(inner);
    const session = new SessionManager({ store: faulty }).open("");
    session.set({ n: 0, other: 0 });
    await session.save();
    if (before === "a change with a new id") await session.regenerate();
    session.set("other", 1);
    faulty.plan({ save: before === "a change" ? "rejects" : ["none", "rejects", "rejects"], load: "rejects" });
    expect(await codeOf(() => session.save())).toBe("ERR_STORE");
    if (before === "a change") await session.regenerate();
    faulty.plan({ save: "rejects", load: "rejects" });
    expect(await codeOf(() => increment(session))).toBe("ERR_STORE");
    expect([await session.get("n"), await session.get("other")]).toEqual([0, 1]);
    faulty.plan({});
    await session.save();
    const renewed = new SessionManager({ store: inner }).open(String(await session.id()));
    expect({ ...(await renewed.all()) }).toEqual({ n: 0, other: 1 });
  },
);

test("update() that is refused does not bring back the old id while another one with an async function is stored", async () => {
  const { store: inner } = openStore();
  const faulty = faultyStore(inner);
  const session = new SessionManager({ store: faulty }).open("");
  session.set("n", 0);
  await session.save();
  await session.regenerate();
  faulty.plan({ save: ["none", "rejects", "rejects"], load: "rejects" });
  expect(await codeOf(() => session.save())).toBe("ERR_STORE");
  // The old id is retired by the second of these updates. Its function runs again without the first one.
  faulty.plan({ save: ["rejects", "rejects"] });
  const { opened, open } = gate();
  let runs = 0;
  const refused = codeOf(() => session.update("n", async (n = 0) => n + 10));
  const updating = session.update("n", async (n = 0) => {
    if (++runs === 3) await opened;
    return n + 1;
  });
  await soon(undefined);
  open();
  expect(await Promise.all([refused, updating])).toEqual(["ERR_STORE", 1]);
  expect(await increment(session)).toBe(2);
  const renewed = new SessionManager({ store: inner }).open(String(await session.id()));
  expect(await renewed.get("n")).toBe(2);
});

test("update() whose function has returned does not limit how long later calls wait for each other", async () => {
  onTestFinished(() => void vi.useRealTimers());
  const faulty = faultyStore(openStore().store);
  const session = new SessionManager({ store: faulty, storeTimeout: 0.3 }).open("");
  await session.create();
  await session.save();
  expect(await session.update("n", async (n = 0) => n + 1)).toBe(1);
  faulty.plan({ save: ["hangs", "hangs"] });
  vi.useFakeTimers(FAKED);
  const saving = [1, 2, 3].map((count) => {
    session.set("count", count);
    return session.save().then(
      () => "stored",
      (error: unknown) => Object(error).code ?? Object(error).message,
    );
  });
  await vi.advanceTimersByTimeAsync(2 * 300 + 10);
  expect(await soonest(Promise.all(saving))).toEqual(["ERR_STORE_TIMEOUT", "ERR_STORE_TIMEOUT", "stored"]);
});

test("update() has stored before it returns its promise, where its function and the store answer at once", async () => {
  const { store, calls } = counted(memoryStore());
  const session = new SessionManager({ store }).open("");
  await session.create();
  await session.save();
  calls.length = 0;
  const updating = increment(session);
  expect(calls).toEqual(["change"]);
  expect(await updating).toBe(1);
});
