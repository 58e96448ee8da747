import { IncomingMessage } from "node:http";
import { Socket } from "node:net";
import { Request as UndiciRequest } from "undici";
import { describe, expect, test } from "vitest";
import { memoryStore, type Session, SessionManager, type SessionOptions, withSession } from "../mod.ts";
import { exclusive } from "../src/exclusive.ts";
import { fakeClock } from "../src/testing.ts";
import { cookieSessions } from "../src/cookie_sessions.ts";
import { csrfToken, type CsrfRequest, verifyCsrfToken } from "../src/csrf.ts";
import { toBase64Url } from "../src/core/base64url.ts";
import { deriveKey } from "../src/crypto/keys.ts";
import { signedIds } from "../src/signed_ids.ts";
import { client, SHOP } from "./setup/client.ts";
import { altered, openStore } from "./setup/sessions.ts";

const secrets = ["a secret of at least thirty-two bytes"];

/** A client of a program. Each call is one request with `use` as its handler. */
function visitor(options: SessionOptions) {
  const own = client();
  const sessions = new SessionManager(options);
  return async <Result>(use: (session: Session, request: Request) => Result | Promise<Result>, init?: RequestInit) => {
    let result: Result | undefined;
    const handle = withSession(async (request, session) => {
      result = await use(session, request);
      return new Response("Hello");
    }, sessions);
    const response = await own.send(handle, init);
    return { result: result as Result, response, cookies: response.headers.getSetCookie() };
  };
}

const post = (body: BodyInit, headers: Record<string, string> = {}): Request =>
  new Request(SHOP, { method: "POST", body, headers });

