import { describe, expect, onTestFinished, test, vi } from "vitest";
import { z } from "zod";
import {
  assertRecordSize,
  serializeRecord,
  type Session,
  SessionError,
  SessionManager,
  type SessionOptions,
} from "../../../mod.ts";
import { cookieSessions } from "../../../src/cookie_sessions.ts";
import { csrfToken, verifyCsrfToken } from "../../../src/csrf.ts";
import { exclusive } from "../../../src/exclusive.ts";
import { cookieJar, fakeClock, faultyStore } from "../../../src/testing.ts";
import {
  altered,
  codeOf,
  cookieOf,
  counted,
  FAKED,
  idIn,
  living,
  openStore,
  soon,
  visitor,
} from "../../setup/sessions.ts";

/** A session `{ a: 1 }` whose id is due, and clients that hold it. `old` is that id. */
async function due(options: SessionOptions = {}) {
  const clock = fakeClock();
  const { store: inner, records } = openStore();
  const store = faultyStore(inner);
  const { store: watched, calls } = counted(store);
  const all: SessionOptions = { store: watched, now: clock.now, rotateEvery: 600, ...options };
  const sessions = new SessionManager(all);
  const begun = await visitor(sessions)((session) => session.set("a", 1));
  const headers = { Cookie: cookieOf(begun) };
  clock.advance(600);
  calls.length = 0;
  const visit = visitor(sessions);
  const read = (Cookie: string) =>
    visitor(sessions)(async (session) => ({ ...(await session.all()) }), { headers: { Cookie } });
  return { clock, store, records, calls, sessions, headers, old: idIn(begun.cookies), visit, read };
}

const sealed = () =>
  cookieSessions({ secrets: ["a secret of at least thirty-two bytes"], revocation: openStore().store });

