import { readdir } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import {
  memoryStore,
  type Session,
  SessionManager,
  type SessionOptions,
  type SessionStore,
  withSession,
} from "../mod.ts";
import { fileStore } from "../src/stores/file.ts";
import { cookieJar, fakeClock } from "../src/testing.ts";
import { altered, codeOf, counted, gate, idIn, keyOf, openStore } from "./setup/sessions.ts";
import { SHOP, temporaryDirectory, visitor } from "./setup/sessions.ts";

/** Each test is named for what others fell into, and must not happen here. test/pitfalls.md has the rest of the list. */

const ESTABLISHED = "established";
const GUESS = "A".repeat(32);
const SECRET = "a secret of at least thirty-two bytes";

function withCookie(value: string, name = "__Host-session"): { headers: Record<string, string> } {
  return { headers: { Cookie: `${name}=${value}` } };
}

/** A client with a session that holds something, and what is behind it. */
async function established(options: SessionOptions = {}) {
  const { store, records } = openStore();
  const { store: watched, calls } = counted(store);
  const clock = fakeClock();
  const jar = cookieJar({ now: clock.now });
  const settings: SessionOptions = { store: watched, now: clock.now, ...options };
  const send = visitor(settings, { jar });
  const { cookies } = await send((session) => session.set("kept", ESTABLISHED));
  const id = idIn(cookies) ?? "";
  calls.length = 0;
  return { store, records, calls, clock, jar, settings, send, id };
}

