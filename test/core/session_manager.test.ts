import { readdir } from "node:fs/promises";
import { describe, expect, test } from "vitest";
import { memoryStore, type Plugin, type PluginHost, type Repository, type Session } from "../../mod.ts";
import { type SessionEvent, SessionManager, withSession, wrapRepository } from "../../mod.ts";
import { internalsOf } from "../../src/core/session_internals.ts";
import { signedIds } from "../../src/signed_ids.ts";
import { fileStore } from "../../src/stores/file.ts";
import { fakeClock, faultyStore } from "../../src/testing.ts";
import {
  altered,
  codeOf,
  counted,
  failing,
  gate,
  openStore,
  SHOP,
  temporaryDirectory,
  VERBS,
} from "../setup/sessions.ts";

interface Data {
  n: number;
  seen: number;
}

/** A request with the cookie or header that a response has set. */
function next(headers: Headers): Request {
  return new Request(SHOP, { headers: { Cookie: headers.get("Set-Cookie")?.split(";")[0] ?? "" } });
}

/** A manager with a session, and the headers that sent its id to a client. */
async function begun(options: ConstructorParameters<typeof SessionManager<Data>>[0] = {}) {
  const sessions = new SessionManager<Data>(options);
  const session = sessions.start(new Request(SHOP));
  session.set("n", 1);
  const headers = await sessions.commit(session);
  return { sessions, session, headers, id: (await session.id()) ?? "" };
}

describe("start()", () => {
  test("[35] start, modify, persist by hand: a change alone never reaches the store", async () => {
    const { sessions, headers } = await begun();
    const changed = sessions.start(next(headers));
    changed.set("n", 2);
    expect(await sessions.start(next(headers)).get("n")).toBe(1);
    await changed.save();
    expect(await sessions.start(next(headers)).get("n")).toBe(2);
  });

  test("gives the same session for the same Request, and the handler's own within withSession()", async () => {
    const sessions = new SessionManager();
    const request = new Request(SHOP);
    expect(sessions.start(request)).toBe(sessions.start(request));
    const handler = withSession(
      (request, session) => new Response(String(sessions.start(request) === session)),
      sessions,
    );
    expect(await (await handler(request)).text()).toBe("true");
  });

  test("gives another session once the first was committed", async () => {
    const { sessions, headers } = await begun();
    const request = next(headers);
    const first = sessions.start(request);
    await sessions.commit(first);
    const second = sessions.start(request);
    expect(second).not.toBe(first);
    expect(await second.get("n")).toBe(1);
    // A session that was used and then committed is not returned again either.
    await sessions.commit(second);
    expect(sessions.start(request)).not.toBe(second);
  });

  test("gives the handler's session after the response, so that a stream changes it or learns that it cannot", async () => {
    const sessions = new SessionManager<{ n: number }>();
    const begin = withSession(async (_request, session) => new Response(await session.create()), sessions);
    const read = withSession(() => new Response(), sessions);
    const used = new Request(SHOP);
    const { headers } = await begin(used);
    expect(await sessions.start(used).update("n", (n = 0) => n + 1)).toBe(1);
    expect(await sessions.start(next(headers)).get("n")).toBe(1);
    const unused = new Request(SHOP);
    await read(unused);
    await expect(sessions.start(unused).update("n", () => 1)).rejects.toMatchObject({ code: "ERR_RESPONSE_SENT" });
    // A second call with the same Request is another request.
    const again = withSession(
      (request, session) => new Response(String(sessions.start(request) === session)),
      sessions,
    );
    expect(await (await again(unused)).text()).toBe("true");
  });

  test("gives the handler's session at each moment while the session is stored and the response is made", async () => {
    const sessions = new SessionManager({ store: openStore().store });
    const given = new Set<Session>();
    const handle = withSession(async (request, session) => {
      await session.create();
      void (async () => {
        for (let turn = 0; turn < 200; turn++) {
          given.add(sessions.start(request));
          await undefined;
        }
      })();
      return new Response();
    }, sessions);
    const request = new Request(SHOP);
    await handle(request);
    expect(given.size).toBe(1);
    expect(given.has(sessions.start(request))).toBe(true);
  });

  test.each([
    ["a handler has failed", () => Promise.reject(new Error("failed"))],
    [
      "its session could not be stored",
      (_request: Request, session: Session) => {
        session.set("n", 1);
        return new Response();
      },
    ],
  ])("gives another session after %s", async (_name, handler) => {
    let isDown = true;
    const sessions = new SessionManager({ store: failing(openStore().store, VERBS, () => isDown) });
    const request = new Request(SHOP);
    await expect(withSession(handler, sessions)(request)).rejects.toThrow("fail");
    isDown = false;
    const session = sessions.start(request);
    session.set("notice", "Sorry");
    expect((await sessions.respond(session, new Response())).headers.has("Set-Cookie")).toBe(true);
  });

  test.each([undefined, null, {}, { headers: null }, { headers: {} }, "https://shop.example/"])(
    "throws a TypeError when it gets %j in place of a Request",
    (request) => {
      expect(() => new SessionManager().start(request as unknown as Request)).toThrow(
        new TypeError("sessions.start takes a Request"),
      );
    },
  );

  test.each(["req", "request"])(
    "throws a TypeError when it gets an event that has the Request as %s, and headers",
    (name) => {
      const request = new Request(SHOP);
      const event = { [name]: request, headers: request.headers, url: new URL(SHOP) };
      expect(() => Reflect.apply(SessionManager.prototype.start, new SessionManager(), [event])).toThrow(
        new TypeError(`sessions.start takes a Request, not an event that has one: pass its ${name}`),
      );
    },
  );
});

