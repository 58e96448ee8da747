import { afterEach, describe, expect, test, vi } from "vitest";
import { memoryStore, type Session, SessionManager, type SessionOptions, withSession } from "../../mod.ts";
import { encryption } from "../../src/encryption.ts";
import { signedIds } from "../../src/signed_ids.ts";
import { cookieJar } from "../../src/testing.ts";
import { cookieOf, counted, idIn, SHOP, type VisitInit, visitor } from "../setup/sessions.ts";

const secret = "a secret of at least thirty-two bytes";
const withCookie = (cookie: string): VisitInit => ({ headers: { Cookie: cookie } });
/** Sends one request of a client that has only this cookie. */
const present = async <Result>(
  options: SessionOptions | SessionManager,
  cookie: string,
  use: (session: Session) => Result | Promise<Result>,
): Promise<Result> => (await visitor(options, { jar: cookieJar() })(use, withCookie(cookie))).result;
/** A text in which one character was changed into another one of the same alphabet. */
const flipped = (text: string, at: number): string =>
  text.slice(0, at) + (text[at] === "A" ? "B" : "A") + text.slice(at + 1);

afterEach(() => vi.restoreAllMocks());

describe("ids", () => {
  test("[ASVS 7.2.3] [ASVS 11.5.1] [NIST 5.1] take 192 bits from the cryptographic generator, and every id is another", async () => {
    const bits = vi.spyOn(crypto, "getRandomValues");
    const guessable = vi.spyOn(Math, "random");
    const sessions = new SessionManager();
    const ids = new Set<string | null>();
    for (let n = 0; n < 500; n++) ids.add(await sessions.start(new Request(SHOP)).create());
    expect(ids.size).toBe(500);
    expect(bits.mock.calls.filter(([bytes]) => (bytes?.byteLength ?? 0) >= 24)).toHaveLength(500);
    expect(guessable).not.toHaveBeenCalled();
  });

  test("[ASVS 11.5.2] [ASVS 16.5.3] are not sent when the generator of the runtime fails", async () => {
    vi.spyOn(crypto, "getRandomValues").mockImplementation(() => {
      throw new Error("no entropy");
    });
    await expect(visitor()((session) => session.set("n", 1))).rejects.toThrow("no entropy");
  });

  test("[ASVS 7.2.1] [ASVS 7.2.2] cost no store call when a signed one is forged or altered in any place", async () => {
    const { store, calls } = counted(memoryStore());
    const options = { store, ids: signedIds({ secrets: [secret] }) };
    const cookie = cookieOf(await visitor(options)((session) => session.set("n", 1)));
    calls.length = 0;
    const [name = "", token = ""] = cookie.split("=");
    const [id = "", signature = ""] = token.split(".");
    const forged = [
      id,
      `${id}.`,
      `${id}.${"A".repeat(43)}`,
      `${token}A`,
      token.slice(0, -1),
      `.${token}`,
      `${"B".repeat(32)}.${signature}`,
      // The last character contains two unused bits, which must not be changed either.
      ...Array.from(token, (_, at) => flipped(token, at)),
    ].filter((each) => each !== token);
    for (const each of forged)
      expect(await present(options, `${name}=${each}`, (session) => session.get("n"))).toBeUndefined();
    expect(calls).toEqual([]);
    expect(await present(options, cookie, (session) => session.get("n"))).toBe(1);
  });

  test("cost no store call when the default generator cannot have made them", async () => {
    const { store, calls } = counted(memoryStore());
    for (const length of [0, 1, 22, 30, 31, 33, 64, 4000]) {
      expect(
        await present({ store }, `__Host-session=${"a".repeat(length)}`, (session) => session.get("n")),
      ).toBeUndefined();
    }
    expect(calls).toEqual([]);
    await present({ store }, `__Host-session=${"a".repeat(32)}`, (session) => session.get("n"));
    expect(calls).toEqual(["load"]);
  });

  test("[OWASP: exchange] are taken from nowhere but the cookie unless another place was chosen", async () => {
    const { store, calls } = counted(memoryStore());
    const id = idIn((await visitor({ store })((session) => session.set("n", 1))).cookies) ?? "";
    calls.length = 0;
    const form = { method: "POST", body: new URLSearchParams({ "__Host-session": id, "session": id, "id": id }) };
    const elsewhere: VisitInit[] = [
      { url: `${SHOP}?__Host-session=${id}&session=${id}#${id}` },
      { url: `${SHOP};__Host-session=${id}/${id}` },
      form,
      { headers: { "X-Session-Id": id, "Session": id, "__Host-session": id } },
      { headers: { Authorization: `Bearer ${id}` } },
      { headers: { Authorization: `Basic ${btoa(`session:${id}`)}` } },
      { headers: { Cookie2: `__Host-session=${id}` } },
      ...["session", "__Host-Session", "__host-session", "__Secure-session", "__Host-session2", `"__Host-session"`].map(
        (name) => withCookie(`${name}=${id}`),
      ),
    ];
    for (const init of elsewhere) {
      const { result } = await visitor({ store }, { jar: cookieJar() })((session) => session.get("n"), init);
      expect({ init, result }).toEqual({ init, result: undefined });
    }
    expect(calls).toEqual([]);
    expect(await present({ store }, `__Host-session=${id}`, (session) => session.get("n"))).toBe(1);
  });
});

