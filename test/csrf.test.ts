import { describe, expect, test } from "vitest";
import { SessionManager } from "../mod.ts";
import { cookieStore } from "../src/stores/cookie.ts";
import { cookieJar } from "../src/testing.ts";
import { codeOf, counted, openStore, SHOP, visitor } from "./setup/sessions.ts";

const secrets = ["a secret of at least thirty-two bytes"];
const places = {
  "a store": () => ({ store: openStore().store }),
  "signed ids": () => ({ store: openStore().store, secrets }),
  "the cookie": () => ({ store: cookieStore(), secrets }),
};
const post = (body: BodyInit, headers: Record<string, string> = {}): Request =>
  new Request(SHOP, { method: "POST", body, headers });

describe.each(Object.entries(places))("csrfToken() with sessions in %s", (_name, open) => {
  test("begins a session and gives a token that verifyCsrf() takes in a later request", async () => {
    const visit = visitor(open());
    const { result: token, cookies } = await visit((session) => session.csrfToken());
    expect(token).toMatch(/^[\w-]{86}$/);
    expect(cookies).toHaveLength(1);
    expect((await visit((session) => session.verifyCsrf(token))).result).toBe(true);
    await visit((session) => session.set("n", 1));
    expect((await visit((session) => session.verifyCsrf(token))).result).toBe(true);
  });

  test("gives another text each time, each of which is good", async () => {
    const visit = visitor(open());
    await visit((session) => session.set("n", 1));
    const { result: tokens } = await visit(async (session) => [await session.csrfToken(), await session.csrfToken()]);
    expect(new Set(tokens).size).toBe(2);
    for (const token of tokens) expect((await visit((session) => session.verifyCsrf(token))).result).toBe(true);
    // No position of the text is the same in all of them, so a compressed page tells nothing of it.
    const many = (await visit((session) => Promise.all(Array.from({ length: 40 }, () => session.csrfToken())))).result;
    const constant = Array.from({ length: 86 }, (_, at) => at).filter((at) =>
      many.every((text) => text[at] === many[0]?.[at]),
    );
    expect(constant).toEqual([]);
  });

  test("gives a token that is worth nothing to another client or after regenerate()", async () => {
    const options = open();
    const visit = visitor(options);
    const { result: token } = await visit((session) => session.csrfToken());
    const other = visitor(options, { jar: cookieJar() });
    expect((await other((session) => session.verifyCsrf(token))).result).toBe(false);
    await other((session) => session.set("n", 1));
    expect((await other((session) => session.verifyCsrf(token))).result).toBe(false);
    const { result: next } = await visit(async (session) => {
      await session.regenerate();
      return await session.csrfToken();
    });
    expect((await visit((session) => session.verifyCsrf(token))).result).toBe(false);
    expect((await visit((session) => session.verifyCsrf(next))).result).toBe(true);
  });
});

describe("csrfToken()", () => {
  test("writes nothing and makes the response private when the session exists", async () => {
    const { store, calls } = counted(openStore().store);
    const visit = visitor({ store });
    await visit((session) => session.set("n", 1));
    calls.length = 0;
    const { response, cookies } = await visit((session) => session.csrfToken());
    expect(calls).toEqual(["load"]);
    expect(cookies).toEqual([]);
    expect(response.headers.get("Cache-Control")).toBe("private");
  });

  test("throws ERR_COMMITTED when no session can begin any more", async () => {
    const sessions = new SessionManager();
    const session = sessions.start(new Request(SHOP));
    await session.size();
    await sessions.commit(session);
    expect(await codeOf(() => session.csrfToken())).toBe("ERR_COMMITTED");
  });
});

describe("verifyCsrf()", () => {
  const verify = async (make: (token: string) => Request): Promise<boolean> => {
    const visit = visitor();
    const { result: token } = await visit((session) => session.csrfToken());
    return (await visit((session) => session.verifyCsrf(make(token)))).result;
  };

  test("finds the token in the header or in a form, and leaves the body to the handler", async () => {
    expect(await verify((token) => post("{}", { "X-CSRF-Token": token, "Content-Type": "application/json" }))).toBe(
      true,
    );
    expect(await verify((token) => post(new URLSearchParams({ "csrf-token": token })))).toBe(true);
    const requests: Request[] = [];
    const multipart = (token: string): Request => {
      const form = new FormData();
      form.set("csrf-token", token);
      form.set("amount", "2");
      requests.push(post(form));
      return requests[0]!;
    };
    expect(await verify(multipart)).toBe(true);
    expect((await requests[0]?.formData())?.get("amount")).toBe("2");
  });

  test("is false and does not throw when the token is absent, altered or nonsense", async () => {
    const visit = visitor();
    const { result: token } = await visit((session) => session.csrfToken());
    const other = (at: number): string => token.slice(0, at) + (token[at] === "A" ? "B" : "A") + token.slice(at + 1);
    const wrong: (string | null | undefined | Request)[] = [
      undefined,
      null,
      "",
      "x",
      `${token}A`,
      token.slice(1),
      "\u0000".repeat(86),
      "é".repeat(86),
      ...Array.from({ length: 85 }, (_, at) => other(at)),
      new Request(SHOP),
      post("{}", { "Content-Type": "application/json" }),
      post("not a form", { "Content-Type": "multipart/form-data" }),
      post(new URLSearchParams({ "csrf-token": other(3) })),
      post(new URLSearchParams({ "csrf-token": token }), { "X-CSRF-Token": "" }),
    ];
    const { result } = await visit((session) => Promise.all(wrong.map((each) => session.verifyCsrf(each))));
    expect(result).toEqual(wrong.map(() => false));
    expect((await visit((session) => session.verifyCsrf(token))).result).toBe(true);
  });

  test("throws a TypeError when the form was read before", async () => {
    const visit = visitor();
    await visit((session) => session.csrfToken());
    const request = post(new URLSearchParams({ a: "b" }));
    await request.text();
    await expect(visit((session) => session.verifyCsrf(request))).rejects.toThrow(TypeError);
  });
});
