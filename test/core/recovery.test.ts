import { describe, expect, test } from "vitest";
import { type Session, SessionManager, withSession } from "../../mod.ts";
import { exclusive } from "../../src/exclusive.ts";
import { faultyStore } from "../../src/testing.ts";
import { codeOf, errorOf, idIn, openStore, SHOP } from "../setup/sessions.ts";

interface Data {
  n?: number;
  other?: number;
}

/** A session that two requests have open, on a store that can fail for the first one. */
async function opened() {
  const { store: inner, records } = openStore();
  const store = faultyStore(inner);
  const sessions = new SessionManager<Data>({ store });
  const first = sessions.open("");
  first.set("n", 0);
  await first.save();
  const id = String(await first.id());
  const session = sessions.open(id);
  await session.get("n");
  const elsewhere = <Result>(use: (session: Session<Data>) => Result | Promise<Result>): Promise<Result> => {
    const other = new SessionManager<Data>({ store: inner }).open(id);
    return Promise.resolve(use(other)).then(async (result) => {
      await other.save();
      return result;
    });
  };
  const find = (of: string): Session<Data> => new SessionManager<Data>({ store: inner }).open(of);
  return { session, elsewhere, find, store, records, id };
}

const increment = (session: Session<Data>): Promise<number> => session.update("n", (n = 0) => n + 1);

describe("after a write without an answer", () => {
  test.each(["rejects", "does it but rejects"] as const)("a write that %s is done once", async (fault) => {
    const { session, find, store, id } = await opened();
    store.plan({ save: [fault] });
    session.set("n", 1);
    expect(await codeOf(() => session.save())).toBe("ERR_STORE");
    expect(await increment(session)).toBe(2);
    expect(await find(id).get("n")).toBe(2);
  });

  test("timeouts that are set afterwards are stored together with it", async () => {
    const { session, find, store, id } = await opened();
    store.plan({ save: ["rejects"] });
    session.set("n", 1);
    expect(await codeOf(() => session.save())).toBe("ERR_STORE");
    session.setTimeouts({ idle: 60 });
    await session.save();
    const found = find(id);
    const { expiresAt, lastSeenAt } = await found.info();
    expect([await found.get("n"), Number(expiresAt) - Number(lastSeenAt)]).toEqual([1, 60_000]);
  });

  test("timeouts that were to be stored with it are, and a later one of the same kind counts", async () => {
    const { session, find, store, id } = await opened();
    store.plan({ save: ["rejects"] });
    session.setTimeouts({ idle: 60, absolute: 600 });
    expect(await codeOf(() => session.save())).toBe("ERR_STORE");
    session.setTimeouts({ idle: 700 });
    await session.save();
    const { expiresAt, createdAt } = await find(id).info();
    expect(Number(expiresAt) - Number(createdAt)).toBe(600_000);
  });

  test("the session is gone when another request has ended it", async () => {
    const { session, elsewhere, store, records } = await opened();
    store.plan({ save: ["rejects"] });
    session.set("n", 1);
    expect(await codeOf(() => session.save())).toBe("ERR_STORE");
    await elsewhere((other) => other.destroy());
    expect(await codeOf(() => session.save())).toBe("ERR_SESSION_GONE");
    expect(records.size).toBe(0);
  });

  test("nothing is stored when so many others have written since that nobody can tell whether it was done", async () => {
    const { session, elsewhere, find, store, id } = await opened();
    store.plan({ save: ["does it but rejects"] });
    session.set("n", 1);
    expect(await codeOf(() => session.save())).toBe("ERR_STORE");
    await elsewhere(async (other) => {
      for (let count = 0; count < 40; count++) await other.update("other", (n = 0) => n + 1);
    });
    const error = await errorOf(() => session.save());
    expect([error.code, error.message]).toEqual(["ERR_STORE", expect.stringMatching(/^Cannot tell/)]);
    expect({ ...(await find(id).all()) }).toEqual({ n: 1, other: 40 });
  });
});

describe("after a creation without an answer", () => {
  test.each([false, true])(
    "the session of somebody else who has the id is left alone (id() was called: %s)",
    async (isTold) => {
      const ids = ["a", "a", "b", "c"].map((letter) => letter.repeat(32));
      const [taken = "", , free = ""] = ids;
      const { store, find, records } = await opened();
      const sessions = new SessionManager<Data>({ store, generateId: () => ids.shift() ?? "" });
      const first = sessions.open("");
      first.set("other", 1);
      await first.save();
      const session = sessions.open("");
      session.set("n", 1);
      if (isTold) expect(await session.id()).toBe(taken);
      store.plan({ save: ["rejects"] });
      expect(await codeOf(() => session.save())).toBe("ERR_STORE");
      if (isTold) expect(await codeOf(() => session.save())).toBe("ERR_CONFLICT");
      else await session.save();
      expect({ ...(await find(taken).all()) }).toEqual({ other: 1 });
      expect(await find(free).get("n")).toBe(isTold ? undefined : 1);
      expect(records.size).toBe(isTold ? 2 : 3);
    },
  );
});

