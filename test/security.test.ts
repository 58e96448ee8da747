import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { inspect } from "node:util";
import { createClient } from "redis";
import { afterEach, describe, expect, onTestFinished, test, vi } from "vitest";
import { memoryStore, type Session, SessionError, type SessionEvent, SessionManager } from "../mod.ts";
import { type SessionOptions, type SessionStore, withSession } from "../mod.ts";
import { cookieStore } from "../src/stores/cookie.ts";
import { fileStore } from "../src/stores/file.ts";
import { redisHashStore, redisStore } from "../src/stores/redis.ts";
import { cookieJar, fakeClock } from "../src/testing.ts";
import { startRedis } from "./setup/redis.ts";
import { altered, codeOf, cookieOf, counted, errorOf, idIn, keyOf, openStore, SHOP } from "./setup/sessions.ts";
import { temporaryDirectory, visitor, type VisitInit } from "./setup/sessions.ts";

// The clauses of test/security.md, which names what each standard asks for and what is shown elsewhere.

const secret = "a secret of at least thirty-two bytes";
const withCookie = (cookie: string): VisitInit => ({ headers: { Cookie: cookie } });
/** Sends one request from a client that has nothing but this cookie. */
const present = async <Result>(
  options: SessionOptions | SessionManager,
  cookie: string,
  use: (session: Session) => Result | Promise<Result>,
): Promise<Result> => (await visitor(options, { jar: cookieJar() })(use, withCookie(cookie))).result;
/** A text with the character at one place changed into another of the same alphabet. */
const flipped = (text: string, at: number): string =>
  text.slice(0, at) + (text[at] === "A" ? "B" : "A") + text.slice(at + 1);

afterEach(() => vi.restoreAllMocks());