describe.each<[string, () => SessionOptions]>([
  ["plain ids", () => ({ store: memoryStore() })],
  ["signed ids", () => ({ store: memoryStore(), ids: signedIds({ secrets }) })],
])("csrfToken() with %s", (_name, open) => {
  test("begins a session and gives a token that verifyCsrfToken() accepts in a later request", async () => {
    const visit = visitor(open());
    const { result: token, cookies } = await visit((session) => csrfToken(session));
    expect(token).toMatch(/^[\w-]{86}$/);
    expect(cookies).toHaveLength(1);
    expect((await visit((session) => verifyCsrfToken(session, token))).result).toBe(true);
    await visit((session) => session.set("n", 1));
    expect((await visit((session) => verifyCsrfToken(session, token))).result).toBe(true);
  });

  test("gives another text each time, each of which is good", async () => {
    const visit = visitor(open());
    await visit((session) => session.set("n", 1));
    const { result: many } = await visit((session) =>
      Promise.all(Array.from({ length: 40 }, () => csrfToken(session))),
    );
    expect(new Set(many).size).toBe(40);
    for (const token of many.slice(0, 3))
      expect((await visit((session) => verifyCsrfToken(session, token))).result).toBe(true);
    // Every position of the text varies, so the length of a compressed page reveals nothing about the token.
    const constant = Array.from({ length: 86 }, (_, at) => at).filter((at) =>
      many.every((text) => text[at] === many[0]?.[at]),
    );
    expect(constant).toEqual([]);
  });

  test("gives a token that is good in its own request, in which the session begins or gets a new id", async () => {
    const visit = visitor(open());
    const own = async (session: Session): Promise<boolean> => verifyCsrfToken(session, await csrfToken(session));
    expect((await visit(own)).result).toBe(true);
    const { result: afterwards } = await visit(async (session) => {
      await session.regenerate();
      const isGood = await own(session);
      const token = await csrfToken(session);
      await session.destroy();
      return [isGood, await verifyCsrfToken(session, token), await own(session)];
    });
    expect(afterwards).toEqual([true, false, true]);
  });

  test("gives tokens of one session when it is called twice at once, where there was none", async () => {
    const visit = visitor(open());
    const { result: tokens, cookies } = await visit((session) => Promise.all([csrfToken(session), csrfToken(session)]));
    expect(cookies).toHaveLength(1);
    for (const token of tokens) expect((await visit((session) => verifyCsrfToken(session, token))).result).toBe(true);
  });

  test("gives a token of the new id after regenerate(), also if exclusive() loads the session again", async () => {
    const visit = visitor(open());
    await visit((session) => session.set("a", 1));
    const { result: token } = await visit(async (session) => {
      await session.regenerate();
      const token = await csrfToken(session);
      await exclusive(session, "a", () => 2);
      return token;
    });
    expect((await visit((session) => verifyCsrfToken(session, token))).result).toBe(true);
  });

  test.each<[string, (session: Session) => unknown]>([
    ["asked for the id", (session) => session.id()],
    ["asked for a token", (session) => csrfToken(session)],
    ["updated a value", (session) => session.update("a", (n: number) => n + 1)],
    ["saved", (session) => session.save()],
  ])(
    "gives a token that serves the request in which rotateEvery renews the id, also after it %s",
    async (_what, use) => {
      const clock = fakeClock();
      const visit = visitor({ now: clock.now, rotateEvery: 60 });
      const { result: token } = await visit((session) => (session.set("a", 1), csrfToken(session)));
      await visit((session) => session.get("a"));
      clock.advance(60);
      const { result, cookies } = await visit(async (session) => (await use(session), verifyCsrfToken(session, token)));
      expect([result, cookies.length]).toEqual([true, 1]);
      expect((await visit((session) => verifyCsrfToken(session, token))).result).toBe(false);
    },
  );

  test("gives a token that serves the request in which rotateEvery renews the id, and none after it", async () => {
    const clock = fakeClock();
    const visit = visitor({ now: clock.now, rotateEvery: 60 });
    const { result: token } = await visit((session) => csrfToken(session));
    clock.advance(61);
    const verify = async (): Promise<boolean> => (await visit((session) => verifyCsrfToken(session, token))).result;
    expect([await verify(), await verify()]).toEqual([true, false]);
  });

  test.each<[string, (session: Session) => unknown]>([
    ["destroy()", (session) => session.destroy()],
    ["regenerate() and save()", async (session) => (await session.regenerate(), await session.save())],
  ])(
    "gives a token that is worth nothing after %s in the request in which rotateEvery renews the id",
    async (_what, use) => {
      const clock = fakeClock();
      const visit = visitor({ now: clock.now, rotateEvery: 60 });
      const { result: token } = await visit((session) => csrfToken(session));
      clock.advance(60);
      const { result } = await visit(async (session) => {
        await session.id();
        const before = await verifyCsrfToken(session, token);
        await use(session);
        return [before, await verifyCsrfToken(session, token)];
      });
      expect(result).toEqual([true, false]);
    },
  );

  test("gives a token that is worth nothing to another client or after regenerate()", async () => {
    const options = open();
    const visit = visitor(options);
    const { result: token } = await visit((session) => csrfToken(session));
    const other = visitor(options);
    expect((await other((session) => verifyCsrfToken(session, token))).result).toBe(false);
    await other((session) => session.set("n", 1));
    expect((await other((session) => verifyCsrfToken(session, token))).result).toBe(false);
    const { result: next } = await visit(async (session) => {
      await session.regenerate();
      return await csrfToken(session);
    });
    expect((await visit((session) => verifyCsrfToken(session, token))).result).toBe(false);
    expect((await visit((session) => verifyCsrfToken(session, next))).result).toBe(true);
  });

  test("gives a token of a new id that serves its request at any time, also while the id is stored", async () => {
    const { store: inner } = openStore();
    const answers: boolean[] = [];
    let verify = async (): Promise<boolean> => true;
    // Each write asks before it begins, and before it answers.
    const store = altered(inner, {
      save: async (save, key, write) => {
        answers.push(await verify());
        const answer = await save(key, write);
        answers.push(await verify());
        return answer;
      },
    });
    const visit = visitor({ store });
    await visit((session) => session.set("a", 1));
    answers.length = 0;
    await visit(async (session) => {
      await session.regenerate();
      const token = await csrfToken(session);
      verify = () => verifyCsrfToken(session, token);
      await session.save();
      answers.push(await verify());
    });
    expect(answers).toEqual([true, true, true, true, true]);
  });

  test("gives a token that ends with the session", async () => {
    const visit = visitor(open());
    const { result: token } = await visit((session) => csrfToken(session));
    const ended = await visit(async (session) => {
      await session.destroy();
      return await verifyCsrfToken(session, token);
    });
    expect(ended.result).toBe(false);
    expect((await visit((session) => verifyCsrfToken(session, token))).result).toBe(false);
  });
});

describe.each<[string, () => SessionOptions]>([
  ["memoryStore", () => ({ store: memoryStore() })],
  ["cookieSessions", () => ({ store: cookieSessions({ secrets }) })],
])("csrfToken() with %s", (_name, open) => {
  test.each<[string, (session: Session) => unknown]>([
    ["was read", (session) => session.get("n")],
    ["was changed", (session) => session.set("n", 2)],
    ["got a new id", (session) => session.regenerate()],
    ["was not used", () => {}],
  ])("gives a valid token after the response of a request in which the session %s", async (_what, use) => {
    const visit = visitor(open());
    await visit((session) => session.set("n", 1));
    const { result: late } = await visit(async (session) => {
      await use(session);
      return () => csrfToken(session);
    });
    const token = await late();
    expect((await visit((session) => verifyCsrfToken(session, token))).result).toBe(true);
  });
});

