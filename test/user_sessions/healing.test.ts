import { describe, expect, test } from "vitest";
import { memoryStore, type SessionEvent } from "../../mod.ts";
import { fakeClock } from "../../src/testing.ts";
import { altered, counted, keyOf, openStore } from "../setup/sessions.ts";
import { ADA, devices, entriesOf, handleOn, isPage, losePages, userOn } from "./devices.ts";
import { factsIn, unlisted } from "./invariant.ts";

describe("a list that an engine has lost", () => {
  test("a session that is used lists itself again within a touch interval, with handle and metadata, and revokeAll() reaches it", async () => {
    const clock = fakeClock();
    const { store, records } = openStore();
    const { users, logIn } = devices(
      { store, now: clock.now, touchInterval: 60 },
      { indexes: { sid: ({ sid }) => sid } },
    );
    const phone = await logIn({ sid: "op-1" });
    const handle = await handleOn(users, phone);
    expect(losePages(records)).toBe(2);
    clock.advance(59);
    await userOn(phone);
    expect(await users.list(ADA)).toEqual([]);
    clock.advance(1);
    await userOn(phone);
    expect(await users.list(ADA)).toMatchObject([{ handle, metadata: { sid: "op-1" } }]);
    expect(unlisted(records)).toEqual([]);
    losePages(records);
    await phone((session) => session.touch());
    expect(await users.revokeBy("sid", "op-1")).toBe(1);
    expect(await userOn(phone)).toBeUndefined();
  });

  test("a session lists itself again when its id changes, when it is bound again and when its timeouts grow", async () => {
    const { store, records } = openStore();
    const { users, logIn } = devices({ store });
    const phone = await logIn("phone");
    for (const use of [
      () => phone((session) => session.regenerate()),
      () => phone((session) => users.bind(session, ADA, "phone")),
      () => phone((session) => session.setTimeouts({ idle: 1e6 })),
      () => phone((session) => (session.set("n", 1), session.setTimeouts({ idle: 2e6 }))),
    ]) {
      losePages(records);
      await use();
      expect(await users.list(ADA)).toMatchObject([{ metadata: "phone" }]);
    }
  });

  test("a session lists itself again when it is changed and touched at once, although it ends no later for that", async () => {
    const clock = fakeClock();
    const { store, records } = openStore();
    const options = { store, now: clock.now, idleTimeout: 1000, absoluteTimeout: 1500, touchInterval: 60 };
    const { users, logIn } = devices(options);
    const phone = await logIn("phone");
    clock.advance(800);
    await userOn(phone);
    losePages(records);
    clock.advance(60);
    await phone((session) => session.set("n", 1));
    expect(await users.list(ADA)).toMatchObject([{ metadata: "phone" }]);
  });

  test("a session on the second page is listed again when the first page, which counts them, is lost", async () => {
    const { store: inner, records } = openStore();
    const { users, logIn } = devices({ store: { ...inner, traits: { ...inner.traits, maxBytes: 3840 } } });
    const browsers = [];
    for (let n = 0; n < 13; n++) browsers.push(await logIn(n));
    // A page has room for twelve entries.
    expect(entriesOf(records)).toEqual([12, 1]);
    const [[first] = [""]] = [...records].filter(([, record]) => isPage(record));
    records.delete(first);
    expect(await users.list(ADA)).toEqual([]);
    await browsers[12]!((session) => session.touch());
    expect(await users.list(ADA)).toMatchObject([{ metadata: 12 }]);
  });

  test("pages are added when the others are full, and not before", async () => {
    const { store: inner, records } = openStore();
    const { logIn } = devices({ store: { ...inner, traits: { ...inner.traits, maxBytes: 3840 } } });
    const pages = (): number[] =>
      [...records.values()]
        .filter(isPage)
        .map(({ fields }) => Number(fields.get("@")?.split(" ")[1]))
        .filter((count) => count > 1);
    for (let n = 0; n < 24; n++) await logIn(n);
    expect(entriesOf(records)).toEqual([12, 12]);
    expect(pages()).toEqual([2]);
    for (let n = 0; n < 10; n++) await logIn(n);
    expect(pages()).toEqual([4]);
  });

  test("a list keeps its entry of a session that is made to live longer when the list cannot be stored", async () => {
    const { store: inner, records } = openStore();
    let first = "";
    let isTaken = false;
    const store = altered(
      { ...inner, traits: { ...inner.traits, maxBytes: 3840 } },
      {
        load: (load, key) => (isTaken && key === first ? Promise.reject(new Error("down")) : load(key)),
        save: (save, key, write) => {
          isTaken ||= key === first;
          return key === first ? "conflict" : save(key, write);
        },
      },
    );
    const { logIn } = devices({ store });
    const browsers = [];
    for (let n = 0; n < 13; n++) browsers.push(await logIn(n));
    [[first] = [""]] = [...records].filter(([, record]) => isPage(record));
    await browsers[12]!((session) => session.setTimeouts({ idle: 1e7 }));
    expect(isTaken).toBe(true);
    expect(unlisted(records)).toEqual([]);
  });

  test("a read and a write between touches ask the store nothing more", async () => {
    const { store, calls } = counted(openStore().store);
    const { logIn } = devices({ store });
    const phone = await logIn();
    calls.length = 0;
    await userOn(phone);
    await phone((session) => session.set("n", 1));
    expect(calls).toEqual(["load", "load", "change"]);
  });

  test("a touch is stored although the list cannot be looked at, and the event failed tells it", async () => {
    let isDown = false;
    const { store: inner, records } = openStore();
    const isListed = (key: string): boolean => isPage(records.get(key) ?? { fields: new Map() });
    const store = altered(inner, {
      load: (load, key) => (isDown && isListed(key) ? Promise.reject(new Error("down")) : load(key)),
    });
    const events: SessionEvent[] = [];
    const clock = fakeClock();
    const { logIn } = devices({ store, now: clock.now, touchInterval: 60, onEvent: (event) => events.push(event) });
    const phone = await logIn();
    isDown = true;
    clock.advance(80_000);
    expect(await userOn(phone)).toBe(ADA);
    expect(events).toContainEqual(
      expect.objectContaining({ type: "failed", during: "store", detail: expect.any(Error) }),
    );
    clock.advance(80_000);
    expect(await userOn(phone)).toBe(ADA);
  });

  test("after page 0 is lost, every session that is used is reached again, on whatever page it is", async () => {
    const clock = fakeClock();
    const { store: inner, records } = openStore();
    const store = { ...inner, traits: { ...inner.traits, maxBytes: 4000 } };
    const { users, logIn } = devices({ store, now: clock.now, touchInterval: 60 });
    const browsers = [];
    for (let n = 0; n < 60; n++) browsers.push(await logIn(n));
    const pages = [...records].filter(([, record]) => isPage(record));
    expect(pages.length).toBeGreaterThan(4);
    const first = pages.find(([, { fields }]) => !fields.get("@")?.startsWith("list 1 "));
    records.delete(first?.[0] ?? "");
    expect((await users.list(ADA)).length).toBeLessThan(60);
    clock.advance(61);
    for (const browser of browsers) await userOn(browser);
    expect(await users.list(ADA)).toHaveLength(60);
    expect(unlisted(records)).toEqual([]);
    losePages(records);
    clock.advance(61);
    for (const browser of browsers) await userOn(browser);
    expect(await users.revokeAll(ADA)).toBe(60);
    expect(new Set(await Promise.all(browsers.map(userOn)))).toEqual(new Set([undefined]));
  });

  test("memoryStore({ maxSessions }) that evicts lists gets them back", async () => {
    const clock = fakeClock();
    const { users, logIn, browser } = devices({
      store: memoryStore({ maxSessions: 12 }),
      now: clock.now,
      touchInterval: 60,
    });
    const phone = await logIn("phone");
    for (let n = 0; n < 8; n++) {
      clock.advance(61);
      await userOn(phone);
      await browser()((session) => session.set("n", n));
      expect(await users.list(ADA)).toHaveLength(1);
    }
  });
});

