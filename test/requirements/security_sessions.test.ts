import { describe, expect, test } from "vitest";
import { memoryStore, type Session, SessionManager, type SessionOptions, type SessionStore } from "../../mod.ts";
import { cookieJar, fakeClock } from "../../src/testing.ts";
import { codeOf, cookieOf, counted, openStore, SHOP, visitor } from "../setup/sessions.ts";

const withCookie = (Cookie: string) => ({ headers: { Cookie } });
/** Sends one request of a client that has only this cookie. */
const present = async <Result>(
  options: SessionOptions | SessionManager,
  cookie: string,
  use: (session: Session) => Result | Promise<Result>,
): Promise<Result> => (await visitor(options, { jar: cookieJar() })(use, withCookie(cookie))).result;

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
