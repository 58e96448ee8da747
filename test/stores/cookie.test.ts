import { compactDecrypt, CompactEncrypt } from "jose";
import { describe, expect, test } from "vitest";
import { memoryStore, type SessionEvent, type SessionOptions, SessionManager, withSession } from "../../mod.ts";
import type { OwnTimeouts } from "../../src/record.ts";
import { cookieStore } from "../../src/stores/cookie.ts";
import { cookieJar, fakeClock, faultyStore } from "../../src/testing.ts";
import { codeOf, cookieOf, counted, idIn, openStore, SHOP, visitor, type VisitInit } from "../setup/sessions.ts";

const secrets = ["a secret of at least thirty-two bytes"];
const sealed = (options: SessionOptions = {}): SessionOptions => ({ store: cookieStore(), secrets, ...options });
const withCookie = (cookie: string): VisitInit => ({ headers: { Cookie: cookie } });
const stranger = (options: SessionOptions) => visitor(options, { jar: cookieJar() });

describe.each(["withSession", "Hono"] as const)("cookieStore() through %s", (through) => {
  test("[24] keeps a session from one request to the next when there is no server", async () => {
    const visit = visitor(sealed(), { through });
    const first = await visit((session) => session.set({ user: "ada", basket: new Map([["tea", 2n]]) }));
    expect(first.cookies).toHaveLength(1);
    expect(first.cookies[0]).toMatch(
      /^__Host-session=[\w-]+\.\.[\w-]+\.[\w-]+\.[\w-]+; Max-Age=86400; Path=\/; Secure/,
    );
    expect(first.response.headers.get("Cache-Control")).toBe("no-store");
    const second = await visit((session) => session.all());
    expect(second.result).toEqual({ user: "ada", basket: new Map([["tea", 2n]]) });
    expect(second.cookies).toEqual([]);
    await visit((session) => session.update("visits", (n = 0) => n + 1));
    expect((await visit((session) => session.update("visits", (n = 0) => n + 1))).result).toBe(2);
  });
});

