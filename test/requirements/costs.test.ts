import { describe, expect, test } from "vitest";
import { memoryStore, type Session, type SessionOptions, type SessionStore } from "../../mod.ts";
import { signedIds } from "../../src/signed_ids.ts";
import { fileStore } from "../../src/stores/file.ts";
import { cookieJar, fakeClock } from "../../src/testing.ts";
import { counted, idIn, SHOP, temporaryDirectory, visitor, type VisitInit } from "../setup/sessions.ts";

/** One row of the table: a request, and its maximum number of calls. */
interface Row {
  readonly name: string;
  /** Whether the client has a session before this request. */
  readonly live?: boolean;
  /** Seconds between the two requests. */
  readonly after?: number;
  readonly options?: SessionOptions;
  readonly init?: VisitInit;
  readonly use: (session: Session) => unknown;
  readonly calls: string[];
  readonly cookies: number;
}

const ids = signedIds({ secrets: ["a secret of at least thirty-two bytes"] });
const withCookie = (value: string): VisitInit => ({ headers: { Cookie: `__Host-session=${value}` } });
const read = (session: Session): unknown => session.get("n");
const readEverything = async (session: Session): Promise<unknown> => [
  await session.get("n"),
  await session.get("n"),
  await session.has("n"),
  await session.all(),
  await session.keys(),
  await session.size(),
  await session.id(),
  await session.info(),
];
const write = (session: Session): void => session.set("n", 2);
const setEqual = async (session: Session): Promise<unknown> => {
  session.set("n", 1);
  session.set({ list: [1, { a: new Date(0) }] });
  session.set("missing", undefined);
  session.delete("missing");
  await session.update("n", (n) => n);
  (await session.get("list")).push(2);
  return (await session.get("list")).pop();
};
const logOut = (session: Session): Promise<void> => session.destroy();
const logIn = async (session: Session): Promise<void> => {
  session.set("user", "ada");
  await session.regenerate();
};

const long = 8640;