test("withSession() begins anew when a Request is handled twice", async () => {
  const handler = withSession(
    async (_request, session) => new Response(`${await session.update("n", (n = 0) => n + 1)}`),
  );
  const request = new Request(SHOP);
  expect(await (await handler(request)).text()).toBe("1");
  expect(await (await handler(request)).text()).toBe("1");
});

describe("open()", () => {
  test("[57] works with no Request at all: update() and destroy() take effect at once, the rest at save()", async () => {
    const { sessions, id } = await begun({ ids: signedIds({ secrets: ["a secret for tests, 32 bytes long"] }) });
    const socket = sessions.open(id);
    expect(await socket.update("seen", (n = 0) => n + 1)).toBe(1);
    expect(await sessions.open(id).get("seen")).toBe(1);
    socket.set("n", 2);
    expect(await sessions.open(id).get("n")).toBe(1);
    await socket.save();
    expect(await sessions.open(id).get("n")).toBe(2);
    expect([...(await sessions.commit(socket))]).toEqual([["cache-control", "private"]]);

    await sessions.open(id).destroy();
    expect(await sessions.open(id).id()).toBeNull();
  });

  test("destroy() throws ERR_STORE if the store fails, and save() ends the session then", async () => {
    const store = faultyStore(memoryStore());
    const { sessions, id } = await begun({ store });
    const session = sessions.open(id);
    store.plan({ delete: "rejects" });
    expect(await codeOf(() => session.destroy())).toBe("ERR_STORE");
    store.plan({});
    expect(await sessions.open(id).get("n")).toBe(1);
    await session.save();
    expect(await sessions.open(id).id()).toBeNull();
  });

  test("destroy() of an id that opens no session, and a save() after destroy(), change nothing", async () => {
    const { store, calls } = counted(memoryStore());
    const { sessions, id } = await begun({ store });
    const session = sessions.open(id);
    calls.length = 0;
    await session.destroy();
    await session.save();
    expect(calls).toEqual(["load", "delete"]);
    await sessions.open(id).destroy();
    expect(calls).toEqual(["load", "delete", "load"]);
  });

  test("hands on what the store's function takes", async () => {
    const store = openStore().store;
    const asked: unknown[] = [];
    const sessions = new SessionManager({ store: (env: string) => (asked.push(env), store) });
    await sessions.open("a".repeat(32), "env").size();
    expect(asked).toEqual(["env"]);
  });

  test.each([undefined, null, 12, {}])("throws a TypeError when the id is %j", (id) => {
    expect(() => new SessionManager().open(id as unknown as string)).toThrow(TypeError);
  });
});