describe("how long a list is kept", () => {
  test("a list is kept for as long as any of its sessions, however long they are made to live, and rarely written for it", async () => {
    const clock = fakeClock();
    const { store: inner, records } = openStore();
    const kept = new Map<string, number>();
    const store = altered(inner, { save: (save, key, write) => (kept.set(key, write.expiresAt), save(key, write)) });
    const { users, logIn } = devices({ store, now: clock.now, absoluteTimeout: false, touchInterval: 0 });
    const phone = await logIn();
    const page = [...records].find(([, record]) => isPage(record))?.[0] ?? "";
    const assertKept = (): void => {
      const [key] = [...records].find(([, record]) => factsIn(record) !== undefined) ?? [];
      // By another clock, the session may expire later.
      expect(kept.get(page)).toBeGreaterThanOrEqual((kept.get(key ?? "") ?? Infinity) + 600_000);
    };
    let writes = 0;
    for (let hour = 0; hour < 100; hour++) {
      clock.advance(3600);
      const before = kept.get(page);
      await userOn(phone);
      if (kept.get(page) !== before) writes++;
      assertKept();
    }
    // A touch does not always write the page; that happens once in an idle timeout.
    expect(writes).toBeLessThanOrEqual(5);
    expect(writes).toBeGreaterThanOrEqual(3);
    await phone((session) => session.setTimeouts({ idle: 1e7, absolute: 1e8 }));
    assertKept();
    await phone((session) => session.regenerate({ reauthenticated: true }));
    assertKept();
    expect(await users.list(ADA)).toHaveLength(1);
  });

  test("a list is kept as long as a session that was last touched just before the list had to be stored", async () => {
    const clock = fakeClock();
    const { store: inner, records } = openStore();
    const kept = new Map<string, number>();
    const store = altered(inner, { save: (save, key, write) => (kept.set(key, write.expiresAt), save(key, write)) });
    const { logIn } = devices({ store, now: clock.now, absoluteTimeout: false, touchInterval: 0 });
    const phone = await logIn();
    const page = [...records].find(([, record]) => isPage(record))?.[0] ?? "";
    for (const seconds of [80_000, 5200, 1200, 1200]) {
      clock.advance(seconds);
      await userOn(phone);
      const [key] = [...records].find(([, record]) => factsIn(record) !== undefined) ?? [];
      expect(kept.get(page)).toBeGreaterThanOrEqual((kept.get(key ?? "") ?? Infinity) + 600_000);
    }
  });

  test("every page of a list is kept as long as its sessions, and the first as long as all", async () => {
    const clock = fakeClock();
    const { store: inner, records } = openStore();
    const kept = new Map<string, number>();
    const store = altered(
      { ...inner, traits: { ...inner.traits, maxBytes: 4000 } },
      { save: (save, key, write) => (kept.set(key, write.expiresAt), save(key, write)) },
    );
    const { logIn } = devices({ store, now: clock.now, absoluteTimeout: false, touchInterval: 0 });
    const browsers = [];
    for (let n = 0; n < 30; n++) browsers.push(await logIn(n));
    for (let day = 0; day < 5; day++) {
      clock.advance(80_000);
      for (const browser of browsers) await userOn(browser);
      const pages = [...records].filter(([, record]) => isPage(record)).map(([key]) => kept.get(key) ?? 0);
      const sessions = [...records].filter(([, record]) => !isPage(record)).map(([key]) => kept.get(key) ?? 0);
      expect(Math.min(...pages)).toBeGreaterThanOrEqual(Math.max(...sessions));
    }
    // A session on another page than the first. Only the first page contains the number of pages.
    for (const browser of browsers) {
      const { result: id } = await browser((session) => session.id());
      const record = records.get(keyOf(String(id)));
      if (factsIn(record!)?.lists[0]?.page === 0) continue;
      await browser((session) => session.setTimeouts({ idle: 1e7 }));
      const first = [...records].find(([, { fields }]) => /^list (?!1 )/.test(fields.get("@") ?? ""))?.[0];
      expect(kept.get(first ?? "")).toBeGreaterThanOrEqual(kept.get(keyOf(String(id))) ?? Infinity);
      break;
    }
  });
});

