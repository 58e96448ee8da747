import { createHmac, hash } from "node:crypto";
import { afterEach, describe, expect, test, vi } from "vitest";
import { memoryStore, SessionManager, type SessionOptions, type SessionStore, withSession } from "../mod.ts";
import type { Operation } from "../src/core/repository.ts";
import { signedIds, type SignedIdsOptions } from "../src/signed_ids.ts";
import { faultyStore } from "../src/testing.ts";
import { client } from "./setup/client.ts";
import { cookieOf, living, openStore, SHOP, visitor } from "./setup/sessions.ts";

const SECRET = "a secret of at least thirty-two bytes";
const OLDER = "an older secret of thirty-two bytes or more";
const ID = "aB3_-aB3_-aB3_-aB3_-aB";

afterEach(() => {
  vi.restoreAllMocks();
  vi.resetModules();
});

const op = (name = "s", presentedName = name, ...runtimeArguments: unknown[]): Operation =>
  ({ name, presentedName, runtimeArguments }) as unknown as Operation;

/** Computes the signature with another implementation than the one under test. */
const signatureOf = (id: string, secret: string, name = "s", purpose = "id"): string => {
  const key = hash("sha256", JSON.stringify([`with-session ${purpose}`, secret]), "buffer");
  return createHmac("sha256", key).update(`${name}=${id}`).digest("base64url");
};

describe("toToken()", () => {
  test("signs at once with the first secret, by HMAC-SHA-256 under a key for ids alone", () => {
    expect(signedIds({ secrets: [SECRET, OLDER] }).toToken(ID, op())).toBe(`${ID}.${signatureOf(ID, SECRET)}`);
  });

  test("signs for the name under which the token is written", () => {
    const ids = signedIds({ secrets: [SECRET] });
    const token = `${ID}.${signatureOf(ID, SECRET, "old")}`;
    expect(ids.toId(token, op("new", "old"))).toBe(ID);
    expect(ids.toToken(ID, op("new", "old"))).toBe(`${ID}.${signatureOf(ID, SECRET, "new")}`);
  });

  test("gives the verified token again without hashing, and never another one's", () => {
    const ids = signedIds({ secrets: [SECRET, OLDER] });
    const token = `${ID}.${signatureOf(ID, SECRET)}`;
    expect(ids.toId(token, op())).toBe(ID);
    expect(ids.toToken(ID, op())).toBe(token);
    expect(ids.toToken(`${ID}A`, op())).toBe(`${ID}A.${signatureOf(`${ID}A`, SECRET)}`);
    expect(ids.toToken(ID, op("t"))).toBe(`${ID}.${signatureOf(ID, SECRET, "t")}`);
  });

  test("signs an id once for a login, which asks for its token twice", async () => {
    let hashes = 0;
    const counting = { hash: (...given: Parameters<typeof hash>) => ((hashes += 1), hash(...given)) };
    vi.resetModules();
    vi.spyOn(process, "getBuiltinModule").mockReturnValue(counting as never);
    const ids = (await import("../src/signed_ids.ts")).signedIds({ secrets: [SECRET] });
    const next = `${ID}A`;
    expect(ids.toId(`${ID}.${signatureOf(ID, SECRET)}`, op())).toBe(ID);
    const before = hashes;
    for (let time = 0; time < 2; time++) expect(ids.toToken(next, op())).toBe(`${next}.${signatureOf(next, SECRET)}`);
    expect(hashes - before).toBe(2);
  });

  test("never gives a token of another tenant's secret", () => {
    const ids = signedIds({ secrets: (env: { secret: string }) => [env.secret] });
    const [one, two] = [{ secret: SECRET }, { secret: OLDER }];
    expect(ids.toId(`${ID}.${signatureOf(ID, SECRET)}`, op("s", "s", one))).toBe(ID);
    expect(ids.toToken(ID, op("s", "s", two))).toBe(`${ID}.${signatureOf(ID, OLDER)}`);
  });
});