describe("commit()", () => {
  test("answers no headers for a session that nobody used, and what caches must know for one that was read", async () => {
    const sessions = new SessionManager();
    expect([...(await sessions.commit(sessions.start(new Request(SHOP))))]).toEqual([]);
    const read = sessions.start(new Request(SHOP));
    await read.has("a");
    expect([...(await sessions.commit(read))]).toEqual([
      ["cache-control", "private"],
      ["vary", "Cookie"],
    ]);
  });

  test("closes the session: what comes later is stored at once, and the client is told nothing more", async () => {
    const { sessions, session, id } = await begun();
    expect(await session.update("n", (n = 0) => n + 1)).toBe(2);
    expect(await sessions.open(id).get("n")).toBe(2);
    expect(await codeOf(() => session.regenerate())).toBe("ERR_RESPONSE_SENT");
  });

  test("stores later when it gets a waitUntil and persist says so", async () => {
    const { sessions, headers, id } = await begun({ store: openStore().store, persist: "after-response" });
    const waiting: Promise<unknown>[] = [];
    const session = sessions.start(next(headers));
    session.set("n", 2);
    await sessions.commit(session, (promise) => waiting.push(promise));
    expect(waiting).toHaveLength(1);
    await Promise.all(waiting);
    expect(await sessions.open(id).get("n")).toBe(2);
  });

  test("rejects as the store does, and the session that the client holds is as before", async () => {
    let isDown = false;
    const store = altered(memoryStore(), {
      change: (change, ...args) => (isDown ? Promise.reject(new Error("down")) : change(...args)),
    });
    const { sessions, headers, id } = await begun({ store });
    const session = sessions.start(next(headers));
    session.set("n", 2);
    isDown = true;
    expect(await codeOf(() => sessions.commit(session))).toBe("ERR_STORE");
    isDown = false;
    expect(await sessions.open(id).get("n")).toBe(1);
  });

  test("throws a TypeError when it gets a value that is no session of a manager", async () => {
    for (const value of [{}, null, undefined, 7, "session"])
      await expect(new SessionManager().commit(value as Session)).rejects.toThrow(/^Expected a Session/);
  });
});

describe("a session that nobody has used by the time of the response", () => {
  test.each<[string, (sessions: SessionManager<Data>, session: Session<Data>) => Promise<unknown>]>([
    ["commit()", (sessions, session) => sessions.commit(session)],
    ["respond()", (sessions, session) => sessions.respond(session, new Response())],
    ["discard()", (sessions, session) => sessions.discard(session)],
  ])("cannot be begun after %s", async (_name, end) => {
    const { store, calls } = counted(openStore().store);
    const sessions = new SessionManager<Data>({ store });
    const session = sessions.start(new Request(SHOP));
    await end(sessions, session);
    expect(await codeOf(() => session.create())).toBe("ERR_RESPONSE_SENT");
    expect(await codeOf(async () => session.set("n", 1))).toBe("ERR_RESPONSE_SENT");
    expect(calls).toEqual([]);
  });

  test("cannot be begun after the handler of withSession() is done", async () => {
    const kept: Session[] = [];
    const handler = withSession((_request, session) => (kept.push(session), new Response()));
    await handler(new Request(SHOP));
    expect(await codeOf(() => kept[0]?.create())).toBe("ERR_RESPONSE_SENT");
  });
});

describe("a new id", () => {
  /** A session whose id `save()` has renewed, and the id before that. */
  async function renewed() {
    const { sessions, headers, id } = await begun({ store: openStore().store });
    const session = sessions.start(next(headers));
    await session.regenerate();
    await session.save();
    const lives = async (): Promise<boolean[]> => [
      (await sessions.open(id).id()) !== null,
      (await sessions.open((await session.id()) ?? "").id()) !== null,
    ];
    return { sessions, session, lives };
  }

  test("is not taken back by discard() once commit() or respond() has told the client", async () => {
    for (const tell of ["commit", "respond"] as const) {
      const { sessions, session, lives } = await renewed();
      await (tell === "commit" ? sessions.commit(session) : sessions.respond(session, new Response()));
      await sessions.discard(session);
      expect(await lives()).toEqual([false, true]);
    }
  });

  test("is taken back when the response cannot carry it, because its body was read", async () => {
    const { sessions, session, lives } = await renewed();
    const response = new Response("body");
    await response.text();
    await expect(sessions.respond(session, response)).rejects.toThrow(TypeError);
    expect(await lives()).toEqual([true, false]);
  });

  test("is taken back when the response can carry no headers, such as a network error", async () => {
    const { sessions, session, lives } = await renewed();
    const response = Response.error();
    expect(await sessions.respond(session, response)).toBe(response);
    expect(await lives()).toEqual([true, false]);
  });

  test("is taken back when the handler answers undefined, for no response carries it", async () => {
    const { sessions, headers, id } = await begun({ store: openStore().store });
    const handler = withSession<Data>(async (_request, session) => {
      await session.regenerate();
      await session.save();
      return undefined;
    }, sessions);
    expect(await handler(next(headers))).toBeUndefined();
    expect(await sessions.open(id).get("n")).toBe(1);
  });

  test("is taken back when what follows cannot be stored, at once or later", async () => {
    for (const isLate of [false, true]) {
      let isDown = false;
      const store = altered(openStore().store, {
        change: (change, ...args) => {
          if (!isDown) return change(...args);
          isDown = false;
          if (isLate) return Promise.reject(new Error("down"));
          throw new Error("down");
        },
      });
      const { sessions, headers, id } = await begun({ store });
      const session = sessions.start(next(headers));
      await session.regenerate();
      await session.save();
      session.set("n", 2);
      isDown = true;
      expect(await codeOf(() => sessions.commit(session))).toBe("ERR_STORE");
      expect(await sessions.open(id).get("n")).toBe(1);
    }
  });
});