describe("csrfToken()", () => {
  test("writes nothing and makes the response private when the session exists", async () => {
    const store = memoryStore();
    const calls: string[] = [];
    const visit = visitor({
      store: {
        ...store,
        load: (...given) => (calls.push("load"), store.load(...given)),
        save: (...given) => (calls.push("save"), store.save(...given)),
      },
    });
    await visit((session) => session.set("n", 1));
    calls.length = 0;
    const { response, cookies } = await visit((session) => csrfToken(session));
    expect(calls).toEqual(["load"]);
    expect(cookies).toEqual([]);
    expect(response.headers.get("Cache-Control")).toBe("private");
    expect(response.headers.get("Vary")).toBe("Cookie");
  });

  test("throws ERR_RESPONSE_SENT when there is no session and the response was sent", async () => {
    let late: Promise<string> | undefined;
    const { promise, resolve } = Promise.withResolvers<void>();
    await visitor({})((session) => {
      late = promise.then(() => csrfToken(session));
    });
    resolve();
    await expect(late).rejects.toMatchObject({ code: "ERR_RESPONSE_SENT" });
  });

  test("is waited for although nobody awaits it", async () => {
    const store = memoryStore();
    const { promise, resolve } = Promise.withResolvers<void>();
    const visit = visitor({ store: { ...store, load: (...given) => promise.then(() => store.load(...given)) } });
    const visiting = visit((session) => void csrfToken(session), {
      headers: { Cookie: `__Host-session=${"a".repeat(32)}` },
    });
    setTimeout(resolve, 5);
    expect((await visiting).cookies).toEqual([expect.stringMatching(/^__Host-session=[\w-]{32};/)]);
  });

  test("and verifyCsrfToken() throw a TypeError for what is not a session", async () => {
    expect(() => csrfToken({} as Session)).toThrow(TypeError);
    await expect(verifyCsrfToken({} as Session, "token")).rejects.toThrow(TypeError);
  });
});