describe("cookieStore()", () => {
  test("[24] reveals nothing and is a JWE in compact form when somebody looks at the cookie", async () => {
    const wire = idIn((await visitor(sealed())((session) => session.set("user", "ada"))).cookies) ?? "";
    const [header = ""] = wire.split(".");
    expect(JSON.parse(atob(header))).toEqual({ alg: "dir", enc: "A256GCM" });
    expect(Buffer.from(wire.replaceAll(".", ""), "base64url").toString("latin1")).not.toMatch(/user|ada/);
  });

  test("throws a TypeError when there are no secrets", async () => {
    expect(() => new SessionManager({ store: cookieStore() })).toThrow(TypeError);
    expect(() => withSession(() => new Response(), { store: cookieStore() })).toThrow(/secrets/);
    expect(() => withSession(() => new Response(), sealed())).not.toThrow();
    await expect(visitor({ store: () => cookieStore() })((session) => session.start())).rejects.toThrow(TypeError);
  });

  test("is found by a function of what the handler gets when the store is one", async () => {
    const visit = visitor(sealed({ store: () => cookieStore() }));
    await visit((session) => session.set("n", 1));
    expect((await visit((session) => session.get("n"))).result).toBe(1);
  });

  test("refuses any other revocation than a store when it is called", () => {
    expect(() => Reflect.apply(cookieStore, undefined, [{ revocation: {} }])).toThrow(TypeError);
  });

  test("opens no session when the cookie was made for another name, secret or purpose", async () => {
    const wire = idIn((await visitor(sealed())((session) => session.set("n", 1))).cookies);
    const cookie = { name: "__Host-admin" };
    expect((await stranger(sealed())((session) => session.get("n"), withCookie(`__Host-session=${wire}`))).result).toBe(
      1,
    );
    const others: [string, SessionOptions][] = [
      ["__Host-admin", sealed({ cookie })],
      ["__Host-session", sealed({ secrets: ["another secret of at least thirty-two bytes"] })],
      ["__Host-session", { secrets, store: memoryStore() }],
    ];
    for (const [name, options] of others) {
      expect(
        (await stranger(options)((session) => session.get("n"), withCookie(`${name}=${wire}`))).result,
      ).toBeUndefined();
    }
  });

  test("opens no session when the header of the JWE asks for another algorithm", async () => {
    const events: SessionEvent[] = [];
    const visit = stranger(sealed({ observe: (event) => events.push(event) }));
    const key = Buffer.alloc(16);
    const forged = new CompactEncrypt(new TextEncoder().encode("x"));
    const other = await forged.setProtectedHeader({ alg: "dir", enc: "A128GCM" }).encrypt(key);
    expect((await compactDecrypt(other, key)).plaintext).toBeDefined();
    expect((await visit((session) => session.size(), withCookie(`__Host-session=${other}`))).result).toBe(0);
    expect(events).toEqual([{ type: "rejected", reason: "forged" }]);
  });

  test("opens what older secrets sealed when a new one stands in front, and not when they are gone", async () => {
    const old = "an old secret of at least thirty-two bytes";
    const now = "a new secret of at least thirty-two bytes!";
    const jar = cookieJar();
    await visitor(sealed({ secrets: [old] }), { jar })((session) => session.set("n", 1));
    const both = visitor(sealed({ secrets: [now, old] }), { jar });
    expect((await both((session) => session.get("n"))).result).toBe(1);
    expect(
      (await visitor(sealed({ secrets: [now] }))((session) => session.get("n"), withCookie(jar.header(SHOP) ?? "")))
        .result,
    ).toBeUndefined();
    // A change is sealed with the current secret.
    await both((session) => session.set("n", 2));
    expect((await visitor(sealed({ secrets: [now] }), { jar })((session) => session.get("n"))).result).toBe(2);
  });

  test("ends a session when it was idle for too long, however long the client keeps the cookie", async () => {
    const clock = fakeClock();
    const visit = stranger(sealed({ now: clock.now, idleTimeout: 100 }));
    const cookie = cookieOf(await visit((session) => session.set("n", 1)));
    clock.advance(99);
    expect(
      (await stranger(sealed({ now: clock.now, idleTimeout: 100 }))((session) => session.get("n"), withCookie(cookie)))
        .result,
    ).toBe(1);
    clock.advance(1);
    expect(
      (await stranger(sealed({ now: clock.now, idleTimeout: 100 }))((session) => session.get("n"), withCookie(cookie)))
        .result,
    ).toBeUndefined();
  });

  test("ends a session when the absolute timeout is over, however often it was used", async () => {
    const clock = fakeClock();
    const visit = visitor(sealed({ now: clock.now, absoluteTimeout: 200_000 }), { jar: cookieJar({ now: clock.now }) });
    await visit((session) => session.set("n", 1));
    for (const step of [70_000, 70_000, 59_999]) {
      clock.advance(step);
      const seen = await visit((session) => session.get("n"));
      expect(seen.result).toBe(1);
      expect(seen.cookies).toHaveLength(1);
    }
    clock.advance(1);
    expect((await visit((session) => session.get("n"))).result).toBeUndefined();
  });

  test("throws ERR_COOKIE_TOO_LARGE and leaves the old cookie alone when the session outgrows it", async () => {
    const visit = visitor(sealed());
    await visit((session) => session.set("n", 1));
    const grow = (size: number) => () => visit((session) => session.set("text", "x".repeat(size)));
    expect(await codeOf(grow(4000))).toBe("ERR_COOKIE_TOO_LARGE");
    expect((await visit((session) => session.all())).result).toEqual({ n: 1 });
    const largest = await grow(2800)();
    expect(cookieOf(largest).length - 1).toBeLessThanOrEqual(4096);
    expect((await visit((session) => session.size())).result).toBe(2);
  });

  test("throws ERR_COOKIE_TOO_LARGE at save(), and a regeneration that does so ends nothing", async () => {
    const { store, records } = openStore();
    const visit = visitor(sealed({ store: cookieStore({ revocation: store }) }));
    await visit((session) => session.set("n", 1));
    const { result } = await visit(async (session) => {
      session.set("text", "x".repeat(4000));
      await session.regenerate();
      return await codeOf(() => session.save());
    });
    expect(result).toBe("ERR_COOKIE_TOO_LARGE");
    expect(records.size).toBe(0);
    expect((await visit((session) => session.all())).result).toEqual({ n: 1 });
    const byHeader = visitor(sealed({ cookie: false, header: "X-Session-Id" }));
    const { response } = await byHeader((session) => session.set("text", "x".repeat(8000)), {
      headers: { "X-Session-Id": "" },
    });
    expect(response.headers.get("X-Session-Id")?.length).toBeGreaterThan(8000);
  });

  test("sends the change with the response when persisting is left for afterwards", async () => {
    const later: Promise<unknown>[] = [];
    const ctx = { waitUntil: (promise: Promise<unknown>) => void later.push(promise) };
    const handle = withSession(
      async (_request, session, _ctx: typeof ctx) => new Response(String(await session.update("n", (n = 0) => n + 1))),
      sealed({ persist: "after-response" }),
    );
    const jar = cookieJar();
    const texts: string[] = [];
    for (let n = 0; n < 3; n++) {
      texts.push(await (await jar.fetch((request) => handle(request, ctx), SHOP)).text());
    }
    expect([texts, later]).toEqual([["1", "2", "3"], []]);
  });

  test("asks the client to forget when there is no revocation and the session is destroyed", async () => {
    const visit = visitor(sealed());
    const copy = cookieOf(await visit((session) => session.set("n", 1)));
    const bye = await visit((session) => session.destroy());
    expect(bye.cookies[0]).toMatch(/^__Host-session=; Max-Age=0; .*Path=\/; Secure; HttpOnly; SameSite=Lax$/);
    expect((await visit((session) => session.get("n"))).result).toBeUndefined();
    // What it cannot do, and what its documentation says.
    expect((await stranger(sealed())((session) => session.get("n"), withCookie(copy))).result).toBe(1);
  });

  test("goes by header when the client asks for that", async () => {
    const handle = withSession(
      async (_request, session) => new Response(String(await session.update("n", (n = 0) => n + 1))),
      sealed({ cookie: false, header: "X-Session-Id" }),
    );
    const first = await handle(new Request(SHOP, { headers: { "X-Session-Id": "" } }));
    const headers = { "X-Session-Id": first.headers.get("X-Session-Id") ?? "" };
    expect(await (await handle(new Request(SHOP, { headers }))).text()).toBe("2");
  });

  test("says in its traits what it cannot do", () => {
    expect(cookieStore().traits).toEqual({
      compareAndSet: false,
      consistency: "strong",
      persistent: true,
      shared: true,
      minTtl: 0,
      maxBytes: 4096,
    });
  });
});