describe("Losing or reviving data", () => {
  test("set() does not erase what another request set when both loaded before", async () => {
    const { send } = await established();
    await send(async (session) => {
      await session.get("kept");
      await send((other) => other.set("theirs", 1));
      session.set("ours", 2);
    });
    const { result } = await send((session) => session.all());
    expect(result).toEqual({ kept: ESTABLISHED, theirs: 1, ours: 2 });
  });

  test("update() does not lose the first when it is called twice in one request", async () => {
    const { send } = await established();
    await send(async (session) => {
      await Promise.all([1, 2].map(() => session.update("count", async (n = 0) => n + 1)));
      await session.update("count", (n = 0) => n + 1);
    });
    expect((await send((session) => session.get("count"))).result).toBe(3);
  });

  test.each<[string, (session: Session) => unknown]>([
    ["set()", (session) => session.set("late", true)],
    ["update()", (session) => session.update("late", () => true)],
    ["flash()", (session) => session.flash("late", true)],
    ["touch()", (session) => session.touch()],
    ["setTimeouts()", (session) => session.setTimeouts({ idle: 1e6 })],
    ["regenerate()", (session) => session.regenerate()],
    ["start()", (session) => session.start()],
    ["reading, and the touch that comes with it,", (session) => session.get("kept")],
  ])("%s does not bring a session back when another request has logged out meanwhile", async (_name, act) => {
    const { send, records, clock, id } = await established();
    clock.advance(43_200);
    const slow = await send(async (session) => {
      await session.get("kept");
      await send((other) => other.destroy());
      await act(session);
    });
    expect(records.size).toBe(0);
    expect(slow.cookies).toEqual([]);
    const { result, cookies } = await send(
      async (session) => [await session.id(), await session.get("kept")],
      withCookie(id),
    );
    expect([result, cookies]).toEqual([[null, undefined], []]);
  });

  test("regenerate() does not retire the old record before the new one is stored", async () => {
    const { send, settings, store, records, id } = await established();
    const create = async (): Promise<never> => {
      throw new Error("The disk is full");
    };
    const failing = visitor({ ...settings, store: altered(store, { create }) });
    expect(await codeOf(() => failing((session) => session.regenerate(), withCookie(id)))).toBe("ERR_STORE");
    expect(records.size).toBe(1);
    expect((await send((session) => session.get("kept"))).result).toBe(ESTABLISHED);
  });

  test("regenerate() does not leave the old id valid", async () => {
    const { settings, send, id } = await established();
    await send((session) => session.regenerate());
    const thief = visitor(settings);
    const { result } = await thief(async (session) => [await session.id(), await session.size()], withCookie(id));
    expect(result).toEqual([null, 0]);
  });

  test("regenerate() does not drop the data", async () => {
    const { send, id } = await established();
    const { cookies } = await send((session) => session.regenerate());
    expect(idIn(cookies)).not.toBe(id);
    expect((await send((session) => session.all())).result).toEqual({ kept: ESTABLISHED });
  });

  test("regenerate() does not take over another's record when the generator gives its id", async () => {
    const others = await established();
    const ids = ["B".repeat(32), others.id, "C".repeat(32)];
    const send = visitor({ ...others.settings, generateId: () => ids.shift() ?? "" });
    await send((session) => session.set("mine", true));
    const { cookies } = await send((session) => session.regenerate());
    expect(idIn(cookies)).toBe("C".repeat(32));
    expect((await others.send((session) => session.all())).result).toEqual({ kept: ESTABLISHED });
  });

  test.each<[string, (session: Session) => unknown]>([
    ["at once", () => {}],
    ["after a save", (session) => session.save()],
  ])("destroy() does not leave the old id alive when it follows regenerate() %s", async (_when, between) => {
    const { settings, store, send, id } = await established();
    const { result: heir, cookies } = await send(async (session) => {
      await session.regenerate({ grace: 60 });
      const next = await session.id();
      await between(session);
      await session.destroy();
      return next;
    });
    expect(cookies).toHaveLength(1);
    expect(cookies[0]).toContain("Max-Age=0");
    for (const each of [id, heir ?? ""]) {
      const { result } = await visitor(settings)((session) => session.id(), withCookie(each));
      expect(result).toBeNull();
    }
    expect(await store.load(keyOf(heir ?? ""))).toBeNull();
  });

  test("destroy() does not leave the record when nothing was read before", async () => {
    const { send, records } = await established();
    expect(records.size).toBe(1);
    await send((session) => session.destroy());
    expect(records.size).toBe(0);
  });

  test("a response does not go out before its session is stored, nor when that fails", async () => {
    const { settings, store, id } = await established();
    const { opened, open } = gate();
    const change: SessionStore["change"] = async (...args) => {
      await opened;
      return store.change(...args);
    };
    let isAnswered = false;
    const slow = visitor({ ...settings, store: { ...store, change } })(
      (session) => session.set("n", 1),
      withCookie(id),
    );
    const answered = slow.then(() => (isAnswered = true));
    const { result } = await visitor(settings)((session) => session.get("n"), withCookie(id));
    expect([result, isAnswered]).toEqual([undefined, false]);
    open();
    await answered;
    expect((await visitor(settings)((session) => session.get("n"), withCookie(id))).result).toBe(1);

    const fail = async (): Promise<never> => {
      throw new Error("No");
    };
    const failing = visitor({ ...settings, store: { ...store, change: fail } });
    expect(await codeOf(() => failing((session) => session.set("n", 2), withCookie(id)))).toBe("ERR_STORE");
  });

  test("memoryStore() does not show another request what is not stored yet", async () => {
    const send = visitor({ store: memoryStore() });
    await send((session) => session.set("list", [1]));
    await send(async (session) => {
      (await session.get("list")).push(2);
      expect((await send((other) => other.get("list"))).result).toEqual([1]);
    });
    expect((await send((session) => session.get("list"))).result).toEqual([1, 2]);
  });

  test("a change inside an object does not go unnoticed", async () => {
    const { send } = await established();
    await send((session) => session.set("basket", { items: new Map([["pear", { quantity: 1 }]]) }));
    await send(async (session) => {
      (await session.get("basket")).items.get("pear").quantity++;
    });
    const { result } = await send((session) => session.get("basket"));
    expect(result).toEqual({ items: new Map([["pear", { quantity: 2 }]]) });
  });

  test("a session does not look changed when only time has passed", async () => {
    const { send, calls, clock } = await established();
    await send((session) => session.set("basket", { at: new Date(0) }));
    calls.length = 0;
    for (let second = 0; second < 3; second++) {
      clock.advance(1);
      const { cookies } = await send(async (session) => {
        await session.get("basket");
        session.set("kept", ESTABLISHED);
      });
      expect(cookies).toEqual([]);
    }
    expect(calls).toEqual(["load", "load", "load"]);
  });

  test("fileStore() does not rewrite the data when a session is touched", async () => {
    const directory = await temporaryDirectory();
    const { send, clock, id } = await established({ store: fileStore({ directory }) });
    const dataName = async (): Promise<string[]> => {
      const folder = join(directory, keyOf(id));
      const [head = ""] = await readdir(folder);
      return readdir(join(folder, head));
    };
    const before = await dataName();
    expect(before).toHaveLength(1);
    clock.advance(43_200);
    const { cookies } = await send((session) => session.get("kept"));
    expect(idIn(cookies)).toBe(id);
    expect(await dataName()).toEqual(before);
  });
});

