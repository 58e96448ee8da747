import { describe, expect, test } from "vitest";
import {
  memoryStore,
  type Session,
  type SessionEvent,
  SessionManager,
  type SessionOptions,
  type UntypedData,
  withSession,
} from "../mod.ts";
import { createStorage } from "unstorage";
import { unstorageStore } from "../src/stores/unstorage.ts";
import { cloudflareKvStore } from "../src/stores/cloudflare_kv.ts";
import { cookieStore } from "../src/stores/cookie.ts";
import { cookieJar, fakeClock, faultyStore, kvSimulator } from "../src/testing.ts";
import { altered, codeOf, counted, gate, keyOf, openStore, SHOP, type Visitor, visitor } from "./setup/sessions.ts";

const ADA = "user-1815";

/** Browsers of one user, and the manager that they share. */
function devices(options: SessionOptions = {}): {
  readonly sessions: SessionManager;
  readonly browser: () => Visitor<UntypedData>;
  readonly logIn: (details?: unknown, subject?: string) => Promise<Visitor<UntypedData>>;
} {
  const sessions = new SessionManager(options);
  const browser = (): Visitor<UntypedData> => visitor(sessions);
  const logIn = async (details?: unknown, subject = ADA): Promise<Visitor<UntypedData>> => {
    const visit = browser();
    await visit(async (session) => {
      await session.regenerate();
      session.set("user", subject);
      await session.bind(subject, details);
    });
    return visit;
  };
  return { sessions, browser, logIn };
}

const userOf = async (visit: Visitor<UntypedData>): Promise<unknown> =>
  (await visit((session) => session.get("user"))).result;
const handleOf = async (visit: Visitor<UntypedData>): Promise<string> =>
  (await visit(async (session) => (await session.handle()) ?? "none")).result;

describe("list()", () => {
  test("list() shows each bound session with its details and times, the last seen first", async () => {
    const clock = fakeClock();
    const { sessions, logIn } = devices({ now: clock.now, touchInterval: 0 });
    const phone = await logIn({ browser: "Firefox", place: "Paris" });
    const began = clock.now();
    clock.advance(60);
    await logIn({ browser: "Chromium", since: new Date(0) });
    await logIn("elsewhere", "user-2");
    clock.advance(60);
    await userOf(phone);
    const listed = await sessions.list(ADA);
    expect(listed.map(({ details }) => details)).toEqual([
      { browser: "Firefox", place: "Paris" },
      { browser: "Chromium", since: new Date(0) },
    ]);
    expect(listed[0]).toMatchObject({ createdAt: began, lastSeenAt: clock.now() });
    expect(await sessions.list("nobody")).toEqual([]);
  });

  test("list() gives handles of which one is the browser's own, and none is an id or names one", async () => {
    const { store, records } = openStore();
    const { sessions, logIn } = devices({ store });
    const phone = await logIn();
    await logIn();
    const { result } = await phone(async (session) => ({ id: await session.id(), handle: await session.handle() }));
    const handles = (await sessions.list(ADA)).map(({ handle }) => handle);
    expect(new Set(handles).size).toBe(2);
    expect(handles).toContain(result.handle);
    expect(handles.join()).not.toContain(result.id);
    expect(handles.join()).not.toContain(keyOf(String(result.id)));
    expect(records.has(keyOf(String(result.id)))).toBe(true);
    for (const handle of handles) {
      expect(
        (await visitor(sessions)((session) => session.get("user"), { headers: { Cookie: `__Host-session=${handle}` } }))
          .result,
      ).toBeUndefined();
    }
  });

  test("list() leaves out and forgets a session that has expired, been destroyed or been unbound", async () => {
    const clock = fakeClock();
    const { store, records } = openStore();
    const { sessions, logIn } = devices({ store, now: clock.now });
    await logIn("expired");
    clock.advance(86_400);
    const destroyed = await logIn("destroyed");
    const unbound = await logIn("unbound");
    await logIn("live");
    expect(await sessions.list(ADA)).toHaveLength(3);
    await destroyed((session) => session.destroy());
    await unbound((session) => session.unbind());
    expect(await userOf(unbound)).toBe(ADA);
    expect((await sessions.list(ADA)).map(({ details }) => details)).toEqual(["live"]);
    expect([...pagesOf(records)].map(({ fields }) => fields.size)).toEqual([2]);
  });

  test("list() shows all of a hundred logins at once", async () => {
    const { sessions, logIn } = devices();
    await Promise.all(Array.from({ length: 100 }, (_, n) => logIn(n)));
    const listed = (await sessions.list(ADA)).map(({ details }) => details);
    expect(listed.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 100 }, (_, n) => n));
  });
});

