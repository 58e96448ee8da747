import { describe, expect, test } from "vitest";
import { memoryStore, type SessionEvent, SessionManager, type SessionStore, withSession } from "../../mod.ts";
import { cookieSessions } from "../../src/cookie_sessions.ts";
import { csrfToken } from "../../src/csrf.ts";
import { internalsOf } from "../../src/core/session_internals.ts";
import { cookieJar, fakeClock, faultyStore } from "../../src/testing.ts";
import {
  codeOf,
  cookieOf,
  type Data,
  openStore,
  type Options,
  sealed,
  secrets,
  SHOP,
  visitor,
  withCopy,
} from "./setup.ts";
import { PATIENCE } from "../setup/sessions.ts";

function revocable(options: Options = {}) {
  const { store, records, calls } = openStore();
  return { options: sealed(options, { revocation: store }), records, calls };
}

const readN = async (options: Options, cookie: string): Promise<unknown> =>
  (await withCopy(options, cookie)((session) => session.get("n"))).result;
const ended = async (options: Options, cookie: string): Promise<unknown> =>
  (await withCopy(options, cookie)(async (session) => (await session.info()).ended)).result;
const begin = async (options: Options): Promise<string> =>
  cookieOf(await visitor(options)((session) => session.set("n", 1)));
const logOut = (options: Options, cookie: string) => withCopy(options, cookie)((session) => session.destroy());