test.each(["; Domain=evil.example", "\r\nX: y", " ", '"', "é"])(
  "a token that its cookie cannot carry is a mistake, which tells no id: %j",
  async (addition) => {
    const sessions = new SessionManager({ ids: { toToken: (id) => id + addition, toId: String } });
    const session = sessions.start(new Request("https://shop.example/"));
    session.set("n", 1);
    await expect(sessions.commit(session)).rejects.toThrow(
      /^ids\.toToken must return printable ASCII .*; it returned another text$/,
    );
  },
);

describe("a plugin", () => {
  test("is told of its manager, once", () => {
    const hosts: PluginHost[] = [];
    const wrapped: Repository[] = [];
    const store = memoryStore();
    const plugin: Plugin = {
      name: "job",
      attach: (host) => void hosts.push(host),
      wrap: (inner) => (wrapped.push(inner), wrapRepository(inner, {})),
    };
    const sessions = new SessionManager({
      store,
      plugins: [plugin, { name: "other", admit: () => undefined }],
      idleTimeout: 60,
      now: () => 7,
    });
    const internals = internalsOf(sessions.open(""));
    expect([hosts.length, wrapped.length]).toEqual([1, 1]);
    const [host] = hosts;
    expect(host?.repository).toBe(internals.policy.repository);
    expect(host?.codec).toBe(internals.policy.codec);
    expect([host?.store, host?.idleTimeout, host?.name, host?.now()]).toEqual([store, 60, "__Host-session", 7]);
    expect(host?.transports).toHaveLength(1);
  });

  test("may load a session without a request, by what functions among the options take", async () => {
    const hosts: PluginHost[] = [];
    const asked: unknown[][] = [];
    const store = openStore().store;
    const sessions = new SessionManager({
      store: (env: unknown, ctx: unknown) => (asked.push([env, ctx]), store),
      plugins: [{ name: "job", attach: (host) => void hosts.push(host) }],
    });
    const session = sessions.open("");
    await hosts[0]?.operation([session, "env", "ctx"]);
    await sessions.prune(session, "other", "ctx");
    expect(asked).toEqual([
      ["env", "ctx"],
      ["other", "ctx"],
    ]);
  });

  test("may report events, under the name of the cookie, and without a listener to nobody", () => {
    const events: SessionEvent[] = [];
    const hosts: PluginHost[] = [];
    const plugins: Plugin[] = [{ name: "job", attach: (host) => void hosts.push(host) }];
    const managers = [{ onEvent: (event: SessionEvent) => events.push(event) }, {}].map(
      (options) => new SessionManager({ ...options, plugins, cookie: { name: "shop" } }),
    );
    for (const host of hosts) host.emit({ type: "revoked", sessions: 2 });
    expect([managers.length, hosts.length, events]).toEqual([2, 2, [{ type: "revoked", sessions: 2, name: "shop" }]]);
  });

  test("may answer in place of the handler, unless one before it has answered", async () => {
    const asked: unknown[][] = [];
    const door = (name: string, answers: boolean): Plugin => ({
      name,
      answer: (...given) => (asked.push([name, ...given]), answers ? new Response(name) : undefined),
    });
    const handler = withSession((_request, _session, ..._rest: unknown[]) => new Response("handler"), {
      plugins: [{ name: "none", admit: () => undefined }, door("silent", false), door("one", true), door("two", true)],
    });
    const request = new Request(SHOP);
    expect(await (await handler(request, "env", "ctx")).text()).toBe("one");
    expect(asked.map(([name, given, , ...rest]) => [name, given === request, ...rest])).toEqual([
      ["silent", true, "env", "ctx"],
      ["one", true, "env", "ctx"],
    ]);
    const alone = withSession(() => new Response("handler"), { plugins: [door("alone", true)] });
    expect(await (await alone(request)).text()).toBe("alone");
    const silent = withSession(() => new Response("handler"), { plugins: [door("silent", false)] });
    expect(await (await silent(request)).text()).toBe("handler");
  });
});