describe("Letting someone in", () => {
  test.each([
    ["the cookie", {}, withCookie(GUESS)],
    ["the header", { header: "X-Session-Id" }, { headers: { "X-Session-Id": GUESS } }],
  ])("an id that a client made up in %s does not become a session", async (_where, options, init) => {
    const { settings, store } = await established();
    const { response, cookies, result } = await visitor({ ...settings, ...options })(async (session) => {
      session.set("user", "victim");
      return session.start();
    }, init);
    expect(result).not.toBe(GUESS);
    expect(idIn(cookies) ?? response.headers.get("X-Session-Id")).toBe(result);
    expect(await store.load(keyOf(GUESS))).toBeNull();
  });

  test("an ended session does not stay as an empty record whose id is taken up again", async () => {
    const { settings, send, store, id } = await established();
    await send((session) => session.destroy());
    expect(await store.load(keyOf(id))).toBeNull();
    const { result } = await visitor(settings)((session) => session.start(), withCookie(id));
    expect(result).not.toBe(id);
    expect(await store.load(keyOf(id))).toBeNull();
  });

  test("no id is in the store, not even of a regenerated session", async () => {
    const { send, records, id } = await established();
    const { cookies } = await send((session) => session.regenerate({ grace: 60 }));
    const heir = idIn(cookies) ?? "";
    expect(heir).toMatch(/^[\w-]{32}$/);
    const everything = JSON.stringify([...records].map(([key, { fields, ...record }]) => [key, [...fields], record]));
    expect(everything).toContain(keyOf(heir));
    expect(everything).not.toContain(id);
    expect(everything).not.toContain(heir);
  });

  test("an encrypted record is not taken for a plain one, nor a plain one for an encrypted", async () => {
    for (const encrypt of [false, true]) {
      const { settings, send, id } = await established({ encrypt });
      expect((await send((session) => session.get("kept"))).result).toBe(ESTABLISHED);
      const { result } = await visitor({ ...settings, encrypt: !encrypt })((session) => session.id(), withCookie(id));
      expect(result).toBeNull();
    }
  });

  test("an encrypted record is not read when a single character was changed", async () => {
    const { send, records, id } = await established({ encrypt: true });
    const record = records.get(keyOf(id));
    const [name, text] = [...record!.fields].find(([field]) => field !== "@") ?? ["", ""];
    expect(text.length).toBeGreaterThan(40);
    const altered = text.slice(0, 30) + (text[30] === "A" ? "B" : "A") + text.slice(31);
    records.set(keyOf(id), { ...record!, fields: new Map(record!.fields).set(name, altered) });
    expect((await send((session) => session.id())).result).toBeNull();
    records.set(keyOf(id), record!);
    expect((await send((session) => session.get("kept"))).result).toBe(ESTABLISHED);
  });

  test("secrets are not cut to eight bits a character", async () => {
    const wide = "\u0141\u0142\u0143\u0144".repeat(8);
    const { settings, send } = await established({ secrets: [wide] });
    const { result: id } = await send((session) => session.id());
    const narrow = visitor({ ...settings, secrets: ["\u0041\u0042\u0043\u0044".repeat(8)] });
    expect((await narrow((session) => session.id(), withCookie(id ?? ""))).result).toBeNull();
  });

  test("there is no default key, and no empty secret is taken", () => {
    for (const secrets of [[], [""], [SECRET, ""], ["secret"], [SECRET, "old"]]) {
      expect(() => visitor({ secrets })).toThrow(/secrets/);
    }
  });

  test("a signature is not taken for another id", async () => {
    const { settings, send } = await established({ secrets: [SECRET] });
    const { result: mine } = await send((session) => session.id());
    const other = visitor(settings);
    const { result: theirs } = await other((session) => session.start());
    const [signature, id] = [mine?.split(".")[1], theirs.split(".")[0]];
    expect([signature, id].every((part) => (part ?? "").length >= 22)).toBe(true);
    const { result } = await visitor(settings)((session) => session.id(), withCookie(`${id}.${signature}`));
    expect(result).toBeNull();
  });

  test("a session does not live for ever because its timeouts begin anew with every load", async () => {
    const { send, clock } = await established({ idleTimeout: 3600, absoluteTimeout: 86_400 });
    await send((session) => session.setTimeouts({ idle: 7200, cookie: 1e6 }));
    for (let hour = 1; hour < 24; hour++) {
      clock.advance(3600);
      expect((await send((session) => session.get("kept"))).result).toBe(ESTABLISHED);
    }
    clock.advance(3600);
    expect((await send((session) => session.id())).result).toBeNull();
  });

  test("a cookie is not used as the name of a file", async () => {
    const directory = await temporaryDirectory();
    const { store, calls } = counted(fileStore({ directory: join(directory, "sessions") }));
    const send = visitor({ store });
    for (const value of ["../../../etc/passwd", "..%2F..%2Fetc", ".", "..", "a/b", "a\\b", "C:\\", "a".repeat(5000)]) {
      expect((await send((session) => session.id(), withCookie(value))).result).toBeNull();
    }
    expect(calls).toEqual([]);
    const { cookies } = await send((session) => session.set("a", 1), withCookie("../escape"));
    expect(await readdir(join(directory, "sessions"))).toEqual([keyOf(idIn(cookies) ?? "")]);
    expect(await readdir(directory)).toEqual(["sessions"]);
  });

  test("an id does not follow from the clock or the request, and has no less than 128 bits", async () => {
    const send = visitor({ now: () => 0 });
    const ids = await Promise.all(
      Array.from({ length: 50 }, async () => {
        const { cookies } = await send((session) => session.start(), { headers: { Cookie: "other=1" } });
        return idIn(cookies) ?? "";
      }),
    );
    expect(new Set(ids).size).toBe(50);
    // 32 of 64 characters are 192 bits. Every place varies, or some of them would be no part of the chance.
    for (let place = 0; place < 32; place++) expect(new Set(ids.map((id) => id[place])).size).toBeGreaterThan(10);
    expect(ids.every((id) => /^[\w-]{32}$/.test(id))).toBe(true);
    await expect(visitor({ generateId: () => "short" })((session) => session.start())).rejects.toThrow(TypeError);
  });

  test.each([
    ["percent-encoded", "%5F%5FHost-session"],
    ["with an encoded blank", "%20__Host-session"],
    ["behind a no-break space", "\u00a0__Host-session"],
    ["before a no-break space", "__Host-session\u00a0"],
    ["in other letters", "__host-session"],
    ["quoted", '"__Host-session"'],
    ["without its prefix", "session"],
  ])("a cookie name %s is not taken for the one with the prefix", async (_how, name) => {
    const { settings, id } = await established();
    const send = visitor(settings);
    expect((await send((session) => session.id(), withCookie(id, " \t__Host-session\t "))).result).toBe(id);
    expect((await send((session) => session.id(), withCookie(id, name))).result).toBeNull();
  });

  test("no id and no data get into errors or events", async () => {
    const { settings, store, id } = await established();
    const heard: unknown[] = [];
    const chatty = (key: string, ...args: unknown[]): Promise<never> => {
      throw Object.assign(new Error(`SET ${key} ${JSON.stringify(args)} ${ESTABLISHED}`), { command: [key, id] });
    };
    const verbs = { change: chatty, touch: chatty, create: chatty, delete: chatty } as const;
    const send = visitor({ ...settings, store: { ...store, ...verbs }, observe: (event) => heard.push(event) });
    for (const act of [
      (session: Session) => session.set("password", "hunter2"),
      (session: Session) => session.touch(),
      (session: Session) => session.regenerate(),
      (session: Session) => session.destroy(),
      (session: Session) => session.set("password", { of: "hunter2", call() {} }),
    ]) {
      await send(act, withCookie(id)).catch((error: unknown) => heard.push(error));
    }
    expect(heard.length).toBeGreaterThanOrEqual(9);
    const text = heard.map((each) => describeWhole(each)).join("\n");
    expect(text).toContain("SessionError");
    for (const secret of [id, keyOf(id), ESTABLISHED, "hunter2"]) expect(text).not.toContain(secret);
  });

  test("a response with a Set-Cookie of ours is not kept by a cache", async () => {
    const { response } = await visitor()((session) => {
      session.set("a", 1);
      return new Response("for all", { headers: { "Cache-Control": "public, max-age=3600" } });
    });
    expect(response.headers.get("Cache-Control")).toBe("no-store");
    expect(response.headers.getSetCookie()).toHaveLength(1);
  });

  test.each<[string, (session: Session) => unknown]>([
    ["get()", (session) => session.get("kept")],
    ["has()", (session) => session.has("kept")],
    ["keys()", (session) => session.keys()],
    ["size()", (session) => session.size()],
    ["all()", (session) => session.all()],
    ["id()", (session) => session.id()],
    ["info()", (session) => session.info()],
  ])("a response that depends on %s is not kept by a cache for others", async (_name, act) => {
    const { send, settings } = await established();
    for (const visit of [send, visitor(settings)]) {
      const { response } = await visit(act);
      expect([response.headers.get("Vary"), response.headers.get("Cache-Control")]).toEqual(["Cookie", "private"]);
    }
  });

  test("a thousand made-up ids do not make a thousand records", async () => {
    const { settings, records, calls } = await established({ secrets: [SECRET] });
    const send = visitor(settings);
    for (let guess = 0; guess < 1000; guess++) {
      await send((session) => session.get("kept"), withCookie(`${guess}`.padStart(32, "0")));
    }
    expect([records.size, calls]).toEqual([1, []]);
  });
});