const rows: readonly Row[] = [
  { name: "never touches the session, with an id", live: true, use: () => 0, calls: [], cookies: 0 },
  { name: "never touches the session, without one", use: () => 0, calls: [], cookies: 0 },
  { name: "never touches the session, for long", live: true, after: long, use: () => 0, calls: [], cookies: 0 },
  { name: "reads without an id", use: readEverything, calls: [], cookies: 0 },
  // The next response expires a cookie that gives no session.
  { name: "reads with a malformed id", init: withCookie("../etc"), use: readEverything, calls: [], cookies: 1 },
  {
    name: "reads with a forged id",
    options: { ids },
    init: withCookie(`${"a".repeat(32)}.${"b".repeat(43)}`),
    use: readEverything,
    calls: [],
    cookies: 0,
  },
  {
    name: "reads with a made-up id",
    init: withCookie("a".repeat(32)),
    use: readEverything,
    calls: ["load"],
    cookies: 1,
  },
  { name: "deletes without an id", use: (session) => session.delete("n"), calls: [], cookies: 0 },
  {
    name: "sets and deletes without an id",
    use: (session) => (write(session), session.clear()),
    calls: [],
    cookies: 0,
  },
  { name: "touches without an id", use: (session) => session.touch(), calls: [], cookies: 0 },
  { name: "logs out without an id", use: logOut, calls: [], cookies: 0 },
  { name: "regenerates without an id", use: (session) => session.regenerate(), calls: [], cookies: 0 },
  { name: "writes for the first time", use: write, calls: ["create"], cookies: 1 },
  { name: "writes for the first time, signed", options: { ids }, use: write, calls: ["create"], cookies: 1 },
  { name: "updates for the first time", use: (session) => session.update("n", () => 1), calls: ["create"], cookies: 1 },
  { name: "creates an empty session", use: (session) => session.create(), calls: ["create"], cookies: 1 },
  {
    name: "writes for the first time, with a made-up id",
    init: withCookie("a".repeat(32)),
    use: write,
    calls: ["load", "create"],
    cookies: 1,
  },
  { name: "reads a live session", live: true, use: readEverything, calls: ["load"], cookies: 0 },
  {
    name: "creates a session that is there",
    live: true,
    use: (session) => session.create(),
    calls: ["load"],
    cookies: 0,
  },
  {
    name: "reads just before last seen is too old",
    live: true,
    after: long - 1,
    use: read,
    calls: ["load"],
    cookies: 0,
  },
  { name: "reads, last seen too long ago", live: true, after: long, use: read, calls: ["load", "touch"], cookies: 1 },
  {
    name: "writes, last seen too long ago",
    live: true,
    after: long,
    use: write,
    calls: ["load", "change"],
    cookies: 1,
  },
  {
    name: "reads at once, with a touchInterval of 0",
    live: true,
    after: 1,
    options: { touchInterval: 0 },
    use: read,
    calls: ["load", "touch"],
    cookies: 1,
  },
  {
    name: "touches a live session",
    live: true,
    use: (session) => session.touch(),
    calls: ["load", "touch"],
    cookies: 1,
  },
  { name: "writes a live session", live: true, use: write, calls: ["load", "change"], cookies: 0 },
  {
    name: "writes a live session in every way",
    live: true,
    use: async (session) => {
      write(session);
      session.flash("notice", "hello");
      (await session.get("list")).push(3);
      await session.pull("n");
      session.set({ a: 1, b: 2 });
    },
    calls: ["load", "change"],
    cookies: 0,
  },
  {
    name: "updates a live session",
    live: true,
    use: (session) => session.update("n", (n) => n + 1),
    calls: ["load", "change"],
    cookies: 0,
  },
  {
    name: "updates a live session twice and writes",
    live: true,
    use: async (session) => {
      await session.update("n", (n) => n + 1);
      write(session);
      await session.update("n", (n) => n + 1);
      session.set("other", 1);
    },
    calls: ["load", "change", "change", "change"],
    cookies: 0,
  },
  {
    name: "updates, last seen too long ago",
    live: true,
    after: long,
    use: (session) => session.update("n", (n) => n + 1),
    calls: ["load", "change"],
    cookies: 1,
  },
  {
    name: "sets a flash value in a live session",
    live: true,
    use: (session) => session.flash("notice", "hello"),
    calls: ["load", "change"],
    cookies: 0,
  },
  {
    name: "rotates by age",
    live: true,
    after: 3600,
    options: { rotateEvery: 3600 },
    use: read,
    calls: ["load", "create", "change"],
    cookies: 1,
  },
  {
    name: "updates and regenerates",
    live: true,
    use: async (session) => (await session.regenerate(), await session.update("n", (n) => n + 1)),
    calls: ["load", "create", "change"],
    cookies: 1,
  },
  { name: "sets equal values", live: true, use: setEqual, calls: ["load"], cookies: 0 },
  { name: "sets equal timeouts", live: true, use: (session) => session.setTimeouts({}), calls: ["load"], cookies: 0 },
  { name: "logs out", live: true, use: logOut, calls: ["load", "delete"], cookies: 1 },
  { name: "logs out with a made-up id", init: withCookie("a".repeat(32)), use: logOut, calls: ["load"], cookies: 1 },
  {
    name: "writes and logs out",
    live: true,
    use: (session) => (write(session), session.destroy()),
    calls: ["load", "delete"],
    cookies: 1,
  },
  {
    name: "logs out and begins anew",
    live: true,
    use: async (session) => (await session.destroy(), write(session)),
    calls: ["load", "delete", "create"],
    cookies: 1,
  },
  { name: "regenerates", live: true, use: logIn, calls: ["load", "create", "change"], cookies: 1 },
  {
    name: "regenerates twice, last seen too long ago",
    live: true,
    after: long,
    use: async (session) => (await session.regenerate(), await session.regenerate()),
    calls: ["load", "create", "change"],
    cookies: 1,
  },
  {
    name: "saves in mid-handler and does no more",
    live: true,
    use: async (session) => (write(session), await session.save()),
    calls: ["load", "change"],
    cookies: 0,
  },
  {
    name: "saves in mid-handler and writes what came after",
    live: true,
    use: async (session) => (write(session), await session.save(), session.set("n", 3)),
    calls: ["load", "change", "change"],
    cookies: 0,
  },
  {
    name: "saves in mid-handler with a touchInterval of 0",
    live: true,
    after: 1,
    options: { touchInterval: 0 },
    use: async (session) => (write(session), await session.save()),
    calls: ["load", "change"],
    cookies: 1,
  },
  {
    name: "saves a new session in mid-handler with a touchInterval of 0",
    options: { touchInterval: 0 },
    use: async (session) => (write(session), await session.save()),
    calls: ["create"],
    cookies: 1,
  },
  {
    name: "is eager and touches nothing",
    live: true,
    options: { load: "eager" },
    use: () => 0,
    calls: ["load"],
    cookies: 0,
  },
  { name: "is eager and has no id", options: { load: "eager" }, use: () => 0, calls: [], cookies: 0 },
  {
    name: "is eager and reads",
    live: true,
    options: { load: "eager" },
    use: readEverything,
    calls: ["load"],
    cookies: 0,
  },
  {
    name: "is eager, last seen too long ago",
    live: true,
    after: long,
    options: { load: "eager" },
    use: () => 0,
    calls: ["load", "touch"],
    cookies: 1,
  },
  {
    name: "always refreshes the cookie and reads",
    live: true,
    options: { cookie: { refresh: "always" } },
    use: read,
    calls: ["load"],
    cookies: 1,
  },
  {
    name: "always refreshes the cookie and writes",
    live: true,
    options: { cookie: { refresh: "always" } },
    use: write,
    calls: ["load", "change"],
    cookies: 1,
  },
  {
    name: "always refreshes the cookie and touches nothing",
    live: true,
    options: { cookie: { refresh: "always" } },
    use: () => 0,
    calls: [],
    cookies: 0,
  },
];