describe("an id that is due by age", () => {
  test("is renewed when the program asks for it, with the writes of any other request that renews it", async () => {
    const { calls, visit, headers, old } = await due();
    const { result, cookies } = await visit((session) => Promise.all([session.id(), session.id()]), { headers });
    expect([result[0], result[1], idIn(cookies)]).toEqual([idIn(cookies), idIn(cookies), idIn(cookies)]);
    expect(idIn(cookies)).not.toBe(old);
    expect(calls).toEqual(["load", "create", "change"]);
  });

  test("is renewed beside an update() that the schema refuses", async () => {
    const { visit, headers, old, read } = await due({ schema: z.object({ a: z.number() }) });
    const { result, cookies } = await visit((session) => codeOf(() => session.update("a", () => "two")), { headers });
    expect(result).toBe("ERR_SCHEMA");
    expect(idIn(cookies)).toMatch(/^[\w-]{32}$/);
    expect(idIn(cookies)).not.toBe(old);
    expect((await read(cookieOf({ cookies }))).result).toEqual({ a: 1 });
  });

  test("is the same for requests that overlap, and neither loses its changes", async () => {
    const { visit, headers, read, records } = await due();
    const met = Promise.withResolvers<void>();
    let waiting = 2;
    const request = (key: string) =>
      visit(
        async (session) => {
          await session.get("a");
          if (--waiting === 0) met.resolve();
          await met.promise;
          const id = await session.id();
          session.set(key, 2);
          return id;
        },
        { headers },
      );
    const [one, two] = await Promise.all([request("b"), request("c")]);
    expect(new Set([one.result, two.result, idIn(one.cookies), idIn(two.cookies)]).size).toBe(1);
    expect((await read(cookieOf(one))).result).toEqual({ a: 1, b: 2, c: 2 });
    expect(living(records)).toHaveLength(1);
  });

  test("gives a CSRF token that the client's next request can use, also if another request was first", async () => {
    const { visit, headers, sessions, calls } = await due();
    const { result: token, cookies } = await visit(
      async (session) => {
        await session.get("a");
        await visit((other) => other.get("a"), { headers });
        return await csrfToken(session);
      },
      { headers },
    );
    expect(calls).not.toContain("touch");
    const next = { headers: { Cookie: cookieOf({ cookies }) } };
    expect((await visitor(sessions)((session) => verifyCsrfToken(session, token), next)).result).toBe(true);
  });

  test("is renewed without what was recorded, which a handler that throws does not store", async () => {
    const { visit, headers, read } = await due();
    const failed = visit(
      async (session) => {
        session.set("a", 2);
        await session.id();
        throw new Error("failed");
      },
      { headers },
    );
    await expect(failed).rejects.toThrow("failed");
    expect((await read(headers.Cookie)).result).toEqual({ a: 1 });
  });

  test("stays in a request in which the store fails then, and the next request renews it", async () => {
    const { store, visit, headers, old, read, records } = await due();
    store.plan({ save: ["rejects"] });
    const { result, cookies } = await visit(
      (session) => (session.set("b", 2), Promise.all([csrfToken(session), session.id(), session.id()])),
      { headers },
    );
    const [token, ...ids] = result;
    expect([ids, cookies]).toEqual([[old, old], []]);
    expect((await visit((session) => verifyCsrfToken(session, token), { headers })).result).toBe(true);
    const next = await read(headers.Cookie);
    expect(next.result).toEqual({ a: 1, b: 2 });
    expect(idIn(next.cookies)).not.toBe(old);
    expect(living(records)).toHaveLength(1);
  });

  test("is the one of a failed attempt, whose remains are removed before and not after", async () => {
    const { store, visit, headers, read, records } = await due();
    const { result, cookies } = await visit(
      async (session) => {
        session.set("b", (await session.get("a")) ?? 0);
        // The new session is not stored, and the library cannot find that out.
        store.plan({ save: ["rejects"], load: ["rejects", "rejects"] });
        const saved = await codeOf(() => session.save());
        return [saved, await session.id()];
      },
      { headers },
    );
    expect(result).toEqual(["ERR_STORE", idIn(cookies)]);
    expect((await read(cookieOf({ cookies }))).result).toEqual({ a: 1, b: 1 });
    expect(living(records)).toHaveLength(1);
  });

  test("that stays after a failure is one under which another request's renewal is found", async () => {
    const { store, visit, headers, old, read } = await due();
    const { result, cookies } = await visit(
      async (session) => {
        await session.get("a");
        store.plan({ save: ["rejects"] });
        const id = await session.id();
        await visit((other) => other.set("b", 2), { headers });
        session.set("c", 3);
        await session.save();
        return id;
      },
      { headers },
    );
    expect(result).toBe(old);
    for (const Cookie of [headers.Cookie, cookieOf({ cookies })])
      expect((await read(Cookie)).result).toEqual({ a: 1, b: 2, c: 3 });
  });

  test.each([{}, { grace: 30 }, { grace: 30, reauthenticated: true }])(
    "is no obstacle to regenerate(%j) beside another request that renews it",
    async (options) => {
      const { sessions, visit, headers, old, read, records } = await due();
      let polled = "";
      const { cookies } = await visit(
        async (session) => {
          await session.get("a");
          polled = cookieOf(await visitor(sessions)((other) => other.set("b", 2), { headers }));
          await session.regenerate(options);
          session.set("user", "ada");
        },
        { headers },
      );
      const whole = { a: 1, b: 2, user: "ada" };
      expect((await read(cookieOf({ cookies }))).result).toEqual(whole);
      // With a grace, the request keeps the id that the other one has given, unless the user has proved who they are.
      const keeps = options.grace !== undefined && options.reauthenticated === undefined;
      expect(new Set([old, idIn([polled]), idIn(cookies)]).size).toBe(keeps ? 2 : 3);
      for (const Cookie of [headers.Cookie, polled])
        expect((await read(Cookie)).result).toEqual(options.grace === undefined ? {} : whole);
      expect(living(records)).toHaveLength(1);
    },
  );

  test("takes along the changes of the other request, also if the first session under the new id that the program knows ends late", async () => {
    const { store, sessions, visit, headers, read, records } = await due();
    const { result, cookies } = await visit(
      async (session) => {
        await session.get("a");
        await visitor(sessions)((other) => other.set("b", 2), { headers });
        await session.regenerate();
        session.set("user", "ada");
        store.plan({ delete: ["rejects", "rejects"] });
        return await session.id();
      },
      { headers },
    );
    expect(result).toBe(idIn(cookies));
    expect((await read(cookieOf({ cookies }))).result).toEqual({ a: 1, b: 2, user: "ada" });
    expect(living(records)).toHaveLength(1);
  });

  test("leaves the session to the client if a request fails that had to regenerate() it a second time", async () => {
    const { sessions, visit, headers, read, records } = await due();
    const failing = visit(
      async (session) => {
        await session.get("a");
        await visitor(sessions)((other) => other.set("b", 2), { headers });
        await session.regenerate();
        session.set("user", "ada");
        await session.save();
        throw new Error("after the save");
      },
      { headers },
    );
    await expect(failing).rejects.toThrow("after the save");
    expect((await read(headers.Cookie)).result).toEqual({ a: 1, b: 2 });
    expect(living(records)).toHaveLength(1);
  });

  test("leaves it to the client also if the store gives no answer when the id is renewed the second time", async () => {
    const { store, sessions, visit, headers, read, records } = await due();
    const failing = visit(
      async (session) => {
        await session.get("a");
        await visitor(sessions)((other) => other.set("b", 2), { headers });
        await session.regenerate({ reauthenticated: true });
        // The first successor is created, its retirement conflicts, and the second successor is created.
        store.plan({ save: ["none", "none", "none", "rejects"] });
      },
      { headers },
    );
    await expect(failing).rejects.toThrow("the store failed");
    expect((await read(headers.Cookie)).result).toEqual({ a: 1, b: 2 });
    expect(living(records)).toHaveLength(1);
  });

  test.each([
    ["if the program knows the new id", true, false],
    ["if the client has used the renewed one", false, true],
  ])("is renewed once more by regenerate(), also %s", async (_when, isKnown, isUsed) => {
    const { sessions, visit, headers, read, records } = await due();
    let renewed = "";
    const { result, cookies } = await visit(
      async (session) => {
        await session.get("a");
        renewed = cookieOf(await visitor(sessions)((other) => other.set("b", 2), { headers }));
        if (isUsed) await read(renewed);
        await session.regenerate();
        const known = isKnown ? await session.id() : undefined;
        session.set("user", "ada");
        return known;
      },
      { headers },
    );
    if (isKnown) expect(result).toBe(idIn(cookies));
    expect((await read(cookieOf({ cookies }))).result).toEqual({ a: 1, b: 2, user: "ada" });
    for (const Cookie of [headers.Cookie, renewed]) expect((await read(Cookie)).result).toEqual({});
    expect(living(records)).toHaveLength(1);
  });

  test("that could not be renewed is reported", async () => {
    const events: string[] = [];
    const { store, visit, headers } = await due({ onEvent: ({ type }) => events.push(type) });
    store.plan({ save: ["rejects"] });
    events.length = 0;
    await visit((session) => session.id(), { headers });
    expect(events).toEqual(["loaded", "failed"]);
  });

  test("that is refused does not keep the changes of the request from being stored", async () => {
    let refuses = false;
    const store = altered(openStore().store, {
      create: (create, ...args) => {
        if (refuses) throw new SessionError("ERR_RECORD_TOO_LARGE", "Cannot store the session: it is too large");
        return create(...args);
      },
    });
    const { visit, headers, old, read } = await due({ store });
    refuses = true;
    const { result } = await visit((session) => (session.set("b", 2), session.id()), { headers });
    refuses = false;
    expect([result, (await read(headers.Cookie)).result]).toEqual([old, { a: 1, b: 2 }]);
  });

  test("is null beside destroy() in a request that has just renewed it", async () => {
    const { visit, headers } = await due();
    const { result } = await visit(
      async (session) => {
        await session.get("a");
        const saving = session.save();
        const [, id] = await Promise.all([session.destroy(), session.id(), saving]);
        return id;
      },
      { headers },
    );
    expect(result).toBeNull();
  });

  test.each(["rejects", "does it but rejects"] as const)(
    "is told also if the store gives no answer when the old one is to be retired: it %s",
    async (fault) => {
      const { store, visit, headers, read, records } = await due();
      // The second one finds out what became of the first.
      store.plan({ save: ["none", fault, "rejects"] });
      const { result, cookies } = await visit((session) => (session.set("b", 2), session.id()), { headers });
      expect(idIn(cookies)).toBe(result);
      expect((await read(cookieOf({ cookies }))).result).toEqual({ a: 1, b: 2 });
      expect(living(records)).toHaveLength(1);
      // It is renewed once: the other record is the retired one.
      expect(records.size).toBe(2);
    },
  );

  test("is told also if the store gives no answer, beside a call that loads the session again", async () => {
    for (let turns = 0; turns < 20; turns++) {
      const { store, visit, headers, sessions } = await due();
      const { result: token, cookies } = await visit(
        async (session) => {
          await session.get("a");
          store.plan({ save: ["none", "rejects"] });
          const making = csrfToken(session);
          for (let turn = 0; turn < turns; turn++) await undefined;
          await exclusive(session, "b", () => 2);
          return await making;
        },
        { headers },
      );
      const next = { headers: { Cookie: cookieOf({ cookies }) } };
      expect((await visitor(sessions)((session) => verifyCsrfToken(session, token), next)).result).toBe(true);
    }
  });

  test("is given up where another request has ended the session", async () => {
    const { visit, headers } = await due();
    const code = await visit(
      async (session) => {
        await session.get("a");
        await visit((other) => other.destroy(), { headers });
        await session.id();
        session.set("b", 2);
        return await codeOf(() => session.save());
      },
      { headers },
    );
    expect([code.result, code.cookies]).toEqual(["ERR_SESSION_GONE", []]);
  });

  test("gives way to regenerate(), before and after it was asked for", async () => {
    for (const asksFirst of [true, false]) {
      const { visit, headers, read, old } = await due();
      const { result, cookies } = await visit(
        async (session) => {
          const first = asksFirst ? await session.id() : old;
          await session.regenerate();
          return [first, await session.id()];
        },
        { headers },
      );
      expect(result[1]).toBe(idIn(cookies));
      expect(result[0] === old).toBe(!asksFirst);
      expect((await read(cookieOf({ cookies }))).result).toEqual({ a: 1 });
      expect((await read(headers.Cookie)).result).toEqual({});
    }
  });

  test.each([0, 1, 2, 3])("gives way to regenerate() that was called %d turns later", async (turns) => {
    const { visit, headers, read } = await due();
    const { cookies } = await visit(
      async (session) => {
        await session.get("a");
        const making = csrfToken(session);
        for (let turn = 0; turn < turns; turn++) await undefined;
        await Promise.all([making, session.regenerate()]);
      },
      { headers },
    );
    expect((await read(cookieOf({ cookies }))).result).toEqual({ a: 1 });
    expect((await read(headers.Cookie)).result).toEqual({});
  });

  test("leaves the token valid that a form has of the old one", async () => {
    const { headers, clock, sessions } = await due();
    const visit = visitor(sessions, { jar: cookieJar({ now: clock.now }) });
    const { result: token } = await visit((session) => csrfToken(session), { headers });
    await visit((session) => session.get("a"));
    clock.advance(600);
    const { result } = await visit(async (session) => {
      const before = await verifyCsrfToken(session, token);
      await session.id();
      return [before, await verifyCsrfToken(session, token)];
    });
    expect(result).toEqual([true, true]);
  });

  test("is the same for forms of requests that overlap where the cookie holds the session", async () => {
    const { visit, headers, read, sessions } = await due({ store: sealed() });
    const { result, cookies } = await visit(
      async (session) => {
        await session.get("a");
        const first = await visit((other) => csrfToken(other), { headers });
        session.set("b", 2);
        return [first.result, await csrfToken(session)];
      },
      { headers },
    );
    const next = { headers: { Cookie: cookieOf({ cookies }) } };
    for (const token of result)
      expect((await visitor(sessions)((session) => verifyCsrfToken(session, token), next)).result).toBe(true);
    expect((await read(cookieOf({ cookies }))).result).toEqual({ a: 1, b: 2 });
  });

  test("is waited for at any moment where the cookie holds the session and another call renews it", async () => {
    for (let turns = 0; turns < 20; turns++) {
      const { visit, headers } = await due({ store: sealed() });
      const { result, cookies } = await visit(
        async (session) => {
          await session.get("a");
          const saving = session.save();
          for (let turn = 0; turn < turns; turn++) await undefined;
          const token = await session.id();
          await saving;
          return token;
        },
        { headers },
      );
      expect(cookieOf({ cookies })).toBe(`__Host-session=${result}`);
    }
  });

  test("stays after the response, without another attempt", async () => {
    const events: string[] = [];
    const { store, visit, headers, old } = await due({
      onStoreError: "anonymous",
      onEvent: ({ type }) => events.push(type),
    });
    let kept: Session | undefined;
    await visit(
      async (session) => {
        await session.get("a");
        store.plan({ save: ["rejects"] });
        kept = session;
      },
      { headers },
    );
    events.length = 0;
    expect([await kept?.id(), events]).toEqual([old, []]);
  });

  test("stays after the response, and later changes are stored under it", async () => {
    const { store, visit, headers, read } = await due({ onStoreError: "anonymous" });
    let kept: Session | undefined;
    await visit(
      async (session) => {
        await session.get("a");
        store.plan({ save: ["rejects"] });
        kept = session;
      },
      { headers },
    );
    kept?.set("b", 2);
    await kept?.save();
    expect((await read(headers.Cookie)).result).toEqual({ a: 1, b: 2 });
  });

  test.each([0, 60, undefined])(
    "that could not be renewed takes no change along: save() stores it after the response, or tells that it cannot (grace: %s)",
    async (grace) => {
      const { store, visit, headers, read } = await due({ onStoreError: "anonymous" });
      let kept: Session | undefined;
      await visit(
        async (session) => {
          session.set("b", 2);
          if (grace !== undefined) await session.regenerate({ grace });
          else await session.get("a");
          // The successor is created, with the change. The old id is not retired, and the library cannot find that out.
          store.plan({ save: ["none", "rejects", "rejects"] });
          kept = session;
        },
        { headers },
      );
      const isByAge = grace === undefined;
      if (isByAge) await kept?.save();
      else expect(await codeOf(() => kept?.save())).toBe("ERR_RESPONSE_SENT");
      expect((await read(headers.Cookie)).result).toEqual(isByAge ? { a: 1, b: 2 } : { a: 1 });
    },
  );

  test("that could not be renewed leaves nothing to store to save() after the request has failed", async () => {
    const { store, visit, headers, read } = await due();
    let kept: Session | undefined;
    const failing = visit(
      async (session) => {
        session.set("b", 2);
        await session.get("a");
        store.plan({ save: ["none", "rejects", "rejects"] });
        kept = session;
      },
      { headers },
    );
    await expect(failing).rejects.toThrow("the store failed");
    await kept?.save();
    expect((await read(headers.Cookie)).result).toEqual({ a: 1 });
  });

  test("is stored with all changes where the cookie holds the session", async () => {
    const store = sealed();
    const { visit, headers, read } = await due({ store });
    const { result, cookies } = await visit((session) => (session.set("b", 2), session.id()), { headers });
    expect(cookieOf({ cookies })).toBe(`__Host-session=${result}`);
    expect((await read(cookieOf({ cookies }))).result).toEqual({ a: 1, b: 2 });
  });

  test("is renewed beside a change that save() has refused, which the end of the request does not try again", async () => {
    const { visit, headers, read } = await due({ schema: z.object({ a: z.number(), b: z.string().optional() }) });
    const { result, cookies } = await visit(
      async (session) => {
        session.set("b", 2);
        return [await codeOf(() => session.save()), await session.id()];
      },
      { headers },
    );
    expect(result).toEqual(["ERR_SCHEMA", idIn(cookies)]);
    expect((await read(cookieOf({ cookies }))).result).toEqual({ a: 1 });
  });

  test("is told as the new one at any moment before another call stores what regenerate() asked for", async () => {
    for (let turns = 0; turns < 10; turns++) {
      const { visit, headers } = await due();
      const { result, cookies } = await visit(
        async (session) => {
          await session.regenerate();
          const asking = session.id();
          for (let turn = 0; turn < turns; turn++) await undefined;
          await session.save();
          return await asking;
        },
        { headers },
      );
      expect(result).toBe(idIn(cookies));
    }
  });

  test("gives way to regenerate() at any moment while it is renewed", async () => {
    for (let turns = 0; turns < 40; turns++) {
      const { visit, headers, read } = await due();
      const { result, cookies } = await visit(
        async (session) => {
          await session.get("a");
          const asking = session.id();
          for (let turn = 0; turn < turns; turn++) await undefined;
          await session.regenerate();
          const token = await csrfToken(session);
          await asking;
          return { id: await session.id(), token };
        },
        { headers },
      );
      const next = { headers: { Cookie: cookieOf({ cookies }) } };
      expect(result.id).toBe(idIn(cookies));
      expect((await visit((session) => verifyCsrfToken(session, result.token), next)).result).toBe(true);
      expect((await read(headers.Cookie)).result).toEqual({});
    }
  });

  test.each([
    ["update()", async () => {}, (session: Session) => session.update("n", () => 1)],
    ["save()", async () => {}, (session: Session) => session.save()],
    [
      "save() beside the function of an update()",
      async (session: Session) => void session.update("n", () => soon(1)),
      (session: Session) => session.save(),
    ],
    [
      "save() after an update() and regenerate()",
      async (session: Session) => {
        await session.id();
        await session.update("n", () => 1);
        await session.regenerate();
      },
      (session: Session) => session.save(),
    ],
    [
      "save() after an update() with an async function and regenerate()",
      async (session: Session) => {
        await session.id();
        await session.update("n", () => soon(1));
        await session.regenerate();
      },
      (session: Session) => session.save(),
    ],
    ["save() after regenerate()", (session: Session) => session.regenerate(), (session: Session) => session.save()],
  ])("is the new one at any moment while another call of the request renews it: %s", async (_call, prepare, renew) => {
    for (let turns = 0; turns < 20; turns++) {
      const { visit, headers } = await due();
      const { result: token, cookies } = await visit(
        async (session) => {
          await session.get("a");
          await prepare(session);
          const renewing = renew(session);
          for (let turn = 0; turn < turns; turn++) await undefined;
          const token = await csrfToken(session);
          await renewing;
          return token;
        },
        { headers },
      );
      const next = { headers: { Cookie: cookieOf({ cookies }) } };
      expect((await visit((session) => verifyCsrfToken(session, token), next)).result).toBe(true);
    }
  });

  test("is told in a function of update() while it is renewed, whose run the renewal may wait for", async () => {
    const { visit, headers } = await due();
    const { result } = await visit(
      async (session) => {
        let runs = 0;
        const update = session.update("n", async () => {
          if (++runs === 1) await visit((other) => other.set("b", 2), { headers });
          return await session.id();
        });
        return { value: await update, id: await session.id(), runs };
      },
      { headers },
    );
    expect(result.value).toBe(result.id);
  });

  test("is told once the function of an update() has run again on what another request has stored meanwhile", async () => {
    const { store: inner } = openStore();
    let meet: (() => Promise<unknown>) | undefined;
    const store = altered(inner, {
      change: async (save, ...args) => {
        const once = meet;
        meet = undefined;
        await once?.();
        return await save(...args);
      },
    });
    const { clock, visit, headers, old, read } = await due({ store });
    const elsewhere = new SessionManager({ store: inner, now: clock.now }).open(old ?? "");
    const { result, cookies } = await visit(
      async (session) => {
        await session.get("a");
        let updating: Promise<unknown> | undefined;
        meet = async () => {
          // The first answer is no promise, so the update is recorded before the other request begins.
          updating = session.update("n", (n) => (n === undefined ? 1 : soon(Number(n) + 1)));
          await elsewhere.update("n", () => 10);
        };
        const id = await session.id();
        return { id, value: await updating };
      },
      { headers },
    );
    expect(result).toEqual({ id: idIn(cookies), value: 11 });
    expect(result.id).not.toBe(old);
    expect((await read(cookieOf({ cookies }))).result).toEqual({ a: 1, n: 11 });
  });

  test("is told to no function of update() that a rotation waits for: it fails, instead of waiting for ever", async () => {
    vi.useFakeTimers(FAKED);
    onTestFinished(() => void vi.useRealTimers());
    const { sessions, visit, headers, old } = await due();
    await visit(
      async (session) => {
        await session.regenerate();
        let runs = 0;
        const update = session.update("n", async () => {
          if (++runs === 1) await sessions.open(old ?? "").update("n", () => "2");
          return await session.id();
        });
        await Promise.all([expect(update).rejects.toThrow("does not return"), vi.advanceTimersByTimeAsync(60_000)]);
      },
      { headers },
    );
  });

  test("is not renewed a second time before the client has used it, after another request has renewed it", async () => {
    const { clock, visit, headers, read } = await due({ rotateEvery: { seconds: 600, onReuse: "destroy" } });
    await visit(
      async (session) => {
        await session.get("a");
        await visit((other) => other.get("a"), { headers });
        await exclusive(session, "b", () => 2);
      },
      { headers },
    );
    // Both responses were lost.
    clock.advance(120);
    expect((await read(headers.Cookie)).result).toEqual({ a: 1, b: 2 });
  });

  test("fails with the mistake of a generator", async () => {
    let isBroken = false;
    const generateId = (): string => {
      if (!isBroken) return `${"x".repeat(30)}${Math.random().toString(36).slice(2)}`;
      isBroken = false;
      return "short";
    };
    const { visit, headers } = await due({ generateId });
    isBroken = true;
    await visit((session) => expect(session.id()).rejects.toThrow(TypeError), { headers });
    expect(isBroken).toBe(false);
  });
});