describe("what a list holds", () => {
  test("ids that rotateEvery has retired leave the list after twenty minutes, although they are followed for a day", async () => {
    const clock = fakeClock();
    const { store: inner, records } = openStore();
    const { store, calls } = counted(inner);
    const { users, logIn } = devices({ store, now: clock.now, rotateEvery: 300 });
    const phone = await logIn();
    for (let n = 0; n < 100; n++) {
      clock.advance(300);
      expect(await userOn(phone)).toBe(ADA);
    }
    expect(await users.list(ADA)).toHaveLength(1);
    // The id in use, and the ids of the last twenty minutes: every second request renews the id.
    expect(entriesOf(records)).toEqual([3]);
    calls.length = 0;
    await phone((session) => session.destroy());
    expect(calls.length).toBeLessThan(25);
    clock.advance(1200);
    expect(await users.list(ADA)).toEqual([]);
    expect(entriesOf(records)).toEqual([]);
  });

  test("an id that was retired with a grace stays in the list for twenty minutes, to the second", async () => {
    const clock = fakeClock();
    const { store, records } = openStore();
    const { users, logIn } = devices({ store, now: clock.now });
    const phone = await logIn();
    await phone((session) => session.regenerate({ grace: 3600 }));
    for (const [seconds, entries] of [
      [1199, 2],
      [1, 1],
    ] as const) {
      clock.advance(seconds);
      expect(await users.list(ADA)).toHaveLength(1);
      expect(entriesOf(records)).toEqual([entries]);
    }
  });

  test("bind() drops what is over from a full page before it adds one", async () => {
    const clock = fakeClock();
    const { store: inner, records } = openStore();
    const store = { ...inner, traits: { ...inner.traits, maxBytes: 4000 } };
    const { users, logIn } = devices({ store, now: clock.now });
    // Many more logins than a page can hold, but only a few sessions exist at a time.
    for (let day = 0; day < 200; day++) {
      await logIn(day);
      clock.advance(50_000);
    }
    expect([...records.values()].filter(isPage).length).toBeLessThanOrEqual(2);
    expect(await users.list(ADA)).toHaveLength(1);
    clock.advance(86_400);
    await users.list(ADA);
    expect(entriesOf(records).reduce((all, each) => all + each, 0)).toBe(0);
  });
});