describe("toId()", () => {
  test.each([SECRET, OLDER])("accepts what any of its secrets signed, and toToken() signs it anew: %j", (secret) => {
    const ids = signedIds({ secrets: [SECRET, OLDER] });
    expect(ids.toId(`${ID}.${signatureOf(ID, secret)}`, op())).toBe(ID);
    expect(ids.toToken(ID, op())).toBe(`${ID}.${signatureOf(ID, SECRET)}`);
  });

  test.each([
    ["another secret signed it", `${ID}.${signatureOf(ID, `${SECRET}!`)}`],
    ["the signature is another id's", `${ID}.${signatureOf(`${ID}A`, SECRET)}`],
    ["it was signed for another cookie", `${ID}.${signatureOf(ID, SECRET, "__Host-shop")}`],
    ["it was signed for another purpose", `${ID}.${signatureOf(ID, SECRET, "s", "csrf")}`],
    ["there is no signature", ID],
    ["the signature is empty", `${ID}.`],
    ["the signature is cut off", `${ID}.${signatureOf(ID, SECRET).slice(0, -1)}`],
    ["something follows the signature", `${ID}.${signatureOf(ID, SECRET)}A`],
    ["something precedes the id", `A${ID}.${signatureOf(ID, SECRET)}`],
    ["the id is too short", `abc.${signatureOf("abc", SECRET)}`],
    ["there is nothing", ""],
    ["there is a dot alone", "."],
    ["the id is not ASCII", `${"ä".repeat(22)}.${signatureOf("ä".repeat(22), SECRET)}`],
  ])("gives null when %s", (_name, token) => {
    expect(signedIds({ secrets: [SECRET, OLDER] }).toId(token, op())).toBeNull();
  });

  test("hashes no id that is longer than a cookie may be", () => {
    const ids = signedIds({ secrets: [SECRET] });
    const longest = "a".repeat(4096);
    expect(ids.toId(String(ids.toToken(longest, op())), op())).toBe(longest);
    expect(ids.toId(`${longest}a.${signatureOf(`${longest}a`, SECRET)}`, op())).toBeNull();
  });

  test("accepts an unsigned id, of valid shape alone, with acceptUnsigned", () => {
    const ids = signedIds({ secrets: [SECRET], acceptUnsigned: true });
    expect(ids.toId(ID, op())).toBe(ID);
    expect(ids.toToken(ID, op())).toBe(`${ID}.${signatureOf(ID, SECRET)}`);
    for (const token of ["short", `${ID}!`, "", `${ID}.`, `${ID}.${signatureOf(ID, OLDER)}`])
      expect(ids.toId(token, op())).toBeNull();
  });
});

test("signedIds() gives the same by WebCrypto, where Node's crypto is absent", async () => {
  vi.resetModules();
  vi.spyOn(process, "getBuiltinModule").mockReturnValue(undefined as never);
  const fresh = await import("../src/signed_ids.ts");
  const ids = fresh.signedIds({ secrets: [SECRET, OLDER] });
  expect(await ids.toToken(ID, op())).toBe(`${ID}.${signatureOf(ID, SECRET)}`);
  for (const secret of [SECRET, OLDER]) expect(await ids.toId(`${ID}.${signatureOf(ID, secret)}`, op())).toBe(ID);
  expect(await ids.toId(`${ID}.${signatureOf(ID, "other")}`, op())).toBeNull();
});

test.each<[unknown, typeof TypeError | typeof RangeError, string]>([
  [undefined, TypeError, "options of signedIds"],
  [{}, TypeError, "secrets must be a list"],
  [{ secret: [SECRET] }, TypeError, "did you mean secrets?"],
  [{ secrets: [undefined] }, TypeError, "Is the environment variable unset?"],
  [{ secrets: ["short"] }, RangeError, "32 bytes"],
])("signedIds(%j) throws", (options, Mistake, message) => {
  const make = () => signedIds(options as SignedIdsOptions);
  expect(make).toThrow(Mistake);
  expect(make).toThrow(message);
});