test("security.md names tests that exist, and every clause that a test here is tagged with", async () => {
  const folder = new URL(".", import.meta.url);
  const map = await readFile(new URL("security.md", folder), "utf8");
  const missing: string[] = [];
  let named = 0;
  for (const [, file = "", list = ""] of map.matchAll(/`([\w/]+\.test\.ts)`:? ((?:"[^"]+"(?:, )?)+)/g)) {
    const source = await readFile(new URL(file, folder), "utf8");
    for (const [, words = ""] of list.matchAll(/"([^"]+)"/g)) {
      named += 1;
      if (!source.includes(words)) missing.push(`${file}: ${words}`);
    }
  }
  expect(missing).toEqual([]);
  expect(named).toBeGreaterThan(50);
  const own = await readFile(new URL("security.test.ts", folder), "utf8");
  const clauses = new Set(Array.from(own.matchAll(/\[ASVS ([\d.]+)\]/g), ([, clause = ""]) => clause));
  expect([...clauses].filter((clause) => !map.includes(clause))).toEqual([]);
});

describe("ids", () => {
  test("[ASVS 7.2.3] [ASVS 11.5.1] [NIST 5.1] mintId() takes 192 bits from the cryptographic generator, and every id is another", async () => {
    const bits = vi.spyOn(crypto, "getRandomValues");
    const guessable = vi.spyOn(Math, "random");
    const sessions = new SessionManager();
    const ids = new Set<string | null>();
    for (let n = 0; n < 500; n++) {
      const session = sessions.start(new Request(SHOP));
      ids.add(await session.start());
    }
    expect(ids.size).toBe(500);
    expect(bits.mock.calls.filter(([bytes]) => (bytes?.byteLength ?? 0) >= 24)).toHaveLength(500);
    expect(guessable).not.toHaveBeenCalled();
  });

  test("[ASVS 11.5.2] [ASVS 16.5.3] withSession() sends no id when the generator of the runtime fails", async () => {
    vi.spyOn(crypto, "getRandomValues").mockImplementation(() => {
      throw new Error("no entropy");
    });
    await expect(visitor()((session) => session.set("n", 1))).rejects.toThrow("no entropy");
  });

  test("[ASVS 7.2.1] [ASVS 7.2.2] withSession() makes no store call when a signed id is forged or altered in any place", async () => {
    const { store, calls } = counted(memoryStore());
    const options = { store, secrets: [secret] };
    const cookie = cookieOf(await visitor(options)((session) => session.set("n", 1)));
    calls.length = 0;
    const [name = "", wire = ""] = cookie.split("=");
    const id = wire.split(".")[0] ?? "";
    const forged = [
      id,
      `${id}.`,
      `${id}.${"A".repeat(43)}`,
      `${wire}A`,
      wire.slice(0, -1),
      `.${wire}`,
      `${"B".repeat(32)}.${wire.split(".")[1]}`,
      // The last character holds two bits that mean nothing; they count as well.
      ...Array.from(wire, (_, at) => flipped(wire, at)),
    ].filter((each) => each !== wire);
    for (const each of forged) {
      expect(await present(options, `${name}=${each}`, (session) => session.get("n"))).toBeUndefined();
    }
    expect(calls).toEqual([]);
    expect(await present(options, cookie, (session) => session.get("n"))).toBe(1);
  });

  test("[ASVS 11.2.2] secrets are changed without a logout: old, then new and old, then new alone", async () => {
    const [old, fresh] = [`${secret} old`, `${secret} new`];
    for (const encrypt of [false, true]) {
      const { store, calls } = counted(memoryStore());
      const jar = cookieJar();
      const visit = (secrets: string[]) => visitor({ store, encrypt, secrets }, { jar });
      await visit([old])((session) => session.set("n", 1));
      const before = jar.header(SHOP) ?? "";
      expect((await visit([fresh, old])((session) => session.get("n"))).result).toBe(1);
      // A client that used its session meanwhile holds an id of the new secret, under which its record lies as well.
      await visit([fresh, old])((session) => session.set("n", 2));
      expect((await visit([fresh])((session) => session.get("n"))).result).toBe(2);
      calls.length = 0;
      expect(
        await present({ store, encrypt, secrets: [fresh] }, before, (session) => session.get("n")),
      ).toBeUndefined();
      expect(calls).toEqual([]);
    }
  });

  test("[ASVS 11.2.3] secrets keep all their bits when they are not ASCII", async () => {
    // The same low eight bits of each character, and the same length.
    const [one, other] = ["\u0141".repeat(32), "\u0241".repeat(32)];
    for (const open of [
      () => ({ store: memoryStore() }),
      () => ({ store: memoryStore(), encrypt: true }),
      () => ({ store: cookieStore() }),
    ]) {
      const options = open();
      const cookie = cookieOf(await visitor({ ...options, secrets: [one] })((session) => session.set("n", 1)));
      expect(await present({ ...options, secrets: [one] }, cookie, (session) => session.get("n"))).toBe(1);
      expect(await present({ ...options, secrets: [other] }, cookie, (session) => session.get("n"))).toBeUndefined();
    }
  });

  test("[ASVS 11.2.3] secrets are those that were given when the handler was wrapped, whatever becomes of the list", async () => {
    for (const options of [
      { store: memoryStore() },
      { store: memoryStore(), encrypt: true },
      { store: cookieStore() },
    ]) {
      for (const spoil of [(list: string[]) => list.splice(0), (list: string[]) => list.fill("")]) {
        const secrets = [secret];
        const sessions = new SessionManager({ ...options, secrets });
        spoil(secrets);
        const cookie = cookieOf(await visitor(sessions)((session) => session.set("n", 1)));
        expect(await present({ ...options, secrets: [secret] }, cookie, (session) => session.get("n"))).toBe(1);
      }
    }
  });

  test.each([
    ["none at all", []],
    ["an empty one", [secret, ""]],
    ["a short one", ["x".repeat(31)]],
    ["null", [secret, null]],
    ["undefined", [undefined]],
    ["half a pair of characters", [`${secret}\ud800`]],
    ["a text in place of a list", secret],
  ])("[ASVS 11.2.3] secrets throw when the handler is wrapped with %s", (_, secrets) => {
    expect(() => Reflect.apply(withSession, undefined, [() => new Response(), { secrets }])).toThrow(/secret/);
  });
});

describe("the life of a session", () => {
  test("[ASVS 7.2.4] [NIST 5.1] [OWASP: renewal] regenerate() gives a new id at login, and ends the one of before", async () => {
    const options = { store: memoryStore() };
    const jar = cookieJar();
    const visit = visitor(options, { jar });
    await visit((session) => session.set("basket", ["tea"]));
    const planted = jar.header(SHOP) ?? "";
    await visit(async (session) => {
      await session.regenerate({ reauthenticated: true });
      session.set("user", "ada");
    });
    expect(jar.header(SHOP)).not.toBe(planted);
    expect((await visit((session) => session.all())).result).toEqual({ basket: ["tea"], user: "ada" });
    expect(await present(options, planted, (session) => session.all())).toEqual({});
  });

  test("[ASVS 7.3.1] [ASVS 7.3.2] [NIST 5.2] timeouts are judged by the record when the client keeps its cookie for ever", async () => {
    const clock = fakeClock();
    const options = {
      store: openStore().store,
      now: clock.now,
      idleTimeout: 100,
      absoluteTimeout: 250,
      touchInterval: 0,
    };
    const cookie = cookieOf(await visitor(options)((session) => session.set("n", 1)));
    const look = () => present(options, cookie, (session) => session.get("n"));
    for (let second = 0; second < 249; second += 83) {
      expect(await look()).toBe(1);
      clock.advance(83);
    }
    expect(await look()).toBe(1);
    clock.advance(1);
    expect(await look()).toBeUndefined();
    const idle = { ...options, absoluteTimeout: false as const };
    const other = cookieOf(await visitor(idle)((session) => session.set("n", 1)));
    clock.advance(99);
    expect(await present(idle, other, (session) => session.get("n"))).toBe(1);
    clock.advance(100);
    expect(await present(idle, other, (session) => session.get("n"))).toBeUndefined();
  });

  test("[ASVS 7.4.1] [NIST 5.1] destroy() deletes the record, and repeats every attribute when it expires the cookie", async () => {
    const cookies: [SessionOptions["cookie"], string][] = [
      [{}, "Path=/; Secure; HttpOnly; SameSite=Lax"],
      [
        { name: "__Secure-s", domain: "shop.example", path: "/app", sameSite: "None", partitioned: true },
        "Path=/app; Domain=shop.example; Secure; HttpOnly; SameSite=None; Partitioned",
      ],
      [{ name: "__Host-Http-s", sameSite: "Strict" }, "Path=/; Secure; HttpOnly; SameSite=Strict"],
      [{ name: "s", httpOnly: false, secure: false }, "Path=/; SameSite=Lax"],
    ];
    for (const [cookie = {}, attributes] of cookies) {
      const { store, records } = openStore();
      const first = await visitor({ store, cookie })((session) => session.set("n", 1));
      expect(first.cookies[0]?.replace(/^[^;]*; Max-Age=86400; /, "")).toBe(attributes);
      const bye = await visitor({ store, cookie }, { jar: cookieJar() })(
        (session) => session.destroy(),
        withCookie(cookieOf(first)),
      );
      const name = cookieOf(first).split("=")[0];
      expect(bye.cookies).toEqual([`${name}=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; ${attributes}`]);
      expect(records.size).toBe(0);
    }
  });

  test("[ASVS 7.6.2] no session begins when nothing asked for one", async () => {
    const { store, calls } = counted(memoryStore());
    const { cookies } = await visitor({ store })(async (session) => [
      await session.all(),
      await session.id(),
      await session.info(),
    ]);
    expect([cookies, calls]).toEqual([[], []]);
  });
});

describe("where ids are looked for", () => {
  test("[OWASP: exchange] withSession() takes an id from nowhere but the cookie unless another place was chosen", async () => {
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

describe("the cookie", () => {
  test("[RFC 6265bis 4.1.1] keeps to the grammar of Set-Cookie, whatever keeps the session", async () => {
    const grammar =
      /^[\w!#$%&'*+.^`|~-]+=[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]+(?:; (?:[A-Z][A-Za-z-]*)(?:=[\x20-\x3a\x3c-\x7e]+)?)*$/;
    const all: SessionOptions[] = [
      {},
      { secrets: [secret] },
      { encrypt: true, secrets: [secret] },
      { store: cookieStore(), secrets: [secret] },
    ];
    for (const options of all) {
      const { cookies } = await visitor(options)((session) =>
        session.set("text", 'ä; Path=/a, "b"\r\nSet-Cookie: c=d'),
      );
      expect(cookies).toEqual([expect.stringMatching(grammar)]);
    }
  });

  test("[ASVS 3.3.1] [ASVS 3.3.2] [ASVS 3.3.3] [ASVS 3.3.4] [NIST 5.1.1] is __Host-, Secure, HttpOnly and SameSite=Lax unless chosen otherwise", async () => {
    const { response, cookies } = await visitor()((session) => session.set("n", 1));
    expect(cookies).toHaveLength(1);
    expect(cookies[0]).toMatch(/^__Host-session=[\w-]{32}; Max-Age=86400; Path=\/; Secure; HttpOnly; SameSite=Lax$/);
    const id = idIn(cookies) ?? "";
    const elsewhere = [...response.headers].filter(([name]) => name !== "set-cookie");
    expect(JSON.stringify(elsewhere) + (await response.text())).not.toContain(id);
  });

  test("[OWASP: content] [OWASP: name] [NIST 5.1.1] it says nothing of the user, nor of what made it", async () => {
    const { cookies } = await visitor({ store: memoryStore(), secrets: [secret] })((session) =>
      session.set("user", "ada"),
    );
    expect(cookies[0]).toMatch(/^__Host-session=[\w-]{32}\.[\w-]{43};/);
  });

  const prefixed = ["__Secure-", "__Host-", "__Http-", "__Host-Http-"];
  const casings = [(text: string) => text, (text: string) => text.toUpperCase(), (text: string) => text.toLowerCase()];
  test("[RFC 6265bis 4.1.3] prefixes are kept to in any letter case: what they forbid throws when the handler is wrapped", () => {
    const wrap = (cookie: object) => () => withSession(() => new Response(), { cookie });
    for (const prefix of prefixed) {
      for (const inCase of casings) {
        const name = `${inCase(prefix)}s`;
        const isHost = prefix.startsWith("__Host-");
        expect(wrap({ name })).not.toThrow();
        expect(wrap({ name, secure: false })).toThrow(TypeError);
        for (const wrong of [{ domain: "shop.example" }, { path: "/app" }]) {
          if (isHost) expect(wrap({ name, ...wrong })).toThrow(TypeError);
          else expect(wrap({ name, ...wrong })).not.toThrow();
        }
        if (prefix.endsWith("Http-")) expect(wrap({ name, httpOnly: false })).toThrow(TypeError);
        else expect(wrap({ name, httpOnly: false })).not.toThrow();
      }
    }
  });

  test("[RFC 6265bis 5.7] a cookie tossed from a subdomain cannot pin a session, wherever it stands", async () => {
    const options = { store: memoryStore() };
    const [victim, attacker] = [1, 2].map(() => visitor(options, { jar: cookieJar() }));
    const theirs = cookieOf(await attacker!((session) => session.set("user", "mallory")));
    const ours = cookieOf(await victim!((session) => session.set("user", "ada")));
    for (const header of [`${theirs}; ${ours}`, `${ours}; ${theirs}`, `${ours}; a=b; ${theirs}; ${ours}`]) {
      expect(await present(options, header, (session) => session.get("user"))).toBeUndefined();
    }
    // Names that only look like ours are not ours, however they are written.
    for (const name of [
      "__host-session",
      "__Host-session ",
      " __Host-session",
      "__Host%2Dsession",
      "_\u005fHost-session%20",
    ]) {
      const own = (
        await visitor(options, { jar: cookieJar() })(
          (session) => session.get("user"),
          withCookie(`${ours}; ${theirs.replace("__Host-session", name)}`),
        )
      ).result;
      expect([undefined, "ada"]).toContain(own);
      expect(own).not.toBe("mallory");
    }
  });

  test("[ASVS 3.3.5] [RFC 6265bis 5.7] it is not sent when name and value are more than 4096 octets", async () => {
    const options = { store: cookieStore(), secrets: [secret] };
    const lengths: number[] = [];
    for (let size = 2700; size < 2860; size++) {
      try {
        lengths.push(cookieOf(await visitor(options)((session) => session.set("n", "x".repeat(size)))).length - 1);
      } catch (error) {
        expect(error).toMatchObject({ code: "ERR_COOKIE_TOO_LARGE" });
      }
    }
    expect(lengths.length).toBeGreaterThan(50);
    expect(lengths.length).toBeLessThan(160);
    expect(Math.max(...lengths)).toBeLessThanOrEqual(4096);
    expect(Math.max(...lengths)).toBeGreaterThan(4090);
  });

  test("[RFC 6265bis 5.5] Max-Age is 400 days at the most", async () => {
    const year = 2 * 365 * 86_400;
    const { cookies } = await visitor({ idleTimeout: year, absoluteTimeout: false })((session) => session.set("n", 1));
    expect(cookies[0]).toContain("Max-Age=34560000;");
  });
});

describe("encryption", () => {
  const scenes = {
    "encrypt": () => {
      const { store, records } = openStore();
      return { options: { store, encrypt: true }, records };
    },
    "encrypt, with secrets": () => {
      const { store, records } = openStore();
      return { options: { store, encrypt: true, secrets: [secret] }, records };
    },
  };

  test.each(Object.entries(scenes))(
    "[ASVS 11.2.5] [ASVS 11.3.3] %s: no session, and no attempt without the key, when any byte of the record differs",
    async (_, open) => {
      const { options, records } = open();
      const events: SessionEvent[] = [];
      const watched = { ...options, observe: (event: SessionEvent) => events.push(event) };
      const cookies: string[] = [];
      for (const user of ["ada", "bob"])
        cookies.push(cookieOf(await visitor(options)((session) => session.set("user", user))));
      const [own, other] = [...records.keys()];
      const record = records.get(own!)!;
      const sealed = record.fields.get("*") ?? "";
      expect(sealed).not.toMatch(/ada|user/);
      const look = async (fields: Map<string, string>): Promise<unknown> => {
        records.set(own!, { ...record, fields });
        return await present(watched, cookies[0]!, (session) => session.all());
      };
      const put = (text: string): Map<string, string> => new Map(record.fields).set("*", text);
      expect(await look(put(sealed))).toEqual({ user: "ada" });
      events.length = 0;
      const head = record.fields.get("@") ?? "";
      const wrong = [
        ...Array.from(sealed, (_each, at) => [flipped(sealed, at), sealed.slice(0, at)])
          .flat()
          .filter((text) => bytesOf(text) !== bytesOf(sealed))
          .map(put),
        // Of another session, and with the head of another one.
        put(records.get(other!)?.fields.get("*") ?? ""),
        new Map(record.fields).set("@", head.replace(/"since":(\d)/, '"since":1$1')),
        // As if it had never been encrypted.
        new Map([
          ["@", head],
          ["=user", '"mallory"'],
        ]),
        new Map([
          ["@", head],
          ["=user", '"mallory"'],
          ["*", ""],
        ]),
        new Map(records.get(other!)?.fields),
      ];
      for (const fields of wrong) expect(await look(fields)).toEqual({});
      // What stands beside the sealed field is not believed.
      expect(await look(put(sealed).set("=user", '"mallory"'))).toEqual({ user: "ada" });
      expect(events.filter(({ type }) => type === "rejected")).toHaveLength(wrong.length);
    },
  );

  test("[ASVS 11.3.3] a record that was stored without encryption is no session when encrypt is on, and the other way round", async () => {
    for (const before of [true, false]) {
      const store = memoryStore();
      const cookie = cookieOf(await visitor({ store, encrypt: before })((session) => session.set("n", 1)));
      expect(await present({ store, encrypt: !before }, cookie, (session) => session.size())).toBe(0);
      expect(await present({ store, encrypt: before }, cookie, (session) => session.get("n"))).toBe(1);
    }
  });

  test("[ASVS 11.2.5] [ASVS 11.3.3] cookieStore() opens nothing when any character of the cookie differs, is cut off or is swapped", async () => {
    const options = { store: cookieStore(), secrets: [secret] };
    const [one, other] = [
      cookieOf(await visitor(options)((session) => session.set("n", 1))),
      cookieOf(await visitor(options)((session) => session.set("n", 2))),
    ];
    expect(await present(options, one, (session) => session.get("n"))).toBe(1);
    const start = "__Host-session=".length;
    const mixed = Array.from({ length: 5 }, (_, part) =>
      one
        .split(".")
        .with(part, other.split(".")[part] ?? "")
        .join("."),
    );
    const wrong = [
      ...Array.from(one.slice(start), (_, at) => flipped(one, start + at)),
      ...Array.from(one.slice(start), (_, at) => one.slice(0, start + at)),
      ...mixed.slice(2),
    ];
    for (const cookie of wrong) {
      if (bytesOf(cookie) === bytesOf(one)) continue;
      expect(await present(options, cookie, (session) => session.all())).toEqual({});
    }
  });

  test("[ASVS 11.3.4] no nonce is used twice", async () => {
    const { store, records } = openStore();
    const nonces = new Set<string>();
    const inStore = visitor({ store, encrypt: true });
    const inCookie = visitor({ store: cookieStore(), secrets: [secret] });
    for (let n = 0; n < 100; n++) {
      await inStore((session) => session.set("n", n));
      nonces.add([...records.values()][0]?.fields.get("*")?.slice(0, 16) ?? "");
      nonces.add(cookieOf(await inCookie((session) => session.set("n", n))).split(".")[2] ?? "");
    }
    expect(nonces.size).toBe(200);
  });
});

/** The bytes of a sealed text: its last characters hold bits that mean nothing. */
function bytesOf(sealed: string): string {
  return sealed
    .split(".")
    .map((part) => Buffer.from(part, "base64").toString("hex"))
    .join(".");
}

describe("a dump of the store", () => {
  const NAMES = ["shoe size", "a key of the data"];
  const VALUES = ["ada@shop.example", "forty-two and a half"];
  const [USER, DEVICE] = ["user 1815 of the shop", "Firefox in Paris"];

  /** A life of a session, with everything that writes. Answers every id that a client was given. */
  async function live(options: SessionOptions, dump: () => Promise<string>): Promise<{ ids: string[]; dumps: string }> {
    const visit = visitor(options);
    const ids: string[] = [];
    let dumps = "";
    const steps: ((session: Session) => unknown)[] = [
      (session) => session.set({ [NAMES[0]!]: VALUES[0], [NAMES[1]!]: [VALUES[1]] }),
      (session) => session.flash("notice", VALUES[0]),
      (session) => session.update(NAMES[1]!, (list: string[] = []) => [...list, "more"]),
      (session) => session.regenerate({ grace: 60 }),
      (session) => session.setTimeouts({ idle: 50 }),
      (session) => session.csrfToken(),
      (session) => session.touch(),
      (session) => session.bind(USER, { device: DEVICE }),
      (session) => session.regenerate(),
    ];
    for (const step of steps) {
      await visit(step);
      const id = (await visit((session) => session.id())).result ?? "";
      ids.push(id, id.split(".")[0] ?? "");
      dumps += await dump();
    }
    await visit((session) => session.destroy());
    return { ids, dumps: dumps + (await dump()) };
  }

  async function places(): Promise<Record<string, { store: SessionStore; dump: () => Promise<string> }>> {
    const { store, records } = openStore();
    const directory = await temporaryDirectory();
    const server = await startRedis();
    const client = createClient({ url: server.url });
    await client.connect();
    onTestFinished(async () => {
      client.destroy();
      await server.stop();
    });
    const files = async (): Promise<string> => {
      const names = (await readdir(directory, { recursive: true, withFileTypes: true })).filter((entry) =>
        entry.isFile(),
      );
      const texts = await Promise.all(names.map(({ parentPath, name }) => readFile(join(parentPath, name), "utf8")));
      return names.map(({ name }) => name).join("\n") + texts.join("\n");
    };
    const redis = async (): Promise<string> => {
      const keys = await client.keys("*");
      const all = keys.map(async (key) => [
        key,
        (await client.type(key)) === "hash" ? await client.hGetAll(key) : await client.get(key),
      ]);
      return JSON.stringify(await Promise.all(all));
    };
    return {
      "memory": { store, dump: async () => JSON.stringify([...records].map(([key, { fields }]) => [key, ...fields])) },
      "file": { store: fileStore({ directory }), dump: files },
      "redis": { store: redisStore(client, { prefix: "value:" }), dump: redis },
      "redis hash": { store: redisHashStore(client, { prefix: "hash:" }), dump: redis },
    };
  }

  test.each([{}, { secrets: [secret] }, { secrets: [secret], encrypt: true }, { encrypt: true }])(
    "[ASVS 11.4.1] [NIST 5.1] holds no id, and with encrypt neither data nor keys, in memory, files and Redis: %o",
    async (options) => {
      for (const [name, { store, dump }] of Object.entries(await places())) {
        const { ids, dumps } = await live({ ...options, store }, dump);
        const words = [...NAMES, ...VALUES, USER, DEVICE, "notice"];
        const expected = { name, ids: [], words: options.encrypt ? [] : words };
        const found = {
          ids: ids.filter((id) => id === "" || dumps.includes(id)),
          words: words.filter((word) => dumps.includes(word)),
        };
        expect({ name, ...found }).toEqual(expected);
        // The test looks in the right place: what is to be found there is. The head binds a record to half of its key.
        expect(dumps).toContain(keyOf(ids.at(-1) ?? "").slice(0, 16));
      }
    },
  );
});

describe("caches", () => {
  const touches: Record<string, (session: Session) => unknown> = {
    "get()": (session) => session.get("n"),
    "has()": (session) => session.has("n"),
    "all()": (session) => session.all(),
    "keys()": (session) => session.keys(),
    "size()": (session) => session.size(),
    "id()": (session) => session.id(),
    "info()": (session) => session.info(),
    "verifyCsrf()": (session) => session.verifyCsrf("x"),
    "csrfToken()": (session) => session.csrfToken(),
    "set()": (session) => session.set("n", 2),
    "delete()": (session) => session.delete("n"),
    "clear()": (session) => session.clear(),
    "update()": (session) => session.update("n", (n = 0) => n + 1),
    "pull()": (session) => session.pull("n"),
    "flash()": (session) => session.flash("x", 1),
    "keepFlash()": (session) => session.keepFlash(),
    "start()": (session) => session.start(),
    "save()": (session) => session.save(),
    "touch()": (session) => session.touch(),
    "setTimeouts()": (session) => session.setTimeouts({ idle: 50 }),
    "regenerate()": (session) => session.regenerate(),
    "destroy()": (session) => session.destroy(),
    "bind()": (session) => session.bind("ada", { browser: "Firefox" }),
    "unbind()": (session) => session.unbind(),
    "handle()": (session) => session.handle(),
  };

  test("the list of touches has every method that a session has", () => {
    const methods = Object.getOwnPropertyNames(Object.getPrototypeOf(new SessionManager().open("")));
    const calls = methods.filter((name) => name !== "constructor").map((name) => `${name}()`);
    expect(Object.keys(touches).toSorted()).toEqual(calls.toSorted());
  });

  test.each(Object.entries(touches))(
    "[ASVS 14.3.2] [OWASP: caching] %s keeps the response from shared caches",
    async (name, use) => {
      for (const through of ["withSession", "Hono"] as const) {
        const visit = visitor({ store: memoryStore() }, { through });
        await visit((session) => session.set("n", 1));
        const live = await visit(use);
        const control = live.response.headers.get("Cache-Control");
        expect(control).toBe(live.cookies.length > 0 ? "no-store" : "private");
        // What has not even looked at the cookie does not vary on it.
        if (control === "private" && name !== "keepFlash()") expect(live.response.headers.get("Vary")).toBe("Cookie");
        // Without a session as well: the answer might have been another with one.
        const alone = await visitor({ store: memoryStore() }, { through })(use);
        expect(alone.response.headers.get("Cache-Control")).toBe(alone.cookies.length > 0 ? "no-store" : "private");
      }
    },
  );

  test.each([
    "CDN-Cache-Control",
    "Cloudflare-CDN-Cache-Control",
    "Vercel-CDN-Cache-Control",
    "Surrogate-Control",
    "Edge-Control",
    "X-Accel-Expires",
  ])(
    "[ASVS 14.3.2] a response that hands out an id, or takes it back, says nothing else to the caches that heed %s",
    async (name) => {
      const headers = { [name]: "max-age=600", "X-CDN-Cache-Control-Info": "kept" };
      for (const through of ["withSession", "Hono"] as const) {
        const visit = visitor({}, { through });
        for (const use of [(session: Session) => session.set("n", 1), (session: Session) => session.destroy()]) {
          const { response } = await visit(async (session) => {
            await use(session);
            return new Response("Hello", { headers });
          });
          expect(response.headers.get("Cache-Control")).toBe("no-store");
          expect(response.headers.has(name)).toBe(false);
          expect(response.headers.has("X-CDN-Cache-Control-Info")).toBe(true);
        }
        // What holds nothing of a session, the handler may have kept as it likes.
        const { response } = await visit(() => new Response("Hello", { headers }));
        expect(response.headers.get(name)).toBe("max-age=600");
      }
    },
  );

  test("[ASVS 14.3.2] a response that hands out an id is no-store when the handler wanted it kept", async () => {
    const cached = () => new Response("x", { headers: { "Cache-Control": "public, max-age=31536000" } });
    const visit = visitor({ store: cookieStore(), secrets: [secret] });
    const { response } = await visit((session) => {
      session.set("n", 1);
      return cached();
    });
    expect(response.headers.get("Cache-Control")).toBe("no-store");
  });
});

describe("errors and events", () => {
  const shown = (error: unknown): string =>
    error instanceof Error
      ? `${error} ${error.stack} ${JSON.stringify({ ...error })} ${shown(error.cause)}`
      : JSON.stringify(error);

  test("[ASVS 16.5.1] [OWASP: logging] hold no id, key, secret or value when a driver's errors hold all of them", async () => {
    const verbs = ["load", "create", "change", "touch", "delete"] as const;
    for (const options of [{}, { secrets: [secret] }, { secrets: [secret], encrypt: true }]) {
      for (const verb of verbs) {
        const said: string[] = [];
        const leaked: string[] = [secret, "the value", "the flash"];
        let fails = false;
        const leak = (...args: unknown[]): never => {
          leaked.push(String(args[0]));
          // As Upstash's client does it: the command, with key and data, in the message.
          throw Object.assign(new Error(`ERR, command was: ["set",${JSON.stringify(args)}] the value`), {
            command: args,
          });
        };
        const store = altered(memoryStore(), {
          [verb]: (call: (...args: unknown[]) => unknown, ...args: unknown[]) =>
            fails ? leak(...args) : call(...args),
        });
        const observe = (event: SessionEvent): void =>
          void said.push("error" in event ? shown(event.error) : "", JSON.stringify(event));
        const visit = visitor({ store, ...options, observe });
        if (verb !== "create")
          leaked.push(idIn((await visit((session) => session.set("key", "the value"))).cookies) ?? "");
        fails = true;
        const error = await errorOf(() =>
          visit(async (session) => {
            if (verb === "delete") return await session.destroy();
            if (verb === "touch") return session.touch();
            session.set("key", "the value!");
            session.flash("notice", "the flash");
            leaked.push((await session.id()) ?? "");
          }),
        );
        said.push(shown(error));
        expect(said.join("\n")).toContain("ERR_STORE");
        expect(leaked.filter((word) => word.length < 9 || said.join("\n").includes(word))).toEqual([]);
      }
    }
  });

  test("[ASVS 16.5.1] hold nothing of what a driver throws when that fails to be looked at", async () => {
    const throwing = (): never => {
      throw new Error(secret);
    };
    const thrown: unknown[] = [
      Object.assign(new Error(secret), { code: { toString: throwing } }),
      Object.defineProperty(new Error(secret), "code", { get: throwing }),
      Object.defineProperty(new Error(secret), "constructor", { value: undefined }),
      new Proxy(new Error(secret), { get: throwing, has: throwing }),
      Object.create(null),
      secret,
      null,
    ];
    for (const each of thrown) {
      const store = altered(memoryStore(), { load: () => Promise.reject(each) });
      const error = await errorOf(() =>
        present({ store }, `__Host-session=${"A".repeat(32)}`, (session) => session.size()),
      );
      expect(error.code).toBe("ERR_STORE");
      expect(inspect(error, { showHidden: true })).not.toContain(secret);
    }
  });

  test("[ASVS 16.5.1] hold nothing of the cookie when it is forged, or too large, or its revocation cannot be asked", async () => {
    const said: string[] = [];
    const fail = async (...args: unknown[]): Promise<never> => {
      throw new Error(`no: ${JSON.stringify(args)} ${secret}`);
    };
    const revocation: SessionStore = { ...memoryStore(), load: fail };
    const options: SessionOptions = {
      store: cookieStore({ revocation }),
      secrets: [secret],
      observe: (event) => said.push("error" in event ? shown(event.error) : JSON.stringify(event)),
    };
    const cookie = cookieOf(await visitor(options)((session) => session.set("key", "the value")));
    await present(options, flipped(cookie, 60), (session) => session.size());
    const outage = await errorOf(() => present(options, cookie, (session) => session.size()));
    const large = await errorOf(() => visitor(options)((session) => session.set("key", "the value".repeat(1000))));
    expect([outage.code, large.code]).toEqual(["ERR_STORE", "ERR_COOKIE_TOO_LARGE"]);
    said.push(shown(outage), shown(large));
    for (const word of [secret, "the value", cookie.slice(20)]) expect(said.join("\n")).not.toContain(word);
  });

  test("[ASVS 16.5.2] [ASVS 16.5.3] a failing store opens no session, ends none, and erases no cookie", async () => {
    let fails = false;
    const load: SessionStore["load"] = async (key) => {
      if (fails) throw new Error("down");
      return await inner.load(key);
    };
    const inner = memoryStore();
    const store = { ...inner, load };
    const jar = cookieJar();
    const visit = visitor({ store, onStoreError: "anonymous" }, { jar });
    await visit((session) => session.set("user", "ada"));
    fails = true;
    const during = await visit((session) => session.get("user"));
    expect([during.result, during.cookies]).toEqual([undefined, []]);
    expect(await codeOf(() => visitor({ store }, { jar })((session) => session.get("user")))).toBe("ERR_STORE");
    fails = false;
    expect((await visit((session) => session.get("user"))).result).toBe("ada");
  });

  test("SessionError carries nothing but a name, a code and a message", () => {
    expect(Object.keys(new SessionError("ERR_STORE", "x")).toSorted()).toEqual(["code", "name"]);
  });
});
