import { describe, expect, test } from "vitest";
import { memoryStore, SessionManager, type SessionOptions, withSession } from "../../mod.ts";
import { seedSession } from "../../src/testing.ts";

/** What a program with these options finds in the session of a cookie. */
async function found(options: SessionOptions | SessionManager, cookie: string, url: string): Promise<unknown> {
  const handler = withSession(async (_request, session) => Response.json(await session.all()), options);
  return await (await handler(new Request(url, { headers: { cookie } }))).json();
}

describe("seedSession()", () => {
  test("answers the cookie of a session that a program on the same store has", async () => {
    const options = { store: memoryStore() };
    const cookie = await seedSession(options, { user: "ada", visits: 3 });
    expect(cookie).toMatch(/^__Host-session=[\w-]{32}$/);
    expect(await found(options, cookie, "https://localhost/")).toEqual({ user: "ada", visits: 3 });
  });

  test("takes a manager, and an address on plain-http loopback, where the cookie has no prefix", async () => {
    const url = "http://localhost:3000/";
    const sessions = new SessionManager();
    const cookie = await seedSession(sessions, { user: "ada" }, { url });
    expect(cookie).toMatch(/^session=[\w-]{32}$/);
    expect(await found(sessions, cookie, url)).toEqual({ user: "ada" });
  });

  test("stores a session without data too", async () => {
    const options = { store: memoryStore() };
    const cookie = await seedSession(options, {});
    expect(await found(options, cookie, "https://localhost/")).toEqual({});
    const sessions = new SessionManager(options);
    const session = sessions.start(new Request("https://localhost/", { headers: { cookie } }));
    expect((await session.info()).isNew).toBe(false);
  });

  test("answers all cookies that the response sets", async () => {
    const plugin = { name: "beside", respond: (headers: Headers) => headers.append("Set-Cookie", "beside=1; Path=/") };
    const cookie = await seedSession({ store: memoryStore(), plugins: [plugin] }, { user: "ada" });
    expect(cookie).toMatch(/^__Host-session=[\w-]{32}; beside=1$/);
  });

  test("passes what the runtime passes to the functions of the options", async () => {
    const env = { SESSIONS: memoryStore() };
    const given: unknown[][] = [];
    const store = (...rest: unknown[]) => (given.push(rest), env.SESSIONS);
    await seedSession({ store }, { user: "ada" }, { rest: [env, "context"] });
    await seedSession({ store }, { user: "ada" });
    expect(given).toEqual([[env, "context"], []]);
  });

  test("throws a TypeError when there is no store, no cookie, the address is none, or an option is unknown", async () => {
    for (const options of [{}, { idleTimeout: 60 }])
      await expect(seedSession(options, {})).rejects.toThrow(/^seedSession needs the store of the program under test/);
    const header: SessionOptions = { store: memoryStore(), header: "X-Session-Id", cookie: false };
    await expect(seedSession(header, {})).rejects.toThrow(/^seedSession needs options with a cookie/);
    for (const url of ["", "/path", 7, null, ["https://localhost/"]])
      await expect(seedSession({}, {}, { url: url as string })).rejects.toThrow(/^seedSession: url must be an address/);
    await expect(seedSession({}, {}, { adress: "" } as object)).rejects.toThrow("seedSession has no option");
  });
});