describe("Doing too much", () => {
  test("a visitor who never used the session does not cost a store call or get a cookie", async () => {
    const { send, settings, calls, clock } = await established();
    clock.advance(43_200);
    for (const visit of [send, visitor(settings)]) expect((await visit(() => {})).cookies).toEqual([]);
    expect(calls).toEqual([]);
  });

  test("a read does not cost a write", async () => {
    const { send, calls, clock } = await established();
    for (let minute = 0; minute < 100; minute++) {
      clock.advance(60);
      await send((session) => session.get("kept"));
    }
    expect(calls.filter((call) => call !== "load")).toEqual([]);
  });

  test("a miss is not asked for again, and nothing is looked up before it is created", async () => {
    const { settings, calls } = await established();
    await visitor(settings)(async (session) => {
      for (const key of ["a", "b", "a"]) await session.get(key);
      await session.all();
    }, withCookie(GUESS));
    expect(calls.splice(0)).toEqual(["load"]);
    await visitor(settings)((session) => session.set("a", 1));
    expect(calls).toEqual(["create"]);
  });

  test("a store is not opened by requests that do not use it, and once by one that does", async () => {
    let opened = 0;
    const store = memoryStore();
    const open = (): SessionStore => {
      opened++;
      return store;
    };
    const send = visitor({ store: open });
    await send(() => {});
    await send((session) => session.get("a"));
    expect(opened).toBe(0);
    await send((session) => session.set("a", 1));
    expect(opened).toBe(1);
    await send(async (session) => [
      await session.get("a"),
      await session.update("a", (n) => n + 1),
      await session.save(),
    ]);
    expect(opened).toBe(2);
  });
});