describe("respond()", () => {
  test("answers the very same response when nobody used the session, and a copy that tells the client otherwise", async () => {
    const sessions = new SessionManager<Data>();
    const response = new Response("Hello");
    expect(await sessions.respond(sessions.start(new Request(SHOP)), response)).toBe(response);
    const session = sessions.start(new Request(SHOP));
    session.set("n", 1);
    const told = await sessions.respond(session, response);
    expect(told).not.toBe(response);
    expect(told.headers.getSetCookie()).toHaveLength(1);
    expect([await told.text(), response.headers.has("Set-Cookie")]).toEqual(["Hello", false]);
  });

  test("refuses what is no response, before anything is stored", async () => {
    const { sessions, headers } = await begun();
    for (const response of [undefined, null, "text", {}, { status: 200 }, { headers: new Headers() }]) {
      const session = sessions.start(next(headers));
      session.set("n", 5);
      await expect(Reflect.apply(sessions.respond, sessions, [session, response])).rejects.toThrow(
        /^sessions\.respond takes a session and the Response/,
      );
      expect(await sessions.start(next(headers)).get("n")).not.toBe(5);
    }
  });

  test("replaces a cookie of the session's name, keeps others, and forbids caches to keep the response", async () => {
    const { sessions, headers } = await begun();
    const session = sessions.start(next(headers));
    await session.regenerate();
    const response = new Response(null, { headers: { "Cache-Control": "public" } });
    response.headers.append("Set-Cookie", "__Host-session=theirs");
    response.headers.append("Set-Cookie", "other=1");
    const told = await sessions.respond(session, response);
    const names = told.headers.getSetCookie().map((line) => line.split("=")[0]);
    expect(names).toEqual(["other", "__Host-session"]);
    expect(told.headers.get("Cache-Control")).toBe("no-store");
  });
});