describe("cookieSessions({ revocation })", () => {
  test("rejects every copy when the session was destroyed, with one small record", async () => {
    const { options, records, calls } = revocable();
    const visit = visitor(options);
    const copies = [cookieOf(await visit((session) => session.set("user", "Lovelace")))];
    copies.push(cookieOf(await visit((session) => session.set("n", 2))));
    expect(calls).toEqual(["load", "load"]);
    await visit((session) => session.destroy());
    expect(calls.slice(2)).toEqual(["load", "save"]);
    expect(records.size).toBe(1);
    const dump = JSON.stringify([...records].map(([key, { fields }]) => [key, ...fields]));
    expect(dump.length).toBeLessThan(300);
    expect(dump).not.toContain("Lovelace");
    for (const copy of copies) expect(await ended(options, copy)).toBe("revoked");
    expect(copies.some((copy) => dump.includes(copy))).toBe(false);
  });

  test("makes one call when a request reads, and none when the cookie is forged, malformed, expired or absent", async () => {
    const clock = fakeClock();
    const { options, calls } = revocable({ now: clock.now });
    const copy = await begin(options);
    for (const token of [`1${"A".repeat(100)}`, "e30..AAAAAAAAAAAAAAAA.AA.AAAAAAAAAAAAAAAAAAAAAA", "x"]) {
      await readN(options, `__Host-session=${token}`);
    }
    await visitor(options)((session) => session.get("n"));
    expect(calls).toEqual([]);
    expect(await readN(options, copy)).toBe(1);
    expect(calls).toEqual(["load"]);
    clock.advance(86_400);
    expect(await ended(options, copy)).toBe("expired");
    expect(calls).toEqual(["load"]);
  });

  test("makes one load and one save when a session is regenerated", async () => {
    const { options, calls } = revocable();
    const copy = await begin(options);
    await withCopy(options, copy)((session) => session.regenerate());
    expect(calls).toEqual(["load", "save"]);
  });

  test("drops the change of a request that is under way when the session is destroyed", async () => {
    const events: SessionEvent[] = [];
    const { options } = revocable({ onEvent: (event) => events.push(event) });
    const jar = cookieJar();
    const visit = visitor(options, jar);
    await visit((session) => session.set("n", 1));
    const copy = jar.header(SHOP) ?? "";
    const late = await visit(async (session) => {
      await session.get("n");
      await logOut(options, copy);
      session.set("n", 2);
      expect(await codeOf(() => session.save())).toBe("ERR_SESSION_GONE");
    });
    expect(late.cookies).toEqual([]);
    expect(events.map(({ type }) => type)).toContain("gone");
    expect((await visit((session) => session.get("n"))).result).toBeUndefined();
  });

  test("rejects the old copy when the session is regenerated, and keeps the data", async () => {
    const { options } = revocable();
    const visit = visitor(options);
    const before = cookieOf(await visit((session) => session.set("n", 1)));
    await visit((session) => session.regenerate());
    expect((await visit((session) => session.get("n"))).result).toBe(1);
    expect(await ended(options, before)).toBe("retired");
  });

  test.each([0, 60])(
    "keeps the note of an end for as long as the copy that lives longest, although another copy was renewed with a grace of %i s and logged out",
    async (grace) => {
      const clock = fakeClock();
      const { options, records } = revocable({ now: clock.now });
      const copy = await begin(options);
      const DAY = 86_400;
      const long = cookieOf(
        await withCopy(options, copy)((session) => session.setTimeouts({ idle: 90 * DAY, absolute: 90 * DAY })),
      );
      await withCopy(options, copy)((session) => session.regenerate({ grace }));
      await logOut(options, copy);
      clock.advance(80 * DAY);
      // The engine removes expired records.
      for (const [key, { expiresAt }] of records) if (expiresAt < clock.now()) records.delete(key);
      expect(await readN(options, long)).toBeUndefined();
    },
  );

  test("keeps a request with the old copy from beginning a session in place of the new one", async () => {
    const { options } = revocable();
    const visit = visitor(options);
    const before = cookieOf(await visit((session) => session.set("n", 1)));
    await visit((session) => session.regenerate());
    const beacon = await withCopy(options, before)((session) => session.set("seen", true));
    expect(beacon.cookies.filter((line) => !line.includes("Max-Age=0"))).toEqual([]);
  });

  test("has one successor when two requests regenerate one session", async () => {
    const events: SessionEvent[] = [];
    const { options } = revocable({ onEvent: (event) => events.push(event) });
    const copy = await begin(options);
    const both = await Promise.all([1, 2].map(() => withCopy(options, copy)((session) => session.regenerate())));
    expect(both.map(({ cookies }) => cookies.length).toSorted()).toEqual([0, 1]);
    const types = events.map(({ type }) => type).filter((type) => type === "gone" || type === "regenerated");
    expect(types.toSorted()).toEqual(["gone", "regenerated"]);
  });

  test.each([false, true])(
    "opens the new id that the handler has got although another request was first to renew the old one by age, after a save without an answer: %s",
    async (hasSaved) => {
      const clock = fakeClock();
      const store = faultyStore(openStore().store);
      const options = sealed({ now: clock.now, rotateEvery: 60 }, { revocation: store });
      const copy = await begin(options);
      clock.advance(60);
      const renewed = await withCopy(
        options,
        copy,
      )(async (session) => {
        await session.regenerate();
        await csrfToken(session);
        if (hasSaved) store.plan({ save: ["rejects"] });
        if (hasSaved) expect(await codeOf(() => session.save())).toBe("ERR_STORE");
        await readN(options, copy);
      });
      expect(await readN(options, cookieOf(renewed))).toBe(1);
    },
  );

  test("ends the successor as well when a logout overlaps a rotation", async () => {
    const { options } = revocable();
    const copy = await begin(options);
    const jar = cookieJar();
    const visit = visitor(options, jar);
    await visit((session) => session.regenerate(), { headers: { Cookie: copy } });
    expect((await visit((session) => session.get("n"))).result).toBe(1);
    await logOut(options, copy);
    expect((await visit((session) => session.get("n"))).result).toBeUndefined();
  });

  test("does not end the successor when a copy of before the rotation comes long afterwards", async () => {
    const clock = fakeClock();
    const { options } = revocable({ now: clock.now });
    const copy = await begin(options);
    const successor = cookieOf(await withCopy(options, copy)((session) => session.regenerate()));
    clock.advance(1200);
    await logOut(options, copy);
    expect(await readN(options, successor)).toBe(1);
    await logOut(options, successor);
    expect(await readN(options, successor)).toBeUndefined();
  });

  test("lets the old copy be read, not written, while a grace lasts", async () => {
    const clock = fakeClock();
    const { options } = revocable({ now: clock.now, storeTimeout: PATIENCE });
    const copy = await begin(options);
    await withCopy(options, copy)((session) => session.regenerate({ grace: 10 }));
    expect(await readN(options, copy)).toBe(1);
    const started = performance.now();
    expect((await withCopy(options, copy)((session) => session.set("n", 2))).cookies).toEqual([]);
    expect((await withCopy(options, copy)((session) => session.touch())).cookies).toEqual([]);
    expect((await withCopy(options, copy)((session) => session.regenerate())).cookies).toEqual([]);
    // None of the requests has retried until its time limit.
    expect(performance.now() - started).toBeLessThan(PATIENCE * 1000);
    clock.advance(10);
    expect(await readN(options, copy)).toBeUndefined();
  });

  test.each(["old", "new"])(
    "opens neither copy after a logout with the %s one, although a grace lasts",
    async (which) => {
      const clock = fakeClock();
      const { options } = revocable({ now: clock.now });
      const old = await begin(options);
      const renewed = cookieOf(await withCopy(options, old)((session) => session.regenerate({ grace: 3600 })));
      expect([await readN(options, old), await readN(options, renewed)]).toEqual([1, 1]);
      clock.advance(which === "old" ? 3000 : 5);
      await logOut(options, which === "old" ? old : renewed);
      expect([await readN(options, old), await readN(options, renewed)]).toEqual([undefined, undefined]);
      expect(await ended(options, old)).toBe("revoked");
    },
  );

  test("opens no copy of a chain of graces whose last session was ended or renewed without a grace", async () => {
    for (const last of ["destroy", "regenerate"] as const) {
      const { options } = revocable();
      const copies = [await begin(options)];
      for (let times = 0; times < 3; times++) {
        copies.push(cookieOf(await withCopy(options, copies.at(-1)!)((session) => session.regenerate({ grace: 60 }))));
      }
      for (const copy of copies) expect(await readN(options, copy)).toBe(1);
      await withCopy(options, copies.at(-1)!)((session) => session[last]());
      for (const copy of copies) expect(await readN(options, copy)).toBeUndefined();
    }
  });

  test("ends every copy when somebody logs out with one whose time is over", async () => {
    const clock = fakeClock();
    const { options } = revocable({ now: clock.now });
    const first = await begin(options);
    clock.advance(80_000);
    const second = cookieOf(await withCopy(options, first)((session) => session.set("n", 2)));
    clock.advance(10_000);
    expect([await readN(options, first), await readN(options, second)]).toEqual([undefined, 2]);
    await logOut(options, first);
    expect(await readN(options, second)).toBeUndefined();
  });

  test("puts a session back that save() has regenerated, when the handler fails afterwards", async () => {
    const { options, records } = revocable();
    const copy = await begin(options);
    let renewed: string | null = null;
    const fail = () =>
      withCopy(
        options,
        copy,
      )(async (session) => {
        session.set("n", 2);
        await session.regenerate();
        await session.save();
        renewed = await session.id();
        throw new Error("no");
      });
    await expect(fail()).rejects.toThrow("no");
    expect(records.size).toBe(2);
    expect(await readN(options, copy)).toBe(1);
    expect(await readN(options, `__Host-session=${renewed}`)).toBeUndefined();
    // The session can be changed, rotated and ended as before.
    const changed = cookieOf(await withCopy(options, copy)((session) => session.set("n", 3)));
    expect(await readN(options, changed)).toBe(3);
    const again = cookieOf(await withCopy(options, changed)((session) => session.regenerate()));
    expect([await readN(options, changed), await readN(options, again)]).toEqual([undefined, 3]);
    await logOut(options, again);
    expect(await readN(options, again)).toBeUndefined();
  });

  test("puts back nothing that another request has ended meanwhile", async () => {
    const { options } = revocable();
    const copy = await begin(options);
    const fail = () =>
      withCopy(
        options,
        copy,
      )(async (session) => {
        await session.regenerate();
        await session.save();
        await logOut(options, copy);
        throw new Error("no");
      });
    await expect(fail()).rejects.toThrow("no");
    expect(await readN(options, copy)).toBeUndefined();
  });

  test.each([
    ["ends the session", "ERR_SESSION_GONE"],
    ["sets timeouts as well", null],
  ] as const)("lets a request set timeouts of its own while another one %s", async (action, code) => {
    const { store, records } = openStore();
    let meanwhile: (() => Promise<unknown>) | undefined;
    const interrupted: SessionStore = {
      ...store,
      async save(key, write) {
        const act = meanwhile;
        meanwhile = undefined;
        await act?.();
        return await store.save(key, write);
      },
    };
    const options = sealed({}, { revocation: interrupted });
    const copy = await begin(options);
    const stay = (days: number): Promise<unknown> =>
      withCopy(
        options,
        copy,
      )(async (session) => {
        session.setTimeouts({ idle: days * 86_400, absolute: days * 86_400 });
        await session.save();
      });
    meanwhile = () => (action === "ends the session" ? logOut(options, copy) : stay(400));
    if (code !== null) expect(await codeOf(() => stay(200))).toBe(code);
    else await stay(200);
    // The note is kept for the longer of the two timeouts, in whatever order the requests were stored.
    const [note] = records.values();
    if (code === null) expect(note?.expiresAt).toBeGreaterThan(Date.now() + 399 * 86_400_000);
    expect(await readN(options, copy)).toBe(code === null ? 1 : undefined);
  });

  test("shows a capability that looks again that the session was ended meanwhile", async () => {
    const { options } = revocable();
    const copy = await begin(options);
    await withCopy(
      options,
      copy,
    )(async (session) => {
      await session.get("n");
      await internalsOf(session).refresh();
      expect(await session.get("n")).toBe(1);
      await logOut(options, copy);
      expect(await codeOf(() => internalsOf(session).refresh())).toBe("ERR_SESSION_GONE");
    });
  });

  test("sweeps its store when the sessions are pruned", async () => {
    let swept = 0;
    const revocation = { ...memoryStore(), prune: async () => ++swept };
    expect(await new SessionManager(sealed({}, { revocation })).prune()).toBe(1);
    expect(await new SessionManager(sealed()).prune()).toBe(0);
  });

  test("finds its store by a function of what the handler gets, once for each environment", async () => {
    const seen: unknown[] = [];
    const { store } = openStore();
    const revocation = (env: object): SessionStore => {
      seen.push(env);
      return store;
    };
    const handle = withSession<Data, [object]>(
      async (_request, session) => new Response(String(await session.update("n", (n = 0) => n + 1))),
      { store: cookieSessions({ secrets, revocation }) },
    );
    const env = {};
    const jar = cookieJar();
    for (const n of ["1", "2", "3"])
      expect(await (await jar.fetch((request) => handle(request, env), SHOP)).text()).toBe(n);
    expect(seen).toEqual([env]);
  });
});