describe("bind()", () => {
  test("bind() begins a session when there is none", async () => {
    const { sessions, browser } = devices();
    const { cookies } = await browser()((session) => session.bind(ADA));
    expect(cookies).toHaveLength(1);
    expect(await sessions.list(ADA)).toHaveLength(1);
  });

  test("bind() keeps the handle, and takes the new details, when the user is the same", async () => {
    const { sessions, logIn } = devices();
    const phone = await logIn("before");
    const handle = await handleOf(phone);
    await phone((session) => session.bind(ADA, "after"));
    expect(await sessions.list(ADA)).toMatchObject([{ handle, details: "after" }]);
    await phone(async (session) => (await session.regenerate(), await session.bind(ADA, "later")));
    expect(await sessions.list(ADA)).toMatchObject([{ handle, details: "later" }]);
  });

  test("bind() moves the session to another user", async () => {
    const { sessions, logIn } = devices();
    const phone = await logIn();
    await phone((session) => session.bind("user-2"));
    expect(await sessions.list(ADA)).toEqual([]);
    expect(await sessions.list("user-2")).toHaveLength(1);
    expect(await sessions.revokeAll(ADA)).toBe(0);
    expect(await userOf(phone)).toBe(ADA);
  });

  test("bind() refuses details that cannot be encoded or are too large, and what is no subject", async () => {
    const { sessions, browser } = devices();
    await browser()(async (session) => {
      expect(await codeOf(() => session.bind(ADA, { f: () => 0 }))).toBe("ERR_VALUE");
      expect(await codeOf(() => session.bind(ADA, "é".repeat(1025)))).toBe("ERR_VALUE");
      await expect(session.bind("")).rejects.toThrow(TypeError);
    });
    expect(await sessions.list(ADA)).toEqual([]);
  });

  test("bind() works on sessions that are opened by their id", async () => {
    const { sessions, browser } = devices();
    const phone = browser();
    const { result: id } = await phone((session) => session.start());
    const session = sessions.open(id);
    await session.bind(ADA, "by id");
    await session.save();
    expect(await session.handle()).toBe(await handleOf(phone));
    expect(await sessions.list(ADA)).toMatchObject([{ details: "by id" }]);
  });

  test("bind(), list() and revoke() say that they need a store when the cookie holds the session", async () => {
    const secrets = ["a secret of at least thirty-two bytes"];
    const { sessions, browser } = devices({ store: cookieStore(), secrets });
    await browser()((session) => expect(session.bind(ADA)).rejects.toThrow("takes a store"));
    await expect(sessions.list(ADA)).rejects.toThrow("takes a store");
    await expect(sessions.revoke("x")).rejects.toThrow(TypeError);
    await expect(sessions.revokeAll(ADA)).rejects.toThrow(TypeError);
  });
});

describe("regenerate()", () => {
  test("regenerate() keeps the handle", async () => {
    const { sessions, logIn } = devices();
    const phone = await logIn("phone");
    const handle = await handleOf(phone);
    for (let i = 0; i < 3; i++) await phone((session) => session.regenerate());
    expect(await handleOf(phone)).toBe(handle);
    expect(await sessions.list(ADA)).toMatchObject([{ handle, details: "phone" }]);
    expect(await sessions.revoke(handle)).toBe(true);
    expect(await userOf(phone)).toBeUndefined();
  });
});