describe("after a rotation without an answer", () => {
  /** A session whose old id may or may not be retired. */
  async function doubtful(done: boolean) {
    const all = await opened();
    const { session, store } = all;
    await session.regenerate();
    // The successor is created, and then the store fails, also when it is asked what became of the old id.
    store.plan({ save: ["none", done ? "does it but rejects" : "rejects", "rejects"], load: "rejects" });
    expect(await codeOf(() => session.save())).toBe("ERR_STORE");
    store.plan({});
    return all;
  }

  test.each([true, false])("exclusive() stores its result under the new id (retired: %s)", async (done) => {
    const { session, find, records, id } = await doubtful(done);
    expect(await exclusive(session, "n", (n = 0) => n + 1)).toBe(1);
    const renewed = String(await session.id());
    expect(renewed).not.toBe(id);
    expect(await find(renewed).get("n")).toBe(1);
    expect(await find(id).get("n")).toBeUndefined();
    // The retired one, and the new one.
    expect(records.size).toBe(2);
  });

  test.each([true, false])("update() stores its result under the new id (retired: %s)", async (done) => {
    const { session, find, records, id } = await doubtful(done);
    expect(await increment(session)).toBe(1);
    expect(await find(String(await session.id())).get("n")).toBe(1);
    expect(await find(id).get("n")).toBeUndefined();
    expect(records.size).toBe(2);
  });

  test.each([true, false])("another rotation has the id that id() has given (retired: %s)", async (done) => {
    const { session, find, id } = await doubtful(done);
    await session.regenerate();
    const promised = String(await session.id());
    await session.save();
    expect(await session.id()).toBe(promised);
    expect(await find(promised).get("n")).toBe(0);
    expect(await find(id).get("n")).toBeUndefined();
  });
});

describe("a response that goes out although the last rotation failed", () => {
  test.each([
    { done: true, grace: 0 },
    { done: true, grace: 60 },
    { done: false, grace: 0 },
    { done: false, grace: 60 },
  ])("tells the id before it, which opens the session ($done, $grace)", async ({ done, grace }) => {
    const { store, find, id } = await opened();
    const handle = withSession<Data>(
      async (_request, session) => {
        await session.regenerate();
        await session.save();
        await session.regenerate({ grace });
        // The successor is created, and then the store fails, also when it is asked what became of the id.
        store.plan({ save: ["none", done ? "does it but rejects" : "rejects", "rejects"] });
        return new Response("Hello");
      },
      { store, onStoreError: "anonymous" },
    );
    const response = await handle(new Request(SHOP, { headers: { Cookie: `__Host-session=${id}` } }));
    store.plan({});
    const told = String(idIn(response.headers.getSetCookie()));
    expect(told).not.toBe(id);
    expect(await find(told).get("n")).toBe(0);
    expect(await find(id).get("n")).toBeUndefined();
  });
});

describe("a rotation without an answer that another request overtakes", () => {
  test("leaves the user authenticated whom it was for, when another rotation follows", async () => {
    const { session, elsewhere, find, store } = await opened();
    await session.regenerate({ reauthenticated: true });
    store.plan({ save: ["none", "rejects", "rejects"], load: "rejects" });
    expect(await codeOf(() => session.save())).toBe("ERR_STORE");
    store.plan({});
    await elsewhere((other) => other.set("other", 7));
    await session.regenerate();
    await session.save();
    const renewed = find(String(await session.id()));
    expect({ ...(await renewed.all()) }).toEqual({ n: 0, other: 7 });
    expect((await renewed.info()).authenticatedAt).not.toBeNull();
  });
});

describe("a rotation that another request overtakes", () => {
  test.each(["none", "does it twice"] as const)("takes along what that one has stored, once (%s)", async (fault) => {
    const { session, elsewhere, find, store, records, id } = await opened();
    session.set("n", 5);
    await session.regenerate();
    await elsewhere((other) => other.set("other", 7));
    // It creates the successor, is refused the retirement, moves the change over, and retires the old id.
    store.plan({ save: ["none", "none", fault] });
    await session.save();
    const renewed = String(await session.id());
    expect({ ...(await find(renewed).all()) }).toEqual({ n: 5, other: 7 });
    expect(await find(id).get("n")).toBeUndefined();
    expect(records.size).toBe(2);
  });
});