describe("id() of a sealed session", () => {
  test("gives a text that open() takes when the session is new, changed or found", async () => {
    const sessions = new SessionManager<{ n: number }>({ store: cookieStore(), secrets });
    const session = sessions.start(new Request(SHOP));
    session.set("n", 1);
    const id = await session.id();
    expect(await session.start()).toBe(id);
    expect(await sessions.open(id ?? "").get("n")).toBe(1);
    session.set("n", 2);
    const headers = await sessions.commit(session);
    expect(headers.get("Set-Cookie")).toContain(`=${await session.id()};`);
    const elsewhere = sessions.open((await session.id()) ?? "");
    expect(await elsewhere.update("n", (n = 0) => n + 1)).toBe(3);
    await elsewhere.save();
    expect(await sessions.open((await elsewhere.id()) ?? "").get("n")).toBe(3);
  });

  test("stores nothing with the client when the handler throws afterwards", async () => {
    const handle = withSession(async (_request, session) => {
      await session.start();
      throw new Error("no");
    }, sealed());
    await expect(handle(new Request(SHOP))).rejects.toThrow("no");
  });
});

describe("cookieStore({ revocation })", () => {
  test("fails, and revokes nothing, when what the revocation store answers has no meaning", async () => {
    const revocation = faultyStore(memoryStore());
    const visit = visitor(sealed({ store: cookieStore({ revocation }) }));
    await visit((session) => session.set("n", 1));
    revocation.plan({ load: ["wrong type"] });
    expect(await codeOf(() => visit((session) => session.get("n")))).toBe("ERR_STORE");
    expect((await visit((session) => session.get("n"))).result).toBe(1);
  });

  const revocable = (options: SessionOptions = {}) => {
    const { store, records } = openStore();
    const { store: revocation, calls } = counted(store);
    return { options: sealed({ store: cookieStore({ revocation }), ...options }), records, calls };
  };

  test("refuses every copy when the session was destroyed, with one small record", async () => {
    const { options, records, calls } = revocable();
    const visit = visitor(options);
    const copies = [cookieOf(await visit((session) => session.set("user", "ada")))];
    copies.push(cookieOf(await visit((session) => session.set("n", 2))));
    expect(calls).toEqual(["load", "load"]);
    await visit((session) => session.destroy());
    expect(calls.slice(2)).toEqual(["load", "create"]);
    expect(records.size).toBe(1);
    const dump = JSON.stringify([...records].map(([key, { fields }]) => [key, ...fields]));
    expect(dump.length).toBeLessThan(300);
    expect(dump).not.toContain("ada");
    for (const copy of copies) {
      expect((await stranger(options)((session) => session.get("user"), withCookie(copy))).result).toBeUndefined();
    }
    expect(copies.some((copy) => dump.includes(copy))).toBe(false);
  });

  test("makes one call when a request reads, and none when the cookie is forged or absent", async () => {
    const { options, calls } = revocable();
    const visit = visitor(options);
    await visit((session) => session.set("n", 1));
    await stranger(options)(
      (session) => session.get("n"),
      withCookie("__Host-session=e30..AAAAAAAAAAAAAAAA.AA.AAAAAAAAAAAAAAAAAAAAAA"),
    );
    expect(calls).toEqual([]);
    await visit((session) => session.all());
    expect(calls).toEqual(["load"]);
  });

  test("drops the change of a request that is under way when the session is destroyed", async () => {
    const events: SessionEvent[] = [];
    const { options } = revocable({ observe: (event) => events.push(event) });
    const jar = cookieJar();
    const visit = visitor(options, { jar });
    await visit((session) => session.set("n", 1));
    const copy = jar.header(SHOP) ?? "";
    const late = await visit(async (session) => {
      await session.get("n");
      await stranger(options)((other) => other.destroy(), withCookie(copy));
      session.set("n", 2);
      expect(await codeOf(() => session.save())).toBe("ERR_SESSION_GONE");
    });
    expect(late.cookies).toEqual([]);
    expect(events.map(({ type }) => type)).toContain("gone");
    expect((await visit((session) => session.get("n"))).result).toBeUndefined();
  });

  test("kills the old copy when the session is regenerated, and keeps the data", async () => {
    const { options } = revocable();
    const visit = visitor(options);
    const before = cookieOf(await visit((session) => session.set("n", 1)));
    await visit((session) => session.regenerate());
    expect((await visit((session) => session.get("n"))).result).toBe(1);
    expect((await stranger(options)((session) => session.get("n"), withCookie(before))).result).toBeUndefined();
  });

  test("has one heir when two requests regenerate one session", async () => {
    const events: SessionEvent[] = [];
    const { options } = revocable({ observe: (event) => events.push(event) });
    const copy = cookieOf(await visitor(options)((session) => session.set("n", 1)));
    const both = await Promise.all(
      [1, 2].map(() => stranger(options)((session) => session.regenerate(), withCookie(copy))),
    );
    expect(both.map(({ cookies }) => cookies.length).toSorted()).toEqual([0, 1]);
    expect(
      events
        .filter(({ type }) => type === "gone" || type === "regenerated")
        .map(({ type }) => type)
        .toSorted(),
    ).toEqual(["gone", "regenerated"]);
  });

  test("ends the heir as well when a logout overlaps a rotation", async () => {
    const { options } = revocable();
    const copy = cookieOf(await visitor(options)((session) => session.set("n", 1)));
    const jar = cookieJar();
    const visit = visitor(options, { jar });
    await visit((session) => session.regenerate(), withCookie(copy));
    expect((await visit((session) => session.get("n"))).result).toBe(1);
    await stranger(options)((session) => session.destroy(), withCookie(copy));
    expect((await visit((session) => session.get("n"))).result).toBeUndefined();
  });

  test("does not end the heir when a copy of before the rotation comes ten minutes later", async () => {
    const clock = fakeClock();
    const { options } = revocable({ now: clock.now });
    const copy = cookieOf(await visitor(options)((session) => session.set("n", 1)));
    const heir = cookieOf(await stranger(options)((session) => session.regenerate(), withCookie(copy)));
    const look = async () => (await stranger(options)((session) => session.get("n"), withCookie(heir))).result;
    clock.advance(600);
    await stranger(options)((session) => session.destroy(), withCookie(copy));
    expect(await look()).toBe(1);
    await stranger(options)((session) => session.destroy(), withCookie(heir));
    expect(await look()).toBeUndefined();
  });

  test("lets the old copy be read, not written, while a grace lasts", async () => {
    const clock = fakeClock();
    const { options } = revocable({ now: clock.now });
    const copy = cookieOf(await visitor(options)((session) => session.set("n", 1)));
    await stranger(options)((session) => session.regenerate({ grace: 10 }), withCookie(copy));
    expect((await stranger(options)((session) => session.get("n"), withCookie(copy))).result).toBe(1);
    expect((await stranger(options)((session) => session.set("n", 2), withCookie(copy))).cookies).toEqual([]);
    clock.advance(10);
    expect((await stranger(options)((session) => session.get("n"), withCookie(copy))).result).toBeUndefined();
  });

  /** A store whose records are gone at the very moment at which they may go, by a clock of its own. */
  const forgetful = (clock: { now(): number }) => {
    const { store, records } = openStore();
    const ends = new Map<string, number>();
    const create: typeof store.create = (key, record, expiresAt) => {
      ends.set(key, expiresAt);
      return store.create(key, record, expiresAt);
    };
    const load: typeof store.load = async (key) => ((ends.get(key) ?? 0) > clock.now() ? await store.load(key) : null);
    return { store: cookieStore({ revocation: { ...store, create, load } }), records, ends };
  };

  test("keeps the record until the absolute timeout is over, and no longer", async () => {
    const clock = fakeClock();
    const { store, ends } = forgetful(clock);
    const visit = visitor(sealed({ now: clock.now, store, absoluteTimeout: 200_000 }));
    await visit((session) => session.set("n", 1));
    const end = clock.now() + 200_000_000;
    clock.advance(100);
    await visit((session) => session.destroy());
    expect([...ends.values()]).toEqual([end + 60_000]);
  });

  test("keeps the record for an idle timeout when there is no absolute one", async () => {
    const clock = fakeClock();
    const { store, ends } = forgetful(clock);
    const visit = visitor(sealed({ now: clock.now, store, absoluteTimeout: false }));
    await visit((session) => session.set("n", 1));
    await visit((session) => session.setTimeouts({ idle: 500_000 }));
    clock.advance(100);
    await visit((session) => session.destroy());
    expect([...ends.values()]).toEqual([clock.now() + 500_000_000 + 60_000]);
  });

  test.each<[string, OwnTimeouts, OwnTimeouts]>([
    ["the other copy has a longer idle timeout", {}, { idle: 20 * 86_400 }],
    ["the other copy has the longer timeouts of the options", { idle: 100, absolute: 1000 }, {}],
    ["this copy has no absolute timeout", { absolute: false }, { idle: 20 * 86_400, absolute: 30 * 86_400 }],
  ])("refuses every copy for as long as it lives when %s", async (_name, ours, theirs) => {
    const clock = fakeClock();
    const { store } = forgetful(clock);
    const options = sealed({ now: clock.now, store });
    const first = cookieOf(await visitor(options)((session) => session.set("n", 1)));
    const copy = async (timeouts: OwnTimeouts): Promise<string> => {
      const visit = await stranger(options)(async (session) => {
        session.setTimeouts(timeouts);
        session.touch();
      }, withCookie(first));
      return cookieOf(visit);
    };
    const [mine, other] = [await copy(ours), await copy(theirs)];
    await stranger(options)((session) => session.destroy(), withCookie(mine));
    for (let day = 0; day < 400; day++) {
      for (const cookie of [first, mine, other]) {
        const { result } = await stranger(options)((session) => session.get("n"), withCookie(cookie));
        expect({ day, result }).toEqual({ day, result: undefined });
      }
      clock.advance(12 * 3600);
    }
  });

  test("fails closed when its store fails, and is found by a function of what the handler gets", async () => {
    const { store } = openStore();
    let broken = false;
    const load: typeof store.load = async (key) => {
      if (broken) throw new Error(`no ${key}`);
      return await store.load(key);
    };
    const seen: unknown[] = [];
    const revocation = (env: string) => {
      seen.push(env);
      return { ...store, load };
    };
    const handle = withSession(
      async (_request, session, _env: string) => new Response(String(await session.update("n", (n = 0) => n + 1))),
      sealed({ store: cookieStore({ revocation }) }),
    );
    const first = await handle(new Request(SHOP), "env");
    const headers = { Cookie: first.headers.get("Set-Cookie")?.split(";")[0] ?? "" };
    expect(await (await handle(new Request(SHOP, { headers }), "env")).text()).toBe("2");
    expect(seen).toEqual(["env"]);
    broken = true;
    expect(await codeOf(() => handle(new Request(SHOP, { headers }), "env"))).toBe("ERR_STORE");
  });

  test("sweeps its store when the sessions are pruned", async () => {
    let swept = 0;
    const revocation = { ...memoryStore(), prune: async () => ++swept };
    expect(await new SessionManager(sealed({ store: cookieStore({ revocation }) })).prune()).toBe(1);
    expect(await new SessionManager(sealed()).prune()).toBe(0);
  });
});