describe.each(["withSession", "Hono"] as const)("Breaking the response, with %s", (through) => {
  const begin = (session: Session): void => session.set("a", 1);

  test.each<[string, () => Response | Promise<Response>]>([
    ["a redirect", () => Response.redirect(`${SHOP}account`, 303)],
    ["a raw Response", () => new Response("raw", { headers: { "X-Own": "1" } })],
    ["an error response", () => new Response("no", { status: 500 })],
    ["a response without a body", () => new Response(null, { status: 204 })],
    ["a fetched response", fetched],
  ])("%s does not lose the cookie", async (_what, respond) => {
    const send = visitor({}, { through });
    const expected = await respond();
    const { response, cookies } = await send((session) => {
      begin(session);
      return respond();
    });
    expect([response.status, await response.text()]).toEqual([expected.status, await expected.text()]);
    expect(cookies).toHaveLength(1);
    expect(idIn(cookies)).toMatch(/^[\w-]{32}$/);
    for (const name of ["Location", "X-Own"]) expect(response.headers.get(name)).toBe(expected.headers.get(name));
  });

  test("no two Set-Cookie have the session's name, and no other is lost or merged", async () => {
    const { settings } = await established();
    const { cookies } = await visitor(settings, { through })(async (session) => {
      session.set("a", 1);
      await session.save();
      await session.regenerate();
      await session.save();
      await session.destroy();
      session.set("b", 2);
      const headers = new Headers([
        ["Set-Cookie", "one=1; Expires=Thu, 01 Jan 2099 00:00:00 GMT"],
        ["Set-Cookie", "two=2"],
      ]);
      return new Response("", { headers });
    });
    expect(cookies.map((line) => line.split("=")[0])).toEqual(["one", "two", "__Host-session"]);
    expect(cookies[0]).toBe("one=1; Expires=Thu, 01 Jan 2099 00:00:00 GMT");
  });

  test("a logout does not leave the cookie, whatever its Path, Domain and Partitioned", async () => {
    const cookie = {
      name: "shop",
      path: "/shop",
      domain: "shop.example",
      sameSite: "None",
      partitioned: true,
    } as const;
    const jar = cookieJar();
    const send = visitor({ cookie }, { jar, through });
    const url = `${SHOP}shop/`;
    await send(begin, { url });
    expect(jar.cookies()).toHaveLength(1);
    const { cookies } = await send((session) => session.destroy(), { url });
    expect(jar.cookies()).toEqual([]);
    for (const part of ["Path=/shop", "Domain=shop.example", "Partitioned", "Secure", "Max-Age=0"]) {
      expect(cookies[0]?.split("; ")).toContain(part);
    }
  });

  test("a cookie that browsers drop is not sent", async () => {
    const send = visitor({ cookie: { name: "n".repeat(4090) } }, { through });
    expect(await codeOf(() => send(begin))).toBe("ERR_COOKIE_TOO_LARGE");
  });

  test("a stream is not held back to set a header", async () => {
    const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
    const { response, cookies } = await visitor(
      {},
      { through },
    )((session) => {
      begin(session);
      return new Response(readable);
    });
    expect(cookies).toHaveLength(1);
    const writer = writable.getWriter();
    const reader = response.body!.getReader();
    for (const word of ["first", "second"]) {
      const written = writer.write(new TextEncoder().encode(word));
      expect(new TextDecoder().decode((await reader.read()).value)).toBe(word);
      await written;
    }
    const closed = writer.close();
    expect((await reader.read()).done).toBe(true);
    await closed;
  });
});