describe("revoke()", () => {
  test("revoke() ends the one session, and says whether there was one", async () => {
    const events: SessionEvent[] = [];
    const { sessions, logIn } = devices({ observe: (event) => events.push(event) });
    const phone = await logIn();
    const laptop = await logIn();
    const handle = await handleOf(phone);
    expect(await sessions.revoke(handle)).toBe(true);
    expect(await userOf(phone)).toBeUndefined();
    expect(await userOf(laptop)).toBe(ADA);
    expect(await sessions.list(ADA)).toHaveLength(1);
    expect(await sessions.revoke(handle)).toBe(false);
    expect(events.filter(({ type }) => type === "revoked")).toEqual([{ type: "revoked", sessions: 1 }]);
  });

  test("revoke() takes anything for a handle, and throws at nothing", async () => {
    const { sessions, logIn } = devices();
    const handle = await handleOf(await logIn());
    for (const made of [
      "",
      "x",
      `${handle}x`,
      handle.replace(/.{16}$/, "A".repeat(16)),
      handle.replace(".0.", ".7."),
    ]) {
      expect(await sessions.revoke(made)).toBe(false);
    }
    // @ts-expect-error -- from a client's JSON
    expect(await sessions.revoke({ toString: 1, valueOf: 1 })).toBe(false);
    expect(await sessions.list(ADA)).toHaveLength(1);
  });

  test("revoke() is not undone by a request that is under way", async () => {
    const { sessions, logIn } = devices();
    const phone = await logIn();
    const jar = gate();
    const handle = await handleOf(phone);
    const slow = phone(async (session) => {
      session.set("note", await session.get("user"));
      await jar.opened;
    });
    await sessions.revoke(handle);
    jar.open();
    await slow;
    expect(await userOf(phone)).toBeUndefined();
  });
});

describe("revoke() on an eventually consistent store", () => {
  test("revoke() ends a session that the client brings a companion of", async () => {
    const store = unstorageStore(createStorage(), { consistency: "eventual" });
    const secrets = ["a secret of at least thirty-two bytes"];
    const { sessions, logIn } = devices({ store, secrets, readYourWrites: true });
    const phone = await logIn("phone");
    await phone((session) => session.set("n", 1));
    expect(await userOf(phone)).toBe(ADA);
    expect(await sessions.list(ADA)).toMatchObject([{ details: "phone" }]);
    expect(await sessions.revoke(await handleOf(phone))).toBe(true);
    expect(await userOf(phone)).toBeUndefined();
    await phone((session) => session.set("n", 2));
    expect(await userOf(phone)).toBeUndefined();
  });
});

describe("revokeAll()", () => {
  test("revokeAll() and list() refuse what names no user, so that nobody takes nothing for done", async () => {
    const { sessions, logIn } = devices();
    await logIn("fine", "\ufffd");
    for (const subject of ["", "\ud800", undefined, 1815]) {
      // @ts-expect-error -- from JavaScript
      await expect(sessions.revokeAll(subject)).rejects.toThrow(TypeError);
      // @ts-expect-error -- from JavaScript
      await expect(sessions.list(subject)).rejects.toThrow(TypeError);
    }
    expect(await sessions.list("\ufffd")).toHaveLength(1);
  });

  test("revokeAll() throws ERR_STORE when what the store answers is no list", async () => {
    const store = faultyStore(memoryStore());
    const { sessions, logIn } = devices({ store });
    await logIn();
    store.plan({ load: ["wrong type"] });
    expect(await codeOf(() => sessions.revokeAll(ADA))).toBe("ERR_STORE");
    expect(await sessions.revokeAll(ADA)).toBe(1);
  });

  test("revokeAll() ends every session of the user but the excepted one, and no replayed cookie works", async () => {
    const { sessions, browser } = devices();
    const jars = Array.from({ length: 5 }, () => cookieJar());
    for (const jar of jars) {
      await visitor(sessions, { jar })(async (session) => (session.set("user", ADA), await session.bind(ADA)));
    }
    const stranger = await devices({}).logIn();
    const replays = jars.map((jar) => ({ Cookie: jar.header("https://shop.example/") ?? "" }));
    const own = visitor(sessions, { jar: jars[0]! });
    const { result: ended } = await own((session) => sessions.revokeAll(ADA, { except: session }));
    expect(ended).toBe(4);
    expect(await userOf(own)).toBe(ADA);
    for (const headers of replays.slice(1)) {
      expect((await browser()((session) => session.get("user"), { headers })).result).toBeUndefined();
    }
    expect(await sessions.list(ADA)).toHaveLength(1);
    expect(await sessions.revokeAll(ADA)).toBe(1);
    expect(await userOf(own)).toBeUndefined();
    expect(await userOf(stranger)).toBe(ADA);
  });
});

describe("destroy()", () => {
  test("destroy() removes the entry, and the list with the last one", async () => {
    const { store, records } = openStore();
    const { logIn } = devices({ store });
    const phone = await logIn();
    const laptop = await logIn();
    await phone((session) => session.destroy());
    expect([...pagesOf(records)].map(({ fields }) => fields.size)).toEqual([2]);
    await laptop((session) => session.destroy());
    expect(records.size).toBe(0);
  });
});

