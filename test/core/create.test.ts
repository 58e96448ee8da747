import { randomUUID } from "node:crypto";
import { describe, expect, test } from "vitest";
import { memoryStore, SessionManager } from "../../mod.ts";
import { cookieJar } from "../../src/testing.ts";
import { codeOf, counted, idIn, SHOP, visitor } from "../setup/sessions.ts";

describe("create() and id()", () => {
  test("[34] create() makes an empty session exist, answers its id, and is idempotent", async () => {
    const { store, calls } = counted(memoryStore());
    const visit = visitor({ store });
    const { result, cookies } = await visit(async (session) => [
      await session.create(),
      await session.create(),
      await session.id(),
    ]);
    expect(new Set(result)).toEqual(new Set([idIn(cookies)]));
    expect(calls).toEqual(["create"]);
    const again = await visit((session) => session.create());
    expect([again.result, again.cookies]).toEqual([result[0], []]);
    expect(calls).toEqual(["create", "load"]);
  });

  test("[50] id() is null while there is no session, and does not begin one", async () => {
    const { store, calls } = counted(memoryStore());
    const { result, cookies } = await visitor({ store })((session) => session.id());
    expect([result, cookies, calls]).toEqual([null, [], []]);
  });

  test("[50] id() tells the id under which the session will be stored", async () => {
    const visit = visitor();
    const { result, cookies } = await visit((session) => {
      session.set("a", 1);
      return session.id();
    });
    expect(result).toBe(idIn(cookies));
    const next = await visit(async (session) => {
      const before = await session.id();
      await session.regenerate();
      return [before, await session.id()];
    });
    expect(next.result).toEqual([result, idIn(next.cookies)]);
    expect(next.result[0]).not.toBe(next.result[1]);
  });

  test("[60] ids are 32 characters of 64 kinds, and all different", async () => {
    const ids = await Promise.all(
      Array.from({ length: 200 }, async () => (await visitor()((session) => session.create())).result ?? ""),
    );
    expect(ids.filter((id) => !/^[\w-]{32}$/.test(id))).toEqual([]);
    expect(new Set(ids).size).toBe(200);
    // Each of the 64 characters turns up among 6 400, but for one time in 10^41.
    expect(new Set(ids.join("")).size).toBe(64);
  });

  test("[50] [61] generateId is told the request, and may be async", async () => {
    const jar = cookieJar();
    const generateId = async (request?: Request): Promise<string> =>
      `${request === undefined ? "none" : new URL(request.url).searchParams.get("tenant")}_${randomUUID()}`;
    const sessions = new SessionManager({ generateId });
    const { cookies } = await visitor(sessions, { jar })((session) => session.set("a", 1), {
      url: `${SHOP}?tenant=acme`,
    });
    expect(idIn(cookies)).toMatch(/^acme_/);
    expect(await sessions.open("").create()).toMatch(/^none_/);
    expect((await visitor(sessions, { jar })((session) => session.get("a"))).result).toBe(1);
  });

  test.each([
    "",
    "a".repeat(21),
    `${"a".repeat(30)}.`,
    `${"a".repeat(30)} b`,
    `${"a".repeat(30)}\n`,
    "é".repeat(30),
    12,
    null,
    undefined,
  ])("[50] generateId that gives %j is refused with a TypeError", async (id) => {
    const { store, calls } = counted(memoryStore());
    const visit = visitor({ store, generateId: () => id as string });
    await expect(visit((session) => session.set("a", 1))).rejects.toThrow(TypeError);
    expect(calls).toEqual([]);
  });

  test.each([22, 64, 300])("[50] generateId may give ids of %i characters", async (length) => {
    const visit = visitor({ generateId: () => "aZ09-_".repeat(50).slice(0, length) });
    await visit((session) => session.set("a", 1));
    expect((await visit((session) => session.get("a"))).result).toBe(1);
  });

  test("[50] a taken id is replaced by the next one, and the record under it left alone", async () => {
    const ids = ["a".repeat(22), "a".repeat(22), "b".repeat(22)];
    const options = { store: memoryStore(), generateId: () => ids.shift() ?? "" };
    const first = visitor(options);
    await first((session) => session.set("who", "first"));
    const { cookies } = await visitor(options)((session) => session.set("who", "second"));
    expect(idIn(cookies)).toBe("b".repeat(22));
    expect((await first((session) => session.get("who"))).result).toBe("first");
  });

  test("[50] a generator that always collides ends in ERR_CONFLICT after a few tries", async () => {
    const { store, calls } = counted(memoryStore());
    const options = { store, generateId: () => "a".repeat(22) };
    await visitor(options)((session) => session.set("who", "first"));
    calls.length = 0;
    expect(await codeOf(() => visitor(options)((session) => session.set("who", "second")))).toBe("ERR_CONFLICT");
    expect(calls.length).toBeGreaterThan(1);
    expect(calls.length).toBeLessThan(20);
    // A load after each one tells whether the record is that of a write which was sent twice.
    expect(new Set(calls)).toEqual(new Set(["create", "load"]));
  });

  test("[50] an id that was told is never exchanged: if it is taken, that is ERR_CONFLICT", async () => {
    const ids = ["a".repeat(22), "a".repeat(22), "b".repeat(22)];
    const options = { store: memoryStore(), generateId: () => ids.shift() ?? "" };
    await visitor(options)((session) => session.set("who", "first"));
    expect(await codeOf(() => visitor(options)((session) => session.create()))).toBe("ERR_CONFLICT");
  });

  test("[50] Session has no way to choose an id", async () => {
    await visitor()((session) => {
      expect(() => Object.assign(session, { id: "a".repeat(32) })).not.toThrow(SyntaxError);
      expect("setId" in session).toBe(false);
    });
  });
});