test("an id that is not due is told without waiting, so that the function of an update() can ask for it", async () => {
  const { sessions, headers } = await due({ storeTimeout: 0.1, rotateEvery: 1000 });
  const { result } = await visitor(sessions)(
    (session) => session.update("a", async (n: number) => ((await session.id()) === null ? 0 : n + 1)),
    { headers },
  );
  expect(result).toBe(2);
});

test("an id that is not due is told without a call of the store", async () => {
  const { clock, calls, sessions, headers } = await due();
  const jar = cookieJar({ now: clock.now });
  const visit = visitor(sessions, { jar });
  await visit((session) => session.get("a"), { headers });
  await visit((session) => session.get("a"));
  calls.length = 0;
  await visit((session) => session.id());
  expect(calls).toEqual(["load"]);
});

test("id() makes no id where there is no session", async () => {
  const generateId = vi.fn<() => string>(() => "x".repeat(32));
  expect((await visitor({ generateId })((session) => session.id())).result).toBeNull();
  expect(generateId).not.toHaveBeenCalled();
});

test("a record that has no room for the renewal keeps its id: it can be read, and changes that fit are stored", async () => {
  const store = altered(openStore().store, {
    save: (save, key, write) => {
      // There is room for the names of writes, and not for the instant of a renewal.
      assertRecordSize("Toy", serializeRecord(write.record).length, 120);
      return save(key, write);
    },
  });
  const { visit, headers, old, read } = await due({ store });
  expect((await read(headers.Cookie)).cookies).toEqual([]);
  const changed = await visit(async (session) => (session.set("a", 2), await session.id()), { headers });
  expect([changed.result, changed.cookies]).toEqual([old, []]);
  expect((await read(headers.Cookie)).result).toEqual({ a: 2 });
  expect(await codeOf(() => visit((session) => session.set("b", 3), { headers }))).toBe("ERR_RECORD_TOO_LARGE");
  expect(await codeOf(() => visit((session) => session.regenerate(), { headers }))).toBe("ERR_RECORD_TOO_LARGE");
});