describe("perSubject", () => {
  test("bind() ends the session that was bound first when there are too many", async () => {
    const clock = fakeClock();
    const events: SessionEvent[] = [];
    const observe = (event: SessionEvent): void => void events.push(event);
    const { sessions, logIn } = devices({ perSubject: { sessions: 2 }, now: clock.now, observe });
    const browsers: Visitor<UntypedData>[] = [];
    for (let n = 0; n < 4; n++) {
      clock.advance(1);
      browsers.push(await logIn(n));
    }
    // Being used does not save the oldest; to bind the same session again adds none.
    await browsers[3]!((session) => session.bind(ADA, 3));
    expect((await sessions.list(ADA)).map(({ details }) => details).toSorted()).toEqual([2, 3]);
    expect(await Promise.all(browsers.map(userOf))).toEqual([undefined, undefined, ADA, ADA]);
    expect(events.filter(({ type }) => type === "revoked")).toHaveLength(2);
  });

  test("bind() is refused when there are too many and onLimit says so", async () => {
    const { sessions, logIn, browser } = devices({ perSubject: { sessions: 2, onLimit: "refuse" } });
    const phone = await logIn();
    await logIn();
    const visit = browser();
    await visit((session) => session.set("basket", 1));
    const { result } = await visit(async (session) => {
      await session.regenerate();
      session.set("user", ADA);
      await session.bind(ADA);
      return await codeOf(() => session.save());
    });
    expect(result).toBe("ERR_LIMIT");
    // The handler has answered as it liked, and nobody is logged in.
    expect((await visit((session) => session.all())).result).toEqual({ basket: 1 });
    expect(await sessions.list(ADA)).toHaveLength(2);
    // The same session may be bound again, and one that has ended makes room.
    await phone((session) => session.bind(ADA, "again"));
    await phone((session) => session.destroy());
    await logIn();
    expect(await sessions.list(ADA)).toHaveLength(2);
  });

  test("bind() is refused before the response goes out when it could be stored after it", async () => {
    const sessions = new SessionManager({
      perSubject: { sessions: 1, onLimit: "refuse" },
      persist: "after-response",
    });
    const begin = async (): Promise<string> => {
      const session = sessions.open("");
      await session.start();
      await session.save();
      return (await session.id()) ?? "";
    };
    const handle = withSession(async (_request, session, ..._rest: object[]) => {
      await session.bind(ADA);
      return new Response();
    }, sessions);
    const logIn = async (): Promise<Response> =>
      handle(new Request(SHOP, { headers: { Cookie: `__Host-session=${await begin()}` } }), { waitUntil: () => {} });
    await logIn();
    expect(await codeOf(logIn)).toBe("ERR_LIMIT");
  });

  test("bind() lets one of many logins at once have the last place", async () => {
    const { sessions, logIn } = devices({ perSubject: { sessions: 3, onLimit: "refuse" } });
    const answers = await Promise.allSettled(Array.from({ length: 8 }, () => logIn()));
    expect(answers.filter(({ status }) => status === "fulfilled")).toHaveLength(3);
    expect(await sessions.list(ADA)).toHaveLength(3);
  });

  test("perSubject is refused when it is none", () => {
    expect(() => new SessionManager({ perSubject: { sessions: 0 } })).toThrow(RangeError);
    // @ts-expect-error -- from JavaScript
    expect(() => new SessionManager({ perSubject: { sessions: 1, onLimit: "ask" } })).toThrow(TypeError);
    // @ts-expect-error -- from JavaScript
    expect(() => new SessionManager({ epochOf: 1 })).toThrow(TypeError);
  });
});