test("Breaking the response: an upgrade to another protocol does not fail", async () => {
  // Node makes no such Response; in workerd the answer to an upgrade is one.
  const upgrade = new Proxy(new Response(null), {
    get: (target, name) => (name === "status" ? 101 : Reflect.get(target, name, target)),
  });
  const handle = withSession(async (_request, session) => {
    await session.get("a");
    return upgrade;
  });
  expect((await handle(new Request(SHOP))).status).toBe(101);
});

describe("Outages", () => {
  const down = async (): Promise<never> => {
    throw new Error("connection refused");
  };

  test.each(["throw", "anonymous"] as const)(
    "an outage does not log anybody out or overwrite a record, under onStoreError: %s",
    async (onStoreError) => {
      const { settings, send, store, records, id } = await established();
      const before = records.get(keyOf(id));
      const verbs = { load: down, create: down, change: down, touch: down, delete: down };
      const outage = visitor({ ...settings, store: { ...store, ...verbs }, onStoreError });
      const act = async (session: Session): Promise<void> => {
        session.set("basket", []);
        await session.get("kept");
      };
      const answered = await outage(act, withCookie(id)).catch(() => undefined);
      expect(answered?.cookies).toEqual(onStoreError === "throw" ? undefined : []);

      // Only reading fails, so that a write could get through.
      const halfway = visitor({ ...settings, store: { ...store, load: down }, onStoreError });
      await halfway(act, withCookie(id)).catch(() => {});
      expect([records.size, records.get(keyOf(id))]).toEqual([1, before]);
      expect((await send((session) => session.get("kept"))).result).toBe(ESTABLISHED);
    },
  );

  test("corrupt data do not fail every request for ever, and are not overwritten", async () => {
    for (const spoiled of ["", "{", "null", '{"format":1}', "[]"]) {
      const { send, records, id } = await established();
      const key = keyOf(id);
      const record = {
        ...records.get(key)!,
        fields: new Map([
          ["@", spoiled],
          ["=kept", "{"],
        ]),
      };
      records.set(key, record);
      expect((await send((session) => session.get("kept"))).result).toBeUndefined();
      const { cookies } = await send((session) => session.set("kept", "anew"));
      expect(idIn(cookies)).not.toBe(id);
      expect(records.get(key)).toBe(record);
      expect((await send((session) => session.get("kept"))).result).toBe("anew");
    }
  });

  test("seconds are not taken for milliseconds or minutes, nor an instant for a duration", async () => {
    const { store } = openStore();
    const expiries: unknown[] = [];
    const create: SessionStore["create"] = (key, record, expiresAt) => {
      expiries.push(expiresAt);
      return store.create(key, record, expiresAt);
    };
    const clock = fakeClock(1_000_000_000_000);
    const jar = cookieJar({ now: clock.now });
    const send = visitor({ store: { ...store, create }, idleTimeout: 60, now: clock.now }, { jar });
    const { cookies, result } = await send(async (session) => {
      session.set("a", 1);
      return session.info();
    });
    expect(cookies[0]).toContain("; Max-Age=60;");
    expect([result.expiresAt, expiries]).toEqual([1_000_000_060_000, [1_000_000_060_000]]);
    clock.advance(59.999);
    const alive = new SessionManager({ store, now: clock.now, idleTimeout: 60 });
    expect(await alive.open(idIn(cookies) ?? "").id()).not.toBeNull();
    clock.advance(0.001);
    expect(await alive.open(idIn(cookies) ?? "").id()).toBeNull();
  });
});

/** A response as it comes from a server: its headers are immutable. */
async function fetched(): Promise<Response> {
  const server = createServer((_request, response) => response.setHeader("X-Own", "far").end("from afar"));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void server.close());
  const { port } = server.address() as AddressInfo;
  const response = await fetch(`http://127.0.0.1:${port}/`);
  expect(() => response.headers.set("X-Own", "1")).toThrow(TypeError);
  return response;
}

/** All that can be seen of a value: its properties, hidden ones too, and those of what it refers to. */
function describeWhole(value: unknown, seen = new Set<unknown>()): string {
  if (typeof value !== "object" || value === null || seen.has(value)) return String(value);
  seen.add(value);
  const own = Reflect.ownKeys(value).map((key) => `${String(key)}: ${describeWhole(Reflect.get(value, key), seen)}`);
  return `${String(value)} { ${own.join(", ")} }`;
}
