import { describe, expect, test } from "vitest";
import {
  memoryStore,
  serializeRecord,
  type Session,
  type SessionEvent,
  SessionManager,
  type SessionStore,
  withSession,
} from "../../mod.ts";
import { cookieSessions } from "../../src/cookie_sessions.ts";
import { metadataText } from "../../src/core/metadata.ts";
import { isRepositorySource } from "../../src/core/repository/repository_source.ts";
import { createId } from "../../src/core/session_id.ts";
import { sealerFor } from "../../src/crypto/sealer.ts";
import { cookieJar, fakeClock } from "../../src/testing.ts";
import { openStore } from "../setup/sessions.ts";
import { codeOf, cookieOf, type Data, type Options, sealed, secrets, SHOP, visitor, withCopy } from "./setup.ts";

describe("cookieSessions()", () => {
  test("[24] keeps a session from one request to the next without a store", async () => {
    const visit = visitor(sealed());
    const first = await visit((session) => session.set({ user: "ada", basket: new Map([["tea", 2n]]) }));
    expect(first.cookies).toHaveLength(1);
    expect(first.cookies[0]).toMatch(/^__Host-session=1[\w-]+; Max-Age=86400; Path=\/; Secure/);
    expect(first.response.headers.get("Cache-Control")).toBe("no-store");
    const second = await visit((session) => session.all());
    expect({ ...second.result }).toEqual({ user: "ada", basket: new Map([["tea", 2n]]) });
    expect(second.cookies).toEqual([]);
    await visit((session) => session.update("visits", (n = 0) => n + 1));
    expect((await visit((session) => session.update("visits", (n = 0) => n + 1))).result).toBe(2);
  });

  test("[24] shows nothing of the session to whoever looks at the cookie", async () => {
    const cookie = cookieOf(await visitor(sealed())((session) => session.set("user", "ada")));
    const [name = "", token = ""] = cookie.split("=");
    expect(name).toBe("__Host-session");
    expect(token).toMatch(/^1[\w-]+$/);
    expect(Buffer.from(token.slice(1), "base64url").toString("latin1")).not.toMatch(/user|ada|createdAt|format/);
  });

  test("throws a TypeError without secrets, and for options that it does not know", () => {
    // @ts-expect-error The secrets are missing.
    expect(() => cookieSessions({})).toThrow(/secrets must be a list of well-formed strings.*environment/);
    // @ts-expect-error The secrets are missing.
    expect(() => cookieSessions()).toThrow(TypeError);
    // @ts-expect-error One secret is undefined.
    expect(() => cookieSessions({ secrets: [undefined] })).toThrow(/secrets\[0\] is undefined/);
    expect(() => cookieSessions({ secrets: ["too short"] })).toThrow(RangeError);
    // @ts-expect-error The option is misspelt.
    expect(() => cookieSessions({ secrets, revocations: memoryStore() })).toThrow(/did you mean revocation/);
    // @ts-expect-error An empty object is no store.
    expect(() => cookieSessions({ secrets, revocation: {} })).toThrow(/revocation must be a session store/);
    const { load, save } = memoryStore();
    for (const revocation of [null, 7, "store", { load }, { load, save }] as never[])
      expect(() => cookieSessions({ secrets, revocation })).toThrow(/revocation must be a session store/);
    for (const chunks of [1, 16]) expect(() => cookieSessions({ secrets, chunks })).not.toThrow();
    for (const chunks of [0, 1.5, -1, 17, Number.NaN, Infinity]) {
      expect(() => cookieSessions({ secrets, chunks })).toThrow(RangeError);
    }
    for (const key of ["ids", "encryption"] as const) {
      const capability = { toToken: String, toId: String, seal: Object, open: Object };
      expect(() => new SessionManager({ ...sealed(), [key]: capability })).toThrow(
        new TypeError("cookieSessions() signs and encrypts what it keeps: leave out ids and encryption"),
      );
    }
  });

  test("has no store where the client alone keeps the session, and the one for revocation otherwise", () => {
    const none = cookieSessions({ secrets }).revocation as SessionStore;
    expect(none.traits).toEqual({ consistency: "strong", compareAndSet: true, maxBytes: 0 });
    expect(none.load("key")).toBeNull();
    for (const call of [() => none.save("key", {} as never), () => none.delete("key")])
      expect(call).toThrow(new TypeError("cookieSessions() without revocation has no store"));
    const revocation = memoryStore();
    expect(cookieSessions({ secrets, revocation }).revocation).toBe(revocation);
  });

  test("is told from a store by its shape", () => {
    expect(isRepositorySource(cookieSessions({ secrets }))).toBe(true);
    expect(isRepositorySource(JSON.parse(JSON.stringify(cookieSessions({ secrets }))))).toBe(true);
    for (const other of [memoryStore(), () => memoryStore(), null, undefined, "x", { repositorySource: 1 }]) {
      expect(isRepositorySource(other)).toBe(false);
    }
  });

  test("gets its secrets from what the runtime passes beside the request", async () => {
    const store = cookieSessions({ secrets: async (env: { SECRET: string }) => [env.SECRET] });
    const handle = withSession<Data, [{ SECRET: string }]>(
      async (_request, session) => new Response(String(await session.update("n", (n = 0) => n + 1))),
      { store },
    );
    const env = { SECRET: secrets[0]! };
    const jar = cookieJar();
    for (const n of ["1", "2"]) expect(await (await jar.fetch((request) => handle(request, env), SHOP)).text()).toBe(n);
    // @ts-expect-error The secret is undefined.
    await expect(handle(new Request(SHOP), { SECRET: undefined })).rejects.toThrow(/secrets\[0\] is undefined/);
  });

  test("opens no session of a cookie that was made for another name, secret or purpose", async () => {
    const cookie = cookieOf(await visitor(sealed())((session) => session.set("n", 1)));
    const token = cookie.split("=")[1];
    expect((await withCopy(sealed(), cookie)((session) => session.get("n"))).result).toBe(1);
    const others: [string, Options][] = [
      ["__Host-admin", sealed({ cookie: { name: "__Host-admin" } })],
      ["__Host-session", sealed({}, { secrets: ["another secret of at least thirty-two bytes"] })],
      ["__Host-session", { store: memoryStore() }],
    ];
    for (const [name, options] of others) {
      expect((await withCopy(options, `${name}=${token}`)((session) => session.get("n"))).result).toBeUndefined();
    }
  });

  test("does not take another sealed text of the same secrets for a session, nor one that lacks the end", async () => {
    const head = metadataText({ createdAt: 1, absoluteSince: 1 }, "");
    const record = serializeRecord({ fields: new Map([["@", head]]), lastSeenAt: 1 });
    const events: SessionEvent[] = [];
    const options = sealed({ onEvent: (event) => events.push(event), now: () => 2 });
    for (const [purpose, end, reason] of [
      ["recent writes", ".zz", "forged"],
      ["cookie session", ".zz", undefined],
      ["cookie session", "", "corrupt"],
    ] as const) {
      events.length = 0;
      const token = await sealerFor(purpose, secrets).seal(`${createId()}${end} ${record}`, "__Host-session", []);
      await withCopy(options, `__Host-session=${token}`)((session) => session.size());
      expect(events).toMatchObject([reason === undefined ? { type: "loaded" } : { type: "rejected", reason }]);
    }
  });

  test("rejects what it did not seal, whatever it is, and never throws for it", async () => {
    const events: SessionEvent[] = [];
    const options = sealed({ onEvent: (event) => events.push(event) });
    const cookie = cookieOf(await visitor(sealed())((session) => session.set("n", 1)));
    const token = cookie.slice(cookie.indexOf("=") + 1);
    const flipped = (at: number): string => token.slice(0, at) + (token[at] === "A" ? "B" : "A") + token.slice(at + 1);
    const cases: [string, string][] = [
      ["x", "malformed"],
      ["1", "malformed"],
      [`1${"A".repeat(37)}`, "malformed"],
      [`1${"A".repeat(38)}`, "forged"],
      [`1${"A".repeat(200)}`, "forged"],
      [`${token.slice(0, 100)}.${token.slice(101)}`, "malformed"],
      [token.slice(0, -4), "forged"],
      [`${token}AAAA`, "forged"],
      [token.slice(0, 50), "forged"],
      [`2${token.slice(1)}`, "newer"],
      ["eyJhbGciOiJkaXIifQ..AAAAAAAAAAAAAAAA.AAAA.AAAAAAAAAAAAAAAAAAAAAA", "malformed"],
      // The last characters of nonce, tag and ciphertext contain unused bits.
      ...[1, 5, 16, 17, 30, 37, 39, 60, token.length - 5].map((at): [string, string] => [flipped(at), "forged"]),
    ];
    for (const [value, reason] of cases) {
      events.length = 0;
      const { result } = await withCopy(options, `__Host-session=${value}`)((session) => session.size());
      expect([value, result, events.map((event) => "reason" in event && event.reason)]).toEqual([value, 0, [reason]]);
    }
  });

  test("rejects a session of a newer version of this library, and leaves its cookie alone", async () => {
    const head = metadataText({ createdAt: 1, absoluteSince: 1 }, "").replace(/^1/, "2");
    const text = `${createId()} ${serializeRecord({ fields: new Map([["@", head]]), lastSeenAt: 1 })}`;
    const token = await sealerFor("cookie session", secrets).seal(text, "__Host-session", []);
    for (const value of [token, `2${token.slice(1)}`]) {
      const { result, cookies } = await withCopy(
        sealed(),
        `__Host-session=${value}`,
      )(async (session) => (await session.info()).ended);
      expect([result, cookies]).toEqual(["newer", []]);
    }
  });

  test("opens what older secrets sealed when a new one stands in front, and not when they are gone", async () => {
    const old = "an old secret of at least thirty-two bytes";
    const current = "a new secret of at least thirty-two bytes!";
    const jar = cookieJar();
    await visitor(sealed({}, { secrets: [old] }), jar)((session) => session.set("n", 1));
    const both = visitor(sealed({}, { secrets: [current, old] }), jar);
    expect((await both((session) => session.get("n"))).result).toBe(1);
    const onlyNew = () =>
      withCopy(sealed({}, { secrets: [current] }), jar.header(SHOP) ?? "")((session) => session.get("n"));
    expect((await onlyNew()).result).toBeUndefined();
    // A changed session is sealed with the current secret.
    await both((session) => session.set("n", 2));
    expect((await onlyNew()).result).toBe(2);
  });

  test("ends a session that was idle for too long, however long the client keeps the cookie", async () => {
    const clock = fakeClock();
    const options = sealed({ now: clock.now, idleTimeout: 100 });
    const cookie = cookieOf(await visitor(options)((session) => session.set("n", 1)));
    const look = async () =>
      (await withCopy(options, cookie)(async (session) => [await session.get("n"), (await session.info()).ended]))
        .result;
    clock.advance(99);
    expect(await look()).toEqual([1, null]);
    clock.advance(1);
    expect(await look()).toEqual([undefined, "expired"]);
  });

  test("ends a session when the absolute timeout is over, however often it was used", async () => {
    const clock = fakeClock();
    const visit = visitor(sealed({ now: clock.now, absoluteTimeout: 200_000 }), cookieJar({ now: clock.now }));
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

  test("opens sessions under a previous name of the cookie, and sends them anew under the present one", async () => {
    const jar = cookieJar();
    await visitor(sealed({ cookie: { name: "__Host-old" } }), jar)((session) => session.set("n", 1));
    const visit = visitor(sealed({ cookie: { name: "__Host-new", previous: [{ name: "__Host-old" }] } }), jar);
    expect((await visit((session) => session.get("n"))).result).toBe(1);
    expect(jar.cookies().map(({ name }) => name)).toEqual(["__Host-new"]);
    expect((await visit((session) => session.get("n"))).result).toBe(1);
    await visit((session) => session.set("n", 2));
    expect((await visit((session) => session.get("n"))).result).toBe(2);
  });

  test("keeps what the session has beside its data: flash values, times to live, timeouts of its own", async () => {
    const clock = fakeClock();
    const visit = visitor(sealed({ now: clock.now }), cookieJar({ now: clock.now }));
    await visit((session) => {
      session.flash("notice", "Saved");
      session.set("code", 7, { ttl: 60 });
      session.setTimeouts({ idle: 300, cookie: 86_400 });
    });
    const seen = await visit(async (session) => [
      await session.get("notice"),
      await session.get("code"),
      (await session.info()).expiresAt,
    ]);
    expect(seen.result).toEqual(["Saved", 7, clock.now() + 300_000]);
    expect((await visit((session) => session.get("notice"))).result).toBeUndefined();
    clock.advance(60);
    expect((await visit((session) => session.get("code"))).result).toBeUndefined();
    clock.advance(300);
    expect((await visit(async (session) => (await session.info()).ended)).result).toBe("expired");
  });

  test("keeps any text as a key and as a value", async () => {
    const visit = visitor(sealed({}, { chunks: 2 }));
    const data = {
      "": 1,
      "a\nb": "x\n=y",
      "=z": "=q\n@\n{}",
      "\ud800": "lone",
      "*": "*",
      "__proto__x": [undefined, NaN, -0],
      "😀": "é",
    };
    await visit((session) => session.set(data));
    expect({ ...(await visit((session) => session.all())).result }).toEqual(data);
  });

  test("asks the client to forget when there is no revocation and the session is destroyed", async () => {
    const visit = visitor(sealed());
    const copy = cookieOf(await visit((session) => session.set("n", 1)));
    const bye = await visit((session) => session.destroy());
    expect(bye.cookies[0]).toMatch(/^__Host-session=; Max-Age=0; .*Path=\/; Secure; HttpOnly; SameSite=Lax$/);
    expect((await visit((session) => session.get("n"))).result).toBeUndefined();
    // The limits that the documentation names.
    expect((await withCopy(sealed(), copy)((session) => session.get("n"))).result).toBe(1);
  });

  test("renews the id without revocation as well, and keeps the data", async () => {
    const visit = visitor(sealed());
    const before = (await visit(async (session) => (session.set("n", 1), await session.id()))).result;
    const { result, cookies } = await visit(
      async (session) => (await session.regenerate({ reauthenticated: true }), await session.id()),
    );
    expect(cookies).toHaveLength(1);
    expect(result).not.toBe(before);
    expect((await visit((session) => session.get("n"))).result).toBe(1);
  });

  test("leaves the client its old id without revocation when the handler fails after save() has renewed it", async () => {
    const visit = visitor(sealed());
    await visit((session) => session.set("n", 1));
    const failing = visit(async (session) => {
      await session.regenerate();
      await session.save();
      throw new Error("no");
    });
    await expect(failing).rejects.toThrow("no");
    expect((await visit((session) => session.get("n"))).result).toBe(1);
  });

  test("sends the change with the response when persisting is left for afterwards", async () => {
    const later: Promise<unknown>[] = [];
    const ctx = { waitUntil: (promise: Promise<unknown>) => void later.push(promise) };
    const handle = withSession<Data, [typeof ctx]>(
      async (_request, session) => new Response(String(await session.update("n", (n = 0) => n + 1))),
      sealed({ persist: "after-response" }),
    );
    const jar = cookieJar();
    const texts: string[] = [];
    for (let n = 0; n < 3; n++) texts.push(await (await jar.fetch((request) => handle(request, ctx), SHOP)).text());
    expect([texts, later]).toEqual([["1", "2", "3"], []]);
  });

  describe.each([
    ["used", (session) => session.get("n")],
    ["not touched", () => 0],
  ] as [string, (session: Session<Data>) => unknown][])(
    "throws ERR_RESPONSE_SENT for a change that comes after the response, when it was %s",
    (_, use) => {
      test.each([
        ["set()", (session) => session.set("n", 2)],
        ["set() and save()", (session) => (session.set("n", 2), session.save())],
        ["update()", (session) => session.update("n", () => 3)],
        ["delete()", (session) => session.delete("n")],
        ["clear()", (session) => session.clear()],
        ["flash()", (session) => session.flash("n", 2)],
        ["keepFlash()", (session) => session.keepFlash()],
        ["pull()", (session) => session.pull("n")],
        ["touch()", (session) => session.touch()],
        ["setTimeouts()", (session) => session.setTimeouts({ idle: 60 })],
        ["regenerate()", (session) => session.regenerate()],
        ["destroy()", (session) => session.destroy()],
        ["save() after a change in place", async (session) => (await session.get("list")).push(1) && session.save()],
        [
          "save() after a fallback was changed",
          async (session) => (await session.get("x", [])).push(1) && session.save(),
        ],
        ["save() after a flash value was read", async (session) => (await session.get("notice")) && session.save()],
      ] as [string, (session: Session<Data>) => unknown][])("by %s", async (_name, change) => {
        const visit = visitor(sealed());
        await visit((session) => (session.flash("notice", "hello"), session.set({ n: 1, list: [] })));
        const { result } = await visit(async (session) => (await use(session), { session }));
        expect(await codeOf(() => change(result.session))).toBe("ERR_RESPONSE_SENT");
      });

      test("and no event tells of one that failed or came late", async () => {
        const events: string[] = [];
        const visit = visitor(sealed({ onEvent: ({ type }) => events.push(type) }));
        await visit((session) => session.set("n", 1));
        const { result } = await visit(async (session) => (await use(session), { session }));
        expect(await codeOf(() => result.session.update("n", () => 3))).toBe("ERR_RESPONSE_SENT");
        expect(events).toEqual(["created", "loaded"]);
      });

      test("and not for save() without a change", async () => {
        const clock = fakeClock();
        const options = sealed({ rotateEvery: 3600, now: clock.now });
        const visit = visitor(options, cookieJar({ now: clock.now }));
        await visit((session) => session.set("n", 1));
        clock.advance(3600);
        await visit((session) => session.get("n"));
        const { result } = await visit(async (session) => (await use(session), { session }));
        expect(await result.session.get("n")).toBe(1);
        await result.session.save();
      });
    },
  );

  test('is refused with onReuse: "destroy" and without revocation, which would recognise no old copy', () => {
    const rotateEvery = { seconds: 600, onReuse: "destroy" } as const;
    expect(() => new SessionManager(sealed({ rotateEvery }))).toThrow("needs the revocation of cookieSessions()");
    expect(() => new SessionManager(sealed({ rotateEvery }, { revocation: openStore().store }))).not.toThrow();
    expect(() => new SessionManager(sealed({ rotateEvery: { ...rotateEvery, onReuse: "reject" } }))).not.toThrow();
  });

  test("travels in a header when the client asks for that", async () => {
    const handle = withSession<Data>(
      async (_request, session) => new Response(String(await session.update("n", (n = 0) => n + 1))),
      sealed({ cookie: false, header: "X-Session-Id" }),
    );
    const first = await handle(new Request(SHOP, { headers: { "X-Session-Id": "" } }));
    const headers = { "X-Session-Id": first.headers.get("X-Session-Id") ?? "" };
    expect(await (await handle(new Request(SHOP, { headers }))).text()).toBe("2");
  });
});

describe("a session of cookieSessions() without a request", () => {
  test("is opened by the text that id() gives, and has another one after each change", async () => {
    const sessions = new SessionManager<{ n: number }>({ store: cookieSessions({ secrets }) });
    const session = sessions.start(new Request(SHOP));
    session.set("n", 1);
    await session.save();
    const id = await session.id();
    expect(await sessions.open(id ?? "").get("n")).toBe(1);
    session.set("n", 2);
    const headers = await sessions.commit(session);
    expect(headers.get("Set-Cookie")).toContain(`=${await session.id()};`);
    const elsewhere = sessions.open((await session.id()) ?? "");
    expect(await elsewhere.update("n", (n = 0) => n + 1)).toBe(3);
    await elsewhere.save();
    expect(await sessions.open((await elsewhere.id()) ?? "").get("n")).toBe(3);
  });

  test("is what the client holds where id() tells it, and nothing is stored for that", async () => {
    const sessions = new SessionManager<{ list: number[] }>({ store: cookieSessions({ secrets }) });
    const list = [1];
    const first = sessions.start(new Request(SHOP));
    first.set("list", list);
    list.push(2);
    const id = (await first.id()) ?? "";
    expect((await sessions.commit(first)).get("Set-Cookie")).toContain(`=${id};`);
    expect(await sessions.open(id).get("list")).toEqual([1, 2]);
    const events: string[] = [];
    const onEvent = ({ type }: SessionEvent): unknown => events.push(type);
    const second = new SessionManager<{ list: number[] }>({ store: cookieSessions({ secrets }), onEvent }).open(id);
    second.set("list", []);
    expect([await second.id(), events]).toEqual([id, ["loaded"]]);
  });

  test("is told to nobody when the handler throws", async () => {
    const handle = withSession(async (_request, session) => {
      await session.create();
      throw new Error("no");
    }, sealed());
    await expect(handle(new Request(SHOP))).rejects.toThrow("no");
  });
});