describe("epochOf", () => {
  test("a session is none when the user's credentials have changed, and no other read finds that out", async () => {
    let epoch = 1;
    const { store, calls } = counted(memoryStore());
    const events: SessionEvent[] = [];
    const observe = (event: SessionEvent): void => void events.push(event);
    const { sessions, logIn, browser } = devices({ store, epochOf: () => epoch, observe });
    const phone = await logIn();
    calls.length = 0;
    expect(await userOf(phone)).toBe(ADA);
    expect(calls).toEqual(["load"]);
    epoch = 2;
    expect(await userOf(phone)).toBeUndefined();
    expect(events.at(-1)).toEqual({ type: "rejected", reason: "epoch" });
    expect(await sessions.list(ADA)).toEqual([]);
    const laptop = await logIn();
    expect(await userOf(laptop)).toBe(ADA);
    expect(await sessions.list(ADA)).toHaveLength(1);
    const anonymous = browser();
    await anonymous((session) => session.set("basket", 1));
    epoch = 3;
    expect((await anonymous((session) => session.get("basket"))).result).toBe(1);
  });

  test("bind() does not count sessions of another epoch when there may be only so many", async () => {
    let epoch = 1;
    const { sessions, logIn } = devices({
      epochOf: () => epoch,
      perSubject: { sessions: 1, onLimit: "refuse" },
    });
    await logIn();
    expect(await codeOf(logIn)).toBe("ERR_LIMIT");
    epoch = 2;
    const phone = await logIn();
    expect(await userOf(phone)).toBe(ADA);
    expect(await sessions.list(ADA)).toHaveLength(1);
    expect(await codeOf(logIn)).toBe("ERR_LIMIT");
  });

  test("bind() takes the epoch that it is given, and a subject without one has no sessions", async () => {
    const epochs: Record<string, string | undefined> = { ada: "a" };
    const { browser } = devices({ epochOf: async (subject) => epochs[subject] });
    const late = browser();
    const bind = (epoch: string) => (session: Session) => (session.set("n", 1), session.bind("ada", null, { epoch }));
    const read = (session: Session): unknown => session.get("n");
    await late(bind("old"));
    expect((await late(read)).result).toBeUndefined();
    await late(bind("a"));
    expect((await late(read)).result).toBe(1);
    delete epochs["ada"];
    expect((await late(read)).result).toBeUndefined();
  });

  test("epochOf gets what the handler gets beside the request, and so does list()", async () => {
    const told: unknown[][] = [];
    const sessions = new SessionManager({ store: () => store, epochOf: (...args) => void told.push(args) });
    const { store } = openStore();
    const handle = withSession(async (_request, session, ..._rest: string[]) => {
      await session.bind(ADA);
      return new Response();
    }, sessions);
    await handle(new Request("https://shop.example/"), "env", "ctx");
    await sessions.list(ADA, "env", "ctx");
    expect(told).toEqual([
      [ADA, "env", "ctx"],
      [ADA, "env", "ctx"],
    ]);
  });
});

describe("what the store is told", () => {
  const secret = "a secret of at least thirty-two bytes";
  const another = "another secret, of thirty-two bytes or more";

  test("with encrypt, neither the user nor the details can be read, and old secrets still show them", async () => {
    for (const encrypt of [false, true]) {
      const { store, records } = openStore();
      const { logIn } = devices({ store, encrypt, secrets: [secret], epochOf: () => "the epoch" });
      await logIn({ browser: "Netscape" });
      const dump = JSON.stringify([...records].map(([key, { fields }]) => [key, ...fields]));
      const readable = ["user-1815", "Netscape", "the epoch"].filter((word) => dump.includes(word));
      expect(readable).toEqual(encrypt ? [] : ["user-1815", "Netscape"]);
      const later = devices({ store, encrypt, secrets: [another, secret] });
      expect(await later.sessions.list(ADA)).toMatchObject([{ details: { browser: "Netscape" } }]);
      const never = devices({ store, encrypt, secrets: [another] });
      expect(await never.sessions.list(ADA)).toMatchObject([
        { details: encrypt ? undefined : { browser: "Netscape" } },
      ]);
      expect(await never.sessions.revokeAll(ADA)).toBe(1);
    }
  });

  test("a list is kept for as long as any of its sessions, however long they are made to live", async () => {
    const clock = fakeClock();
    const kept = new Map<string, number>();
    const noted = (key: string, expiresAt: number): void => void kept.set(key, expiresAt);
    const store = altered(openStore().store, {
      create: (verb, key, record, expiresAt) => (noted(key, expiresAt), verb(key, record, expiresAt)),
      change: (verb, key, change, expected, expiresAt) => (
        noted(key, expiresAt),
        verb(key, change, expected, expiresAt)
      ),
      touch: (verb, key, at, expiresAt, loaded) => (noted(key, expiresAt), verb(key, at, expiresAt, loaded)),
    });
    const { sessions, logIn } = devices({ store, now: clock.now, absoluteTimeout: false, touchInterval: 0 });
    const page = keyOf(`list 0 ${keyOf(`subject ${ADA}`)}`);
    const phone = await logIn();
    const assertKept = async (): Promise<void> => {
      const id = (await phone((session) => session.id())).result ?? "";
      expect(kept.get(page)).toBeGreaterThanOrEqual(kept.get(keyOf(id)) ?? Infinity);
    };
    let writes = 0;
    for (let hour = 0; hour < 100; hour++) {
      clock.advance(3600);
      const before = kept.get(page);
      await userOf(phone);
      if (kept.get(page) !== before) writes++;
      await assertKept();
    }
    // Not with every touch, but once in an idle timeout.
    expect(writes).toBeLessThanOrEqual(5);
    expect(writes).toBeGreaterThanOrEqual(3);
    await phone((session) => session.setTimeouts({ idle: 1e7, absolute: 1e8 }));
    await assertKept();
    await phone((session) => session.regenerate({ reauthenticated: true }));
    await assertKept();
    expect(await sessions.list(ADA)).toHaveLength(1);
  });

  test("a session that is bound keeps its list when the list was lost and its id changes", async () => {
    const { store, records } = openStore();
    const { sessions, logIn } = devices({ store });
    const phone = await logIn("lost");
    for (const [key, { fields }] of records) if (fields.get("@")?.includes('"list"')) records.delete(key);
    expect(await sessions.list(ADA)).toEqual([]);
    await phone((session) => session.regenerate());
    expect(await sessions.list(ADA)).toHaveLength(1);
    expect(await sessions.revokeAll(ADA)).toBe(1);
  });

  test("list() answers when a list is hostile", async () => {
    const { store, records } = openStore();
    const { sessions, logIn } = devices({ store });
    await logIn("fine");
    const [page] = pagesOf(records);
    const fields = new Map(page?.fields)
      .set("a", "{")
      .set("b", "null")
      .set("c", '{"key":1,"heirs":2,"boundAt":"x"}')
      .set("d", '{"key":"../etc","heirs":[null,"x"],"boundAt":1e99}');
    records.set(keyOf(`list 0 ${keyOf(`subject ${ADA}`)}`), { ...page!, fields });
    expect(await sessions.list(ADA)).toMatchObject([{ details: "fine" }]);
    expect(await sessions.revokeAll(ADA)).toBe(1);
  });
});