describe("secrets", () => {
  const kinds: [string, (secrets: readonly string[]) => SessionOptions][] = [
    ["signedIds()", (secrets) => ({ ids: signedIds({ secrets }) })],
    ["encryption()", (secrets) => ({ encryption: encryption({ secrets }) })],
    ["both", (secrets) => ({ ids: signedIds({ secrets }), encryption: encryption({ secrets }) })],
  ];

  test.each(kinds)(
    "[ASVS 11.2.2] of %s are changed without a logout: old, then new and old, then new alone",
    async (_kind, using) => {
      const [old, fresh] = [`${secret} old`, `${secret} new`];
      const store = memoryStore();
      const jar = cookieJar();
      const visit = (secrets: string[]) => visitor({ store, ...using(secrets) }, { jar });
      await visit([old])((session) => session.set("n", 1));
      expect((await visit([fresh, old])((session) => session.get("n"))).result).toBe(1);
      // A client that has used its session meanwhile holds an id of the new secret, and its record is stored under that id.
      await visit([fresh, old])((session) => session.set("n", 2));
      expect((await visit([fresh])((session) => session.get("n"))).result).toBe(2);
      expect((await visit([old])((session) => session.get("n"))).result).toBeUndefined();
    },
  );

  test.each(kinds)("[ASVS 11.2.3] of %s keep all their bits when they are not ASCII", async (_kind, using) => {
    // The low eight bits of each character are the same in both, and so is the length.
    const [one, other] = ["\u0141".repeat(32), "\u0241".repeat(32)];
    const store = memoryStore();
    const cookie = cookieOf(await visitor({ store, ...using([one]) })((session) => session.set("n", 1)));
    expect(await present({ store, ...using([one]) }, cookie, (session) => session.get("n"))).toBe(1);
    expect(await present({ store, ...using([other]) }, cookie, (session) => session.get("n"))).toBeUndefined();
  });

  test.each(kinds)(
    "[ASVS 11.2.3] of %s are those that were given, whatever becomes of the list",
    async (_kind, using) => {
      for (const spoil of [(list: string[]) => list.splice(0), (list: string[]) => list.fill("")]) {
        const store = memoryStore();
        const secrets = [secret];
        const sessions = new SessionManager({ store, ...using(secrets) });
        spoil(secrets);
        const cookie = cookieOf(await visitor(sessions)((session) => session.set("n", 1)));
        expect(await present({ store, ...using([secret]) }, cookie, (session) => session.get("n"))).toBe(1);
      }
    },
  );

  test.each<[string, unknown]>([
    ["none at all", []],
    ["an empty one", [secret, ""]],
    ["a short one", ["x".repeat(31)]],
    ["null", [secret, null]],
    ["undefined", [undefined]],
    ["half a pair of characters", [`${secret}\ud800`]],
    ["a text in place of a list", secret],
  ])("[ASVS 11.2.3] throw before the first request with %s", (_, given) => {
    for (const [, using] of kinds)
      expect(() => withSession(() => new Response(), using(given as string[]))).toThrow(/secret/);
  });
});