describe("discard()", () => {
  test("stores nothing of what was recorded", async () => {
    const { store, calls } = counted(openStore().store);
    const { sessions, headers, id } = await begun({ store });
    const session = sessions.start(next(headers));
    session.set("n", 2);
    await session.get("seen");
    calls.length = 0;
    await sessions.discard(session);
    expect(calls).toEqual([]);
    expect(await sessions.open(id).get("n")).toBe(1);
  });

  test.each<[string, (sessions: SessionManager, session: Session) => unknown]>([
    ["a change is recorded later", (_, session) => session.set("later", 1)],
    ["an update() comes later", (_, session) => session.update("later", () => 1)],
    ["save() is called later", (_, session) => session.save()],
    ["the session is committed later", (sessions, session) => sessions.commit(session)],
  ])("stores nothing of what was recorded when %s", async (_, use) => {
    const sessions = new SessionManager();
    const first = sessions.start(new Request(SHOP));
    first.set({ n: 1, list: [] });
    const headers = await sessions.commit(first);
    for (const record of [
      (session: Session) => session.set("n", 2),
      (session: Session) => session.delete("n"),
      (session: Session) => session.clear(),
      (session: Session) => session.flash("notice", "done"),
      (session: Session) => session.get("list").then((list) => list.push("in place")),
    ]) {
      const session = sessions.start(next(headers));
      expect(await session.get("n")).toBe(1);
      await record(session);
      await sessions.discard(session);
      await use(sessions, session);
      await session.save();
      const { later: _later, ...stored } = await sessions.start(next(headers)).all();
      expect(stored).toEqual({ n: 1, list: [] });
    }
  });

  test.each<[string, (session: Session) => unknown]>([
    ["save()", () => {}],
    ["save() of a new id", (session) => session.regenerate()],
  ])("stores nothing of a %s that fails afterwards", async (_call, before) => {
    const store = faultyStore(openStore().store);
    const sessions = new SessionManager({ store });
    const first = sessions.start(new Request(SHOP));
    first.set("n", 1);
    const headers = await sessions.commit(first);
    const session = sessions.start(next(headers));
    await session.get("n");
    session.set("n", 2);
    await before(session);
    store.plan({ save: "rejects" });
    const saving = codeOf(() => session.save());
    await sessions.discard(session);
    expect(await saving).toBe("ERR_STORE");
    store.plan({});
    session.set("later", 1);
    await session.save();
    expect(await sessions.start(next(headers)).all()).toEqual({ n: 1, later: 1 });
  });

  test("ends nothing that destroy() was to end, also when save() is called later", async () => {
    const { sessions, headers, id } = await begun();
    const session = sessions.start(next(headers));
    await session.destroy();
    await sessions.discard(session);
    await session.save();
    expect(await sessions.open(id).get("n")).toBe(1);
  });

  test("puts back the session under the id that the client holds when save() had renewed it", async () => {
    const { store, records } = openStore();
    const { sessions, headers, id } = await begun({ store });
    const session = sessions.start(next(headers));
    session.set("n", 2);
    await session.regenerate();
    await session.save();
    const renewed = (await session.id()) ?? "";
    expect(await sessions.open(id).id()).toBeNull();
    await sessions.discard(session);
    expect(await sessions.open(id).get("n")).toBe(1);
    expect(await sessions.open(renewed).id()).toBeNull();
    expect(records.size).toBe(1);
  });

  test("puts back the session whose new id is still being stored", async () => {
    const [stored, reached] = [gate(), gate()];
    let isSlow = false;
    const store = altered(openStore().store, {
      change: async (change, ...args) => {
        const answer = await change(...args);
        if (isSlow) reached.open();
        if (isSlow) await stored.opened;
        return answer;
      },
    });
    const { sessions, headers, id } = await begun({ store });
    const session = sessions.start(next(headers));
    await session.regenerate();
    isSlow = true;
    const saving = session.save();
    await reached.opened;
    isSlow = false;
    const discarding = sessions.discard(session);
    stored.open();
    await Promise.all([saving, discarding]);
    expect(await sessions.open(id).get("n")).toBe(1);
  });

  test.each(["load", "save", "delete"] as const)(
    "puts back the session when the store fails at its next %s: one failure must not sign the user out",
    async (verb) => {
      for (const fault of ["rejects", "does it but rejects"] as const) {
        const { store: inner, records } = openStore();
        const store = faultyStore(inner);
        const { sessions, headers, id } = await begun({ store });
        const session = sessions.start(next(headers));
        await session.regenerate();
        await session.save();
        store.plan({ [verb]: [fault] });
        await sessions.discard(session);
        expect(store.calls[verb]).toBeGreaterThan(0);
        expect(await sessions.open(id).get("n")).toBe(1);
        expect(records.size).toBe(1);
      }
    },
  );
});

describe("prune()", () => {
  test.each(["memory", "file"])(
    "[45] removes what has expired from a %s store, and leaves what lives",
    async (kind) => {
      const directory = await temporaryDirectory();
      const clock = fakeClock();
      const store = kind === "memory" ? memoryStore() : fileStore({ directory });
      const sessions = new SessionManager<Data>({ store, now: clock.now, idleTimeout: 60 });
      const create = async (): Promise<string> => {
        const session = sessions.start(new Request(SHOP));
        session.set("n", 1);
        await session.save();
        return (await session.id()) ?? "";
      };
      await create();
      // `prune` removes a record only ten minutes after the session has expired, because of clock skew and running requests.
      clock.advance(659);
      const living = await create();
      expect(await sessions.prune()).toBe(0);
      clock.advance(2);
      expect(await sessions.prune()).toBe(1);
      expect(await sessions.prune()).toBe(0);
      expect(await sessions.open(living).get("n")).toBe(1);
      if (kind === "file") expect(await readdir(directory)).toHaveLength(1);
    },
  );

  test("answers 0 where the engine expires records itself, and ERR_STORE when the store fails", async () => {
    const { prune: _, ...withoutPrune } = memoryStore();
    expect(await new SessionManager({ store: withoutPrune }).prune()).toBe(0);
    const broken = { ...memoryStore(), prune: () => Promise.reject(new Error("secret")) };
    const error = await new SessionManager({ store: broken }).prune().catch((error: unknown) => error);
    expect(error).toMatchObject({ code: "ERR_STORE" });
    expect(String(error)).not.toContain("secret");
  });
});