describe("where a place may show an older list", () => {
  const clock = fakeClock();
  const kv = kvSimulator({ now: clock.now, writeInterval: 0 });
  const at = (place: string): ReturnType<typeof devices> =>
    devices({
      store: cloudflareKvStore(kv.at(place)),
      secrets: ["a secret of at least thirty-two bytes"],
      now: clock.now,
    });
  const ends: [string, (sessions: SessionManager, subject: string) => Promise<unknown>][] = [
    ["list()", (sessions, subject) => sessions.list(subject)],
    ["revokeAll()", (sessions, subject) => sessions.revokeAll(subject)],
  ];
  for (const [name, use] of ends) {
    test(`${name} does not forget a session that has just been regenerated elsewhere`, async () => {
      const [paris, tokyo] = [at("Paris"), at("Tokyo")];
      const subject = `user of ${name}`;
      const phone = await paris.logIn("phone", subject);
      clock.advance(3600);
      // Tokyo has the list in its cache from now on.
      await tokyo.logIn("laptop", subject);
      clock.advance(10);
      await phone((session) => session.regenerate());
      await use(tokyo.sessions, subject);
      clock.advance(300);
      expect((await paris.sessions.list(subject)).map(({ details }) => details)).toContain("phone");
      await paris.sessions.revokeAll(subject);
      clock.advance(300);
      expect(await userOf(phone)).toBeUndefined();
    });
  }
});

describe("pages", () => {
  test("bind() drops what is over from a full page before it adds one", async () => {
    const clock = fakeClock();
    const { store, records } = openStore();
    const { sessions, logIn } = devices({ store, now: clock.now });
    // Far more logins than a page holds, but never more than a few sessions alive.
    for (let day = 0; day < 200; day++) {
      await logIn(`${day} ${"x".repeat(2000)}`);
      clock.advance(50_000);
    }
    expect([...pagesOf(records)].length).toBeLessThanOrEqual(2);
    expect(await sessions.list(ADA)).toHaveLength(1);
    expect([...pagesOf(records)].map(({ fields }) => fields.size).reduce((a, b) => a + b)).toBeLessThanOrEqual(4);
  });
});

/** The records that are lists. */
function* pagesOf<Kept extends { readonly fields: ReadonlyMap<string, string> }>(
  records: ReadonlyMap<string, Kept>,
): Generator<Kept> {
  for (const record of records.values()) if (record.fields.get("@")?.includes('"list"')) yield record;
}