const stores: Readonly<Record<string, () => SessionStore | Promise<SessionStore>>> = {
  memory: () => memoryStore(),
  file: async () => fileStore({ directory: await temporaryDirectory() }),
};

describe.each(["withSession", "Hono"] as const)("[31] [39] [43] %s", (through) => {
  describe.each(Object.entries(stores))("on a %s store", (_, open) => {
    test.each(rows)("costs what the contract says when a request $name", async (row) => {
      const clock = fakeClock();
      const { store, calls } = counted(await open());
      const visit = visitor({ store, now: clock.now, ...row.options }, { through });
      if (row.live) await visit((session) => session.set({ n: 1, list: [1, { a: new Date(0) }] }));
      calls.length = 0;
      clock.advance(row.after ?? 0);
      const { cookies } = await visit(row.use, row.init);
      expect(calls).toEqual(row.calls);
      expect(cookies).toHaveLength(row.cookies);
    });

    test("[10] expires the cookie when a client logs out, and sends the new id when it regenerates", async () => {
      const jar = cookieJar();
      const visit = visitor({ store: await open() }, { through, jar });
      const before = idIn((await visit(write)).cookies);
      const after = idIn((await visit(logIn)).cookies);
      expect(after).not.toBe(before);
      expect(after).toMatch(/^[\w-]{32}$/);
      const { cookies } = await visit(logOut);
      expect(cookies[0]).toContain("Max-Age=0");
      expect(jar.header(SHOP)).toBe(null);
    });
  });

  test("[32] opens the store only when the session is first used", async () => {
    const { store, calls } = counted(memoryStore());
    let opened = 0;
    const jar = cookieJar();
    const visit = visitor({ store: () => (opened++, store) }, { through, jar });
    await visit(() => 0);
    expect([opened, calls]).toEqual([0, []]);
    await visit(write);
    expect([opened, calls]).toEqual([1, ["create"]]);
    await visit(() => 0);
    expect(opened).toBe(1);
  });
});