describe("verifyCsrfToken()", () => {
  const scene = async () => {
    const visit = visitor({});
    const { result: token } = await visit((session) => csrfToken(session));
    const verify = async (presented: Parameters<typeof verifyCsrfToken>[1]) =>
      (await visit((session) => verifyCsrfToken(session, presented))).result;
    return { visit, token, verify };
  };
  const form = (fields: Record<string, string>): FormData => {
    const data = new FormData();
    for (const [name, value] of Object.entries(fields)) data.append(name, value);
    return data;
  };

  test("finds the token in the header or in a form, whose body is left to be read", async () => {
    const { token, verify } = await scene();
    expect(await verify(post("text", { "X-CSRF-Token": token }))).toBe(true);
    for (const body of [
      new URLSearchParams({ "csrf-token": token, "a": "1" }),
      form({ "csrf-token": token, "a": "1" }),
    ]) {
      const request = post(body);
      expect(await verify(request)).toBe(true);
      expect((await request.formData()).get("a")).toBe("1");
    }
  });

  test("finds the token in a request of another implementation", async () => {
    const { token, verify } = await scene();
    const init = { method: "POST", body: new URLSearchParams({ "csrf-token": token }).toString() };
    const foreign: unknown = new UndiciRequest(SHOP, {
      ...init,
      headers: { "Content-Type": "application/x-www-form-urlencoded" },
    });
    expect(await verify(foreign as Request)).toBe(true);
    expect(await verify(new UndiciRequest(SHOP, { headers: { "X-CSRF-Token": token } }) as unknown as Request)).toBe(
      true,
    );
    const shape: CsrfRequest = {
      headers: { get: (name) => (name === "Content-Type" ? "multipart/form-data; boundary=x" : null) },
      bodyUsed: false,
      clone: () => ({ formData: async () => ({ get: (name) => (name === "csrf-token" ? token : null) }) }),
    };
    expect(await verify(shape)).toBe(true);
  });

  test("looks at the header alone when there is one, and at no body that is not a form", async () => {
    const { token, verify } = await scene();
    expect(await verify(post(new URLSearchParams({ "csrf-token": token }), { "X-CSRF-Token": "wrong" }))).toBe(false);
    expect(await verify(post(JSON.stringify({ "csrf-token": token }), { "Content-Type": "application/json" }))).toBe(
      false,
    );
    expect(await verify(post(`csrf-token=${token}`, { "Content-Type": "application/x-www-form-urlencoded-not" }))).toBe(
      false,
    );
    expect(await verify(post("not a form", { "Content-Type": "multipart/form-data; boundary=x" }))).toBe(false);
    expect(await verify(post(new URLSearchParams({ a: "1" })))).toBe(false);
    const file = new FormData();
    file.append("csrf-token", new Blob([token]), "token.txt");
    expect(await verify(post(file))).toBe(false);
    expect(await verify(new Request(SHOP))).toBe(false);
  });

  test("throws a TypeError when the form would have to be read again", async () => {
    const { token, visit } = await scene();
    const request = post(new URLSearchParams({ "csrf-token": token }));
    await request.text();
    await visit(async (session) => {
      await expect(verifyCsrfToken(session, request)).rejects.toThrow("the form was read before");
    });
  });

  test("takes a form by the name of its type alone", async () => {
    const { token, verify } = await scene();
    const typed = (type: string): CsrfRequest => ({
      headers: { get: (name) => (name === "Content-Type" ? type : null) },
      bodyUsed: false,
      clone: () => ({ formData: async () => ({ get: () => token }) }),
    });
    for (const type of ["multipart/form-data ; boundary=x", "Application/X-WWW-Form-URLEncoded"])
      expect(await verify(typed(type)), type).toBe(true);
    for (const type of ["multipart/form-data-not", "text/plain; a=multipart/form-data", "x multipart/form-data"])
      expect(await verify(typed(type)), type).toBe(false);
  });

  const shaped = "A".repeat(86);

  test.each([undefined, null, "", "a", shaped, `${shaped}A`, `${shaped}!`, `!${shaped}`, "ä".repeat(86)])(
    "is false for %j",
    async (presented) => {
      const { verify } = await scene();
      expect(await verify(presented)).toBe(false);
    },
  );

  test.each<unknown>([
    [[shaped]],
    {},
    { headers: {} },
    { clone: 1 },
    { headers: {}, clone: {} },
    JSON.parse('{"then":1,"pipe":1}'),
    1,
    true,
  ])("is false for %j, which a client may have sent as JSON", async (presented) => {
    const { verify } = await scene();
    expect(await verify(presented as string)).toBe(false);
  });

  test("is false for an object of the program that is no request", async () => {
    const { verify } = await scene();
    expect(await verify({ clone: () => ({}) } as never)).toBe(false);
  });

  test("throws a TypeError when it is given a promise of a token", async () => {
    const { token, visit } = await scene();
    await visit(async (session) => {
      await expect(verifyCsrfToken(session, Promise.resolve(token) as never)).rejects.toThrow("await it");
    });
  });

  test("throws a TypeError when it is given a request of Node, which holds no token that it can read", async () => {
    const { visit } = await scene();
    const request = new IncomingMessage(new Socket());
    await visit(async (session) => {
      await expect(verifyCsrfToken(session, request as never)).rejects.toThrow("not a request of Node");
    });
  });

  test("is false when one character differs", async () => {
    const { token, verify } = await scene();
    for (const at of [0, 20, 42, 43, 60, 84]) {
      const other = token[at] === "A" ? "g" : "A";
      expect(await verify(token.slice(0, at) + other + token.slice(at + 1)), String(at)).toBe(false);
    }
    expect(await verify(token)).toBe(true);
  });

  test("is false without a session, and begins none", async () => {
    const { result, cookies } = await visitor({})((session) => verifyCsrfToken(session, "A".repeat(86)));
    expect([result, cookies]).toEqual([false, []]);
  });

  test("is false for a token of no id, which anybody can make", async () => {
    const { visit, verify } = await scene();
    const both = new Uint8Array(64);
    both.set(await deriveKey("csrf", undefined as never), 32);
    const token = toBase64Url(both);
    expect(await verify(token)).toBe(false);
    const atTheBeginning = async (session: Session): Promise<boolean> => {
      await session.regenerate();
      await csrfToken(session);
      return await verifyCsrfToken(session, token);
    };
    expect((await visit(atTheBeginning)).result).toBe(false);
    expect((await visitor({})(atTheBeginning)).result).toBe(false);
  });

  test("asks for no form where there is no session", async () => {
    const request = post(new URLSearchParams({ "csrf-token": "A".repeat(86) }));
    await request.text();
    expect((await visitor({})((session) => verifyCsrfToken(session, request))).result).toBe(false);
  });
});