describe("cookieSessions({ revocation }) when its store fails", () => {
  test("rejects with ERR_STORE, and lets nobody in", async () => {
    const revocation = faultyStore(memoryStore());
    const options = sealed({}, { revocation });
    const copy = await begin(options);
    revocation.plan({ load: "rejects" });
    expect(await codeOf(() => readN(options, copy))).toBe("ERR_STORE");
    expect(await readN({ ...options, onStoreError: "anonymous" }, copy)).toBeUndefined();
  });

  test("takes no answer without meaning for a success", async () => {
    const revocation = faultyStore(memoryStore());
    const options = sealed({}, { revocation });
    const copy = await begin(options);
    revocation.plan({ load: ["wrong type"] });
    expect(await codeOf(() => readN(options, copy))).toBe("ERR_STORE");
    for (const use of ["destroy", "regenerate"] as const) {
      revocation.plan({ save: "wrong type" });
      expect(await codeOf(() => withCopy(options, copy)((session) => session[use]()))).toBe("ERR_STORE");
      revocation.plan({});
      expect(await readN(options, copy)).toBe(1);
    }
    for (const answer of [undefined, null, true, {}, "ok", "OK", ""]) {
      const store = { ...memoryStore(), save: () => answer as never };
      const others = sealed({}, { revocation: store });
      expect(await codeOf(() => logOut(others, copy))).toBe("ERR_STORE");
    }
  });

  test("takes a note that it cannot read for an end", async () => {
    const { store, records } = openStore();
    const options = sealed({}, { revocation: store });
    const copy = await begin(options);
    await logOut(options, copy);
    const [[key, record] = ["", undefined]] = records;
    for (const fields of [new Map(), new Map([["@", "x"]]), new Map([["@", "{}"]]), new Map([["=a", "1"]])]) {
      if (record !== undefined) records.set(key, { ...record, fields });
      expect(await ended(options, copy)).toBe("revoked");
    }
  });

  test.each(["does it but rejects", "does it twice"] as const)(
    "logs out and regenerates once when it %s",
    async (fault) => {
      const revocation = faultyStore(memoryStore());
      const options = sealed({}, { revocation });
      const copy = await begin(options);
      revocation.plan({ save: [fault] });
      const renewed = cookieOf(await withCopy(options, copy)((session) => session.regenerate()));
      expect([await readN(options, copy), await readN(options, renewed)]).toEqual([undefined, 1]);
      revocation.plan({ save: [fault] });
      await logOut(options, renewed).catch(() => {});
      expect(await readN(options, renewed)).toBeUndefined();
    },
  );

  test("leaves the old session alive when a regeneration fails", async () => {
    const revocation = faultyStore(memoryStore());
    const options = sealed({}, { revocation });
    const copy = await begin(options);
    revocation.plan({ save: "rejects" });
    expect(await codeOf(() => withCopy(options, copy)((session) => session.regenerate()))).toBe("ERR_STORE");
    revocation.plan({});
    expect(await readN(options, copy)).toBe(1);
  });

  test("says that a regeneration failed when it cannot find out what became of it", async () => {
    const revocation = faultyStore(memoryStore());
    const options = sealed({}, { revocation });
    const copy = await begin(options);
    const regenerate = () =>
      withCopy(
        options,
        copy,
      )(async (session) => {
        await session.get("n");
        revocation.plan({ save: "rejects", load: "rejects" });
        await session.regenerate();
      });
    expect(await codeOf(regenerate)).toBe("ERR_STORE");
    revocation.plan({});
    expect(await readN(options, copy)).toBe(1);
  });

  test("begins a session with the next save() when the first could not note how long it may live", async () => {
    const revocation = faultyStore(memoryStore());
    const { result, cookies } = await visitor(sealed({}, { revocation }))(async (session) => {
      session.set("n", 1);
      session.setTimeouts({ idle: 400 * 86_400, absolute: false });
      revocation.plan({ save: ["rejects"] });
      const code = await codeOf(() => session.save());
      await session.save();
      return code;
    });
    expect(result).toBe("ERR_STORE");
    expect(await readN(sealed({}, { revocation }), cookies[0]?.split(";")[0] ?? "")).toBe(1);
  });

  test("goes on with what is stored once when a write waits for an answer that fails", async () => {
    const revocation = faultyStore(memoryStore());
    const options = sealed({}, { revocation });
    const copy = await begin(options);
    const { result, cookies } = await withCopy(
      options,
      copy,
    )(async (session) => {
      await session.get("n");
      revocation.plan({ load: ["rejects"] });
      session.set("n", 2);
      const code = await codeOf(() => session.save());
      await session.save();
      return code;
    });
    expect(result).toBe("ERR_STORE");
    expect(await readN(options, cookies[0]?.split(";")[0] ?? "")).toBe(2);
  });
});
