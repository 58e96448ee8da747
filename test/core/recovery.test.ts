import { describe, expect, test } from "vitest";
import { z } from "zod";
import { type Session, SessionManager, type SessionOptions, type SessionStore, withSession } from "../../mod.ts";
import { cookieSessions } from "../../src/cookie_sessions.ts";
import { mistake } from "../../src/core/errors.ts";
import { exclusive } from "../../src/exclusive.ts";
import { userSessions } from "../../src/user_sessions.ts";
import { fakeClock, faultyStore } from "../../src/testing.ts";
import { altered, codeOf, errorOf, idIn, living, openStore, SHOP } from "../setup/sessions.ts";

interface Data {
  n?: number;
  other?: number;
}

/** A session that two requests have opened, on a store that can fail for the first one. */
async function opened(options: SessionOptions<Data> = {}) {
  const { store: inner, records } = openStore();
  const store = faultyStore(inner);
  const heard: string[] = [];
  const sessions = new SessionManager<Data>({ store, onEvent: ({ type }) => void heard.push(type), ...options });
  const first = sessions.open("");
  first.set("n", 0);
  await first.save();
  const id = String(await first.id());
  const session = sessions.open(id);
  await session.get("n");
  heard.length = 0;
  const elsewhere = <Result>(use: (session: Session<Data>) => Result | Promise<Result>): Promise<Result> => {
    const other = new SessionManager<Data>({ store: inner }).open(id);
    return Promise.resolve(use(other)).then(async (result) => {
      await other.save();
      return result;
    });
  };
  const find = (of: string): Session<Data> => new SessionManager<Data>({ store: inner }).open(of);
  return { sessions, session, elsewhere, find, store, records, id, heard };
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

  test("what it was to store is seen, also beside an update() that fails meanwhile, and is stored in the end", async () => {
    const { session, find, store } = await opened();
    store.plan({ save: ["rejects", "rejects"] });
    session.set("other", 1);
    expect(await codeOf(() => session.save())).toBe("ERR_STORE");
    await session.regenerate();
    expect(await codeOf(() => increment(session))).toBe("ERR_STORE");
    expect({ ...(await session.all()) }).toEqual({ n: 0, other: 1 });
    await session.save();
    expect({ ...(await find(String(await session.id())).all()) }).toEqual({ n: 0, other: 1 });
  });

  test("nothing of it is stored when the request fails while a save() finds out whether it was done", async () => {
    const { sessions, session, find, store, id } = await opened();
    store.plan({ save: ["rejects"] });
    session.set("other", 1);
    expect(await codeOf(() => session.save())).toBe("ERR_STORE");
    const saving = session.save();
    await sessions.discard(session);
    await saving;
    await increment(session);
    expect({ ...(await find(id).all()) }).toEqual({ n: 1 });
  });

  test("an update() that begins before the request fails is stored, without it", async () => {
    const { sessions, session, find, store, id } = await opened();
    store.plan({ save: ["rejects"] });
    session.set("other", 1);
    expect(await codeOf(() => session.save())).toBe("ERR_STORE");
    const updating = increment(session);
    await sessions.discard(session);
    expect(await updating).toBe(1);
    expect({ ...(await find(id).all()) }).toEqual({ n: 1 });
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

describe("after a write that may or may not have been done", () => {
  test("what another request has stored since stays, and the write is reported once", async () => {
    const { session, elsewhere, find, store, id, heard } = await opened();
    store.plan({ save: ["does it but rejects"] });
    session.set("n", 1);
    expect(await codeOf(() => session.save())).toBe("ERR_STORE");
    await elsewhere((other) => other.set("n", 5));
    await session.save();
    expect([await session.get("n"), await find(id).get("n")]).toEqual([5, 5]);
    expect(heard).toEqual(["failed", "changed"]);
  });

  test("a request with nothing else to store sees what others have stored", async () => {
    const { session, elsewhere, store } = await opened();
    store.plan({ save: ["rejects"] });
    expect(await codeOf(() => increment(session))).toBe("ERR_STORE");
    await elsewhere((other) => other.set("other", 7));
    await session.save();
    expect({ ...(await session.all()) }).toEqual({ n: 0, other: 7 });
  });

  test.each([
    ["alone", () => ({})],
    ["where plugins judge sessions", () => ({ plugins: [userSessions()] })],
  ] as [string, () => SessionOptions<Data>][])(
    "a request with nothing else to store hears that the session was ended: %s",
    async (_, options) => {
      const { session, elsewhere, store } = await opened(options());
      store.plan({ save: ["rejects"] });
      expect(await codeOf(() => increment(session))).toBe("ERR_STORE");
      await elsewhere((other) => other.destroy());
      expect(await codeOf(() => session.save())).toBe("ERR_SESSION_GONE");
    },
  );

  test("the session is gone when the schema refuses what another request has stored", async () => {
    const schema = z.object({ n: z.number().max(10).optional(), other: z.number().optional() }) as z.ZodType<Data>;
    const { session, elsewhere, store } = await opened({ schema });
    store.plan({ save: ["rejects"] });
    session.set("other", 1);
    expect(await codeOf(() => session.save())).toBe("ERR_STORE");
    await elsewhere((other) => other.set("n", 11));
    expect(await codeOf(() => session.save())).toBe("ERR_SESSION_GONE");
  });

  test.each(["rejects", "does it but rejects"] as const)(
    "it is done once, under the new id, when another request has renewed the id with a grace (it %s)",
    async (fault) => {
      const { session, elsewhere, find, store, id, heard } = await opened();
      store.plan({ save: [fault] });
      session.set("n", 1);
      expect(await codeOf(() => session.save())).toBe("ERR_STORE");
      await elsewhere((other) => other.regenerate({ grace: 60 }));
      expect(await increment(session)).toBe(2);
      expect([await find(id).get("n"), await find(id).id()]).toEqual([2, await session.id()]);
      expect(await session.id()).not.toBe(id);
      expect(heard).not.toContain("gone");
    },
  );

  test("a rotation afterwards has the id that id() has given", async () => {
    const { session, find, store, id } = await opened();
    store.plan({ save: ["does it but rejects"] });
    session.set("n", 1);
    expect(await codeOf(() => session.save())).toBe("ERR_STORE");
    await session.regenerate();
    const promised = String(await session.id());
    await session.save();
    expect(await session.id()).toBe(promised);
    expect(await find(promised).get("n")).toBe(1);
    expect(await find(id).get("n")).toBeUndefined();
  });

  test("the response carries the lifetime that it has given to the cookie", async () => {
    const { store, id } = await opened();
    const handle = withSession<Data>(
      async (_request, session) => {
        session.setTimeouts({ cookie: 1800 });
        store.plan({ save: ["does it but rejects"] });
        expect(await codeOf(() => session.save())).toBe("ERR_STORE");
        return new Response("Hello");
      },
      { store },
    );
    const response = await handle(new Request(SHOP, { headers: { Cookie: `__Host-session=${id}` } }));
    expect(response.headers.getSetCookie()[0]).toContain("Max-Age=1800");
  });

  test("a clock that is behind does not make the session older", async () => {
    const clock = fakeClock();
    const { session, elsewhere, store, records } = await opened({ now: clock.now });
    const [{ lastSeenAt: before = NaN } = {}] = records.values();
    clock.advance(-100);
    store.plan({ save: ["rejects"] });
    session.set("n", 1);
    expect(await codeOf(() => session.save())).toBe("ERR_STORE");
    await session.save();
    expect([...records.values()].map(({ lastSeenAt }) => lastSeenAt)).toEqual([before]);
    expect(await elsewhere((other) => other.get("n"))).toBe(1);
  });
});

describe("after a creation without an answer", () => {
  test("a rotation has another id, also when what came after the creation was refused", async () => {
    const schema = z.object({ n: z.number().max(10).optional() }) as z.ZodType<Data>;
    const { sessions, find, store } = await opened({ schema });
    const session = sessions.open("");
    session.set("n", 1);
    const promised = await session.id();
    store.plan({ save: ["does it but rejects"] });
    expect(await codeOf(() => session.save())).toBe("ERR_STORE");
    session.set("n", 11);
    expect(await codeOf(() => session.save())).toBe("ERR_SCHEMA");
    session.set("n", 2);
    await session.regenerate();
    await session.save();
    expect(await session.id()).not.toBe(promised);
    expect(await find(String(await session.id())).get("n")).toBe(2);
  });

  test.each(["rejects", "does it but rejects"] as const)(
    "one session exists, under the id given (%s)",
    async (fault) => {
      const { sessions, find, store, records, heard } = await opened();
      const session = sessions.open("");
      session.set("n", 1);
      const promised = String(await session.id());
      store.plan({ save: [fault] });
      expect(await codeOf(() => session.save())).toBe("ERR_STORE");
      await session.save();
      expect([await session.id(), await find(promised).get("n"), records.size]).toEqual([promised, 1, 2]);
      expect(heard).toEqual(["rejected", "failed", "created"]);
      // The id is in use, so the next one is another.
      await session.regenerate();
      const renewed = String(await session.id());
      await session.save();
      expect(renewed).not.toBe(promised);
      expect([await find(renewed).get("n"), await find(promised).get("n")]).toEqual([1, undefined]);
    },
  );

  test("what another request has stored since stays", async () => {
    const { sessions, find, store } = await opened();
    const session = sessions.open("");
    session.set("n", 1);
    store.plan({ save: ["does it but rejects"] });
    const promised = String(await session.id());
    expect(await codeOf(() => session.save())).toBe("ERR_STORE");
    const other = find(promised);
    other.set("n", 5);
    await other.save();
    await session.save();
    expect([await session.get("n"), await find(promised).get("n")]).toEqual([5, 5]);
  });

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
  /** A session after a rotation of which it is not known whether the old id was retired. */
  async function doubtful(done: boolean) {
    const all = await opened();
    const { session, store } = all;
    await session.regenerate();
    // The successor is created. Then the store fails, also when the library asks whether the old id was retired.
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
    // The retired record and the new one.
    expect(records.size).toBe(2);
  });

  test.each([true, false])("exclusive() does so if its function has begun the rotation (retired: %s)", async (done) => {
    const { session, find, store, id } = await opened();
    const stored = await exclusive(session, "n", async (n = 0) => {
      await session.regenerate();
      store.plan({ save: ["none", done ? "does it but rejects" : "rejects", "rejects"], load: "rejects" });
      expect(await codeOf(() => session.save())).toBe("ERR_STORE");
      store.plan({});
      return n + 1;
    });
    expect(stored).toBe(1);
    const renewed = String(await session.id());
    expect(renewed).not.toBe(id);
    expect(await find(renewed).get("n")).toBe(1);
    expect(await find(id).get("n")).toBeUndefined();
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
    const { store, find, id, records } = await opened();
    const handle = withSession<Data>(
      async (_request, session) => {
        await session.regenerate();
        await session.save();
        await session.regenerate({ grace });
        // The successor is created. Then the store fails, also when the library asks whether the id was retired.
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
    expect(living(records)).toHaveLength(1);
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

describe("a rotation whose answer comes later", () => {
  test.each([0, 60])(
    "leads to the id of another request that has renewed it since, with a grace of %s",
    async (grace) => {
      const { session, elsewhere, find, store, id, records } = await opened();
      await session.regenerate({ grace: 60 });
      store.plan({ save: ["none", "does it but rejects", "rejects"], load: "rejects" });
      expect(await codeOf(() => session.save())).toBe("ERR_STORE");
      store.plan({});
      await elsewhere((other) => other.regenerate({ grace }));
      // Without a grace, the response must not carry the id that was renewed: it opens nothing any more.
      if (grace === 0) expect(await codeOf(() => session.save())).toBe("ERR_SESSION_GONE");
      else {
        await session.save();
        expect(await session.id()).toBe(await find(id).id());
      }
      expect(living(records)).toHaveLength(1);
    },
  );
});

describe("a rotation that another request overtakes", () => {
  test.each(["none", "does it twice"] as const)("takes along what that one has stored, once (%s)", async (fault) => {
    const { session, elsewhere, find, store, records, id } = await opened();
    session.set("n", 5);
    await session.regenerate();
    await elsewhere((other) => other.set("other", 7));
    // The library creates the successor. The retirement conflicts, so the library adds the other change to the
    // successor, and retires the old id.
    store.plan({ save: ["none", "none", fault] });
    await session.save();
    const renewed = String(await session.id());
    expect({ ...(await find(renewed).all()) }).toEqual({ n: 5, other: 7 });
    expect(await find(id).get("n")).toBeUndefined();
    expect(records.size).toBe(2);
  });
});

describe("a handler that fails after it has given the session a new id", () => {
  type Scene = Awaited<ReturnType<typeof opened>>;

  /** What a client with an id sees, and the id in its response. */
  async function visit({ find, store }: Scene, id: string) {
    let n: number | undefined;
    const handle = withSession<Data>(
      async (_request, session) => {
        n = await session.get("n");
        return new Response("Hello");
      },
      { store },
    );
    const response = await handle(new Request(SHOP, { headers: { Cookie: `__Host-session=${id}` } }));
    const told = idIn(response.headers.getSetCookie());
    return { n, told, isOpen: (await find(String(told)).get("n")) !== undefined };
  }

  async function failing(use: (session: Session<Data>, scene: Scene) => unknown) {
    const scene = await opened();
    const handle = withSession<Data>(
      async (_request, session) => {
        await use(session, scene);
        throw new Error("mine");
      },
      { store: scene.store, onEvent: ({ type }) => void scene.heard.push(type) },
    );
    const headers = { Cookie: `__Host-session=${scene.id}` };
    await expect(handle(new Request(SHOP, { headers }))).rejects.toThrow("mine");
    scene.store.plan({});
    return scene;
  }

  test("has not ended the session of a client that was told the new id during the grace", async () => {
    let told: string | null = null;
    const { find } = await failing(async (session, scene) => {
      await session.regenerate({ grace: 60 });
      await session.save();
      ({ told } = await visit(scene, scene.id));
    });
    expect(await find(String(told)).get("n")).toBe(0);
  });

  test("has not ended it either when the store did not say whether the old id was retired", async () => {
    let told: string | null = null;
    const { find } = await failing(async (session, scene) => {
      await session.regenerate({ grace: 60 });
      scene.store.plan({ save: ["none", "does it but rejects", "rejects"], load: "rejects" });
      expect(await codeOf(() => session.save())).toBe("ERR_STORE");
      scene.store.plan({});
      ({ told } = await visit(scene, scene.id));
    });
    expect(await find(String(told)).get("n")).toBe(0);
  });

  test("has not ended it either when another request has renewed the id once more since", async () => {
    const { find, id, records } = await failing(async (session, { store, elsewhere }) => {
      await session.regenerate({ grace: 60 });
      store.plan({ save: ["none", "does it but rejects", "rejects"], load: "rejects" });
      expect(await codeOf(() => session.save())).toBe("ERR_STORE");
      store.plan({});
      await elsewhere((other) => other.regenerate({ grace: 60 }));
    });
    expect([await find(id).get("n"), living(records).length]).toEqual([0, 1]);
  });

  test.each([0, 60])("leaves one session when the old id was perhaps not retired (grace: %s)", async (grace) => {
    const { find, id, records } = await failing(async (session, { store }) => {
      await session.regenerate({ grace });
      store.plan({ save: ["none", "rejects", "rejects"], load: "rejects" });
      expect(await codeOf(() => session.save())).toBe("ERR_STORE");
      store.plan({});
    });
    expect([await find(id).get("n"), living(records).length]).toEqual([0, 1]);
  });

  test("leaves the old id alone alive when its retirement was found out later", async () => {
    const { find, id, records } = await failing(async (session, { store }) => {
      await session.regenerate();
      store.plan({ save: ["none", "does it but rejects", "rejects"], load: "rejects" });
      expect(await codeOf(() => session.save())).toBe("ERR_STORE");
      store.plan({});
      await session.save();
    });
    expect([await find(id).get("n"), living(records).length]).toEqual([0, 1]);
  });

  test.each([true, false])(
    "leaves the old id alone alive while an update() waits for the answer to its rotation (retired: %s)",
    async (done) => {
      let updating: Promise<unknown> = Promise.resolve();
      let proceed = (): void => {};
      const { find, id, records } = await failing(async (session, { store, elsewhere }) => {
        await session.regenerate();
        await elsewhere((other) => other.set("n", 7));
        // The successor is stored. Then the old id is retired: first there is a conflict, then no answer.
        const retiring = done ? "does it but rejects" : "rejects";
        store.plan({ save: ["none", "none", "none", retiring, "rejects"], load: ["none", "none", "rejects"] });
        expect(await codeOf(() => session.save())).toBe("ERR_STORE");
        store.plan({});
        await new Promise<void>((hasAnswer) => {
          let runs = 0;
          // The function runs again on the value under the new id, and is still running when the handler fails.
          updating = session.update("n", async (n = 0) => {
            if (++runs === 2) {
              hasAnswer();
              await new Promise<void>((resume) => (proceed = resume));
            }
            return n + 1;
          });
        });
      });
      expect([await find(id).get("n"), living(records).length]).toEqual([7, 1]);
      proceed();
      await updating.catch(() => {});
      expect([await find(id).get("n"), living(records).length]).toEqual([7, 1]);
    },
  );

  test("leaves the old id alone alive, with what another request has stored, when that one overtook the rotation", async () => {
    const { find, id, records } = await failing(async (session, { elsewhere }) => {
      await session.regenerate();
      await elsewhere((other) => other.set("n", 7));
      await session.save();
    });
    expect([await find(id).get("n"), living(records).length]).toEqual([7, 1]);
  });

  test("is told instead that a store of the program's own is not written right, by the TypeError that it throws", async () => {
    const { store: inner } = openStore();
    let isWrong = false;
    const store = altered(inner, {
      load: (load, ...args) => {
        if (isWrong) throw mistake("load is not right");
        return load(...args);
      },
    });
    const begun = new SessionManager<Data>({ store }).open("");
    const id = await begun.create();
    await begun.save();
    const handle = withSession<Data>(
      async (_request, session) => {
        await session.regenerate();
        await session.save();
        isWrong = true;
        throw new Error("mine");
      },
      { store },
    );
    const headers = { Cookie: `__Host-session=${id}` };
    await expect(handle(new Request(SHOP, { headers }))).rejects.toThrow("load is not right");
  });

  test("tells its own error when the old id cannot be put back, and an event tells the other one", async () => {
    const { records, heard } = await failing(async (session, { store }) => {
      await session.regenerate();
      await session.save();
      store.plan({ load: "rejects", save: "rejects", delete: "rejects" });
    });
    expect(records.size).toBe(2);
    expect(heard).toEqual(["loaded", "regenerated", "failed"]);
  });

  test("tells its own error when other requests keep the new session from being ended", async () => {
    const { store: inner } = openStore();
    const store = altered(inner, { delete: () => "conflict" });
    const failures: string[] = [];
    const options: SessionOptions<Data> = {
      store,
      storeTimeout: 0.02,
      onEvent: (event) => void (event.type === "failed" && failures.push(`${event.during} ${event.error.code}`)),
    };
    const begun = new SessionManager<Data>({ store: inner }).open("");
    const id = await begun.create();
    await begun.save();
    const handle = withSession<Data>(async (_request, session) => {
      await session.regenerate();
      await session.save();
      throw new Error("mine");
    }, options);
    const headers = { Cookie: `__Host-session=${id}` };
    await expect(handle(new Request(SHOP, { headers }))).rejects.toThrow("mine");
    expect(failures).toEqual(["store ERR_CONFLICT"]);
  });
});

describe("sessions in cookies whose revocations are stored", () => {
  /** Timeouts so long that the store of revocations must record them. */
  const LONG = { idle: 10_000_000, absolute: 20_000_000 };

  /** Calls `use` in a request. Its session needs the store of revocations, which can fail. */
  async function visited(store: SessionStore, use: (session: Session<Data>) => unknown, cookie = "") {
    const handle = withSession<Data>(
      async (_request, session) => {
        await use(session);
        return new Response("Hello");
      },
      { store: cookieSessions({ secrets: ["a secret of at least thirty-two bytes"], revocation: store }) },
    );
    const response = await handle(new Request(SHOP, { headers: { Cookie: cookie } }));
    return response.headers.getSetCookie()[0]?.split(";")[0];
  }

  test("are begun, and renewed, by another attempt", async () => {
    const store = faultyStore(openStore().store);
    const begun = await visited(store, async (session) => {
      session.set("n", 1);
      session.setTimeouts(LONG);
      store.plan({ save: "rejects" });
      expect(await codeOf(() => session.save())).toBe("ERR_STORE");
      store.plan({});
      await session.save();
    });
    const renewed = await visited(
      store,
      async (session) => {
        const before = await session.id();
        await session.regenerate();
        store.plan({ save: "rejects" });
        expect(await codeOf(() => session.save())).toBe("ERR_STORE");
        store.plan({});
        await session.save();
        expect(await session.id()).not.toBe(before);
      },
      begun,
    );
    await visited(store, async (session) => expect(await session.get("n")).toBe(1), renewed);
  });
});