describe("withSession({ ids })", () => {
  const counter = (store: SessionStore, ids?: ReturnType<typeof signedIds>, name = "__Host-session") =>
    withSession(
      async (_request, session) => new Response(String(await session.update("n", (n: unknown) => Number(n ?? 0) + 1))),
      {
        store,
        cookie: { name },
        ...(ids === undefined ? {} : { ids }),
      },
    );
  const counted = (): { store: SessionStore; loads: () => number } => {
    const store = memoryStore();
    let loads = 0;
    return { store: { ...store, load: (...given) => ((loads += 1), store.load(...given)) }, loads: () => loads };
  };

  test("turns a forged id away before the store is asked", async () => {
    const { store, loads } = counted();
    const handle = counter(store, signedIds({ secrets: [SECRET] }));
    const visitor = client();
    for (const n of ["1", "2"]) expect(await (await visitor.send(handle)).text()).toBe(n);
    const before = loads();
    const [id = ""] = (visitor.cookies.get("__Host-session") ?? "").split(".");
    for (const forged of [id, `${id}.${"A".repeat(43)}`, "a".repeat(30), "a".repeat(4000)]) {
      const response = await client().send(handle, { headers: { Cookie: `__Host-session=${forged}` } });
      expect(await response.text()).toBe("1");
    }
    expect(loads()).toBe(before);
  });

  test("does not take a signature made under one cookie's name for another's", async () => {
    const store = memoryStore();
    const ids = signedIds({ secrets: [SECRET] });
    const shop = client();
    await shop.send(counter(store, ids, "__Host-shop"));
    const token = shop.cookies.get("__Host-shop") ?? "";
    const stolen = await client().send(counter(store, ids, "__Host-admin"), {
      headers: { Cookie: `__Host-admin=${token}` },
    });
    expect(await stolen.text()).toBe("1");
  });

  test("tells a client the new signature when its id was signed with an older secret, or not at all", async () => {
    const store = memoryStore();
    const visitor = client();
    await visitor.send(counter(store));
    const unsigned = visitor.cookies.get("__Host-session") ?? "";
    expect(
      await (await visitor.send(counter(store, signedIds({ secrets: [OLDER], acceptUnsigned: true })))).text(),
    ).toBe("2");
    const older = visitor.cookies.get("__Host-session") ?? "";
    expect(older).toMatch(new RegExp(`^${unsigned}\\.`));
    const current = counter(store, signedIds({ secrets: [SECRET, OLDER] }));
    expect(await (await visitor.send(current)).text()).toBe("3");
    const token = visitor.cookies.get("__Host-session") ?? "";
    expect([token.startsWith(`${unsigned}.`), token === older]).toEqual([true, false]);
    expect(await (await visitor.send(counter(store, signedIds({ secrets: [SECRET] })))).text()).toBe("4");
    expect((await visitor.send(current)).headers.getSetCookie()).toEqual([]);
  });

  test("keeps the session of a client that holds a cookie of a previous name", async () => {
    const store = memoryStore();
    const ids = signedIds({ secrets: [SECRET] });
    const visitor = client();
    await visitor.send(counter(store, ids, "__Host-old"));
    const renamed = withSession(async (_request, session) => new Response(String(await session.get("n"))), {
      store,
      ids,
      cookie: { previous: [{ name: "__Host-old" }] },
    });
    expect(await (await visitor.send(renamed)).text()).toBe("1");
    expect([...visitor.cookies.keys()]).toEqual(["__Host-session"]);
    expect(await (await visitor.send(renamed)).text()).toBe("1");
  });

  /** A client that holds a cookie with a previous name, on a store that can fail. */
  const renamed = async () => {
    const { store: inner, records } = openStore();
    const store = faultyStore(inner);
    const ids = signedIds({ secrets: [SECRET] });
    const begun = await visitor({ store, ids, cookie: { name: "__Host-old" } })((session) => session.set("n", 1));
    const visit = visitor({ store, ids, cookie: { previous: [{ name: "__Host-old" }] } });
    return { store, records, visit, init: { headers: { Cookie: cookieOf(begun) } } };
  };

  test("goes on under the new id for a client that holds a cookie of a previous name", async () => {
    const { visit, init } = await renamed();
    const seen = await visit(async (session) => {
      await session.get("n");
      await visit((other) => other.regenerate({ grace: 30 }), init);
      return await session.update("n", (n) => n + 1);
    }, init);
    expect(seen.result).toBe(2);
  });

  test("leaves no second session of a client that holds a cookie of a previous name when a new id got no answer", async () => {
    const { visit, init, store, records } = await renamed();
    const failed = visit(async (session) => {
      await session.get("n");
      store.plan({ save: ["does it but rejects", "none"] });
      await session.regenerate();
    }, init);
    await expect(failed).rejects.toThrow("Cannot store");
    expect(living(records)).toHaveLength(1);
  });

  test.each<[string, SessionOptions]>([
    ["a header beside the cookie", { header: "X-Id" }],
    ["a header beside a cookie that each request decides", { header: { name: "X-Id" }, cookie: () => ({}) }],
    ["a header alone", { header: "X-Id", cookie: false }],
  ])("gives an id that open() takes to a client of %s", async (_what, options) => {
    const names: string[] = [];
    const ids = signedIds({ secrets: [SECRET] });
    const sessions = new SessionManager({ ids, onEvent: ({ name }) => names.push(name), ...options });
    let id: string | null = null;
    const handle = withSession(async (_request, session) => {
      session.set("a", 1);
      id = await session.id();
      return new Response();
    }, sessions);
    await handle(new Request(SHOP, { headers: { "X-Id": "" } }));
    names.length = 0;
    const opened = sessions.open(id ?? "");
    await opened.update("a", (n: number) => n + 1);
    expect(await opened.id()).toBe(id);
    expect(names).toEqual(["X-Id", "X-Id"]);
    const forged = sessions.open(`${String(id)}A`);
    expect([await forged.get("a"), (await forged.info()).ended]).toEqual([undefined, "forged"]);
    expect(names.slice(2)).toEqual([options.cookie === false ? "X-Id" : "__Host-session"]);
    expect(await sessions.open(id ?? "").get("a")).toBe(2);
  });

  test("gives a client of the cookie an id that open() takes as that of the cookie, where there is a header as well", async () => {
    const sessions = new SessionManager({ ids: signedIds({ secrets: [SECRET] }), header: "X-Id" });
    const { cookies } = await visitor(sessions)((session) => session.set("a", 1));
    const opened = sessions.open(cookieOf({ cookies }).split("=")[1] ?? "");
    expect([await opened.get("a"), await opened.id()]).toEqual([1, cookieOf({ cookies }).split("=")[1]]);
  });

  test("takes secrets from what the runtime passes, once for each environment", async () => {
    const secrets = vi.fn<(env: { SECRET: string }) => Promise<string[]>>(async (env) => [env.SECRET]);
    const handle = withSession(
      async (_request, session, _env: { SECRET: string }) =>
        new Response(String(await session.update("n", (n: unknown) => Number(n ?? 0) + 1))),
      { ids: signedIds({ secrets }) },
    );
    const visitor = client();
    const env = { SECRET };
    for (const n of ["1", "2", "3"])
      expect(await (await visitor.send((request) => handle(request, env))).text()).toBe(n);
    expect(secrets).toHaveBeenCalledTimes(1);
  });
});

test("signedIds() throws a TypeError for an acceptUnsigned that is no boolean", () => {
  const options = { secrets: ["a secret of at least thirty-two bytes"], acceptUnsigned: "no" };
  expect(() => signedIds(options as never)).toThrow(new TypeError("signedIds: acceptUnsigned must be a boolean"));
});
