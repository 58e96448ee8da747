/**
 * The second table of costs in docs/operating.md: the store calls of the requests in `asked_for.test.ts`. The test counts the calls on three
 * engines, and compares them with the table.
 */
import { readFile } from "node:fs/promises";
import { DatabaseSync } from "node:sqlite";
import { describe, expect, test } from "vitest";
import {
  isFresh,
  memoryStore,
  type Session,
  type SessionOptions,
  type SessionStore,
  type UntypedData,
} from "../../mod.ts";
import { accounts } from "../../examples/several_accounts.ts";
import { cookieSessions } from "../../src/cookie_sessions.ts";
import { encryption } from "../../src/encryption.ts";
import { exclusive } from "../../src/exclusive.ts";
import { openTelemetry } from "../../src/opentelemetry.ts";
import { signedIds } from "../../src/signed_ids.ts";
import { fileStore } from "../../src/stores/file.ts";
import { migratingStore } from "../../src/stores/migrating.ts";
import { sqliteStore } from "../../src/stores/sqlite.ts";
import { cookieJar, fakeClock, seedSession } from "../../src/testing.ts";
import { type UserSessions, userSessions } from "../../src/user_sessions.ts";
import { counted, SHOP, temporaryDirectory, visitor, type VisitInit } from "../setup/sessions.ts";
import { telemetry } from "../setup/telemetry.ts";

const secrets = ["a secret of at least thirty-two bytes"];
const DAY = 86_400;

type Visit = ReturnType<typeof visitor<UntypedData>>;
type Users = UserSessions<{ sid: string }>;

/** A client that has signed in, the store that counts its calls, and a clock. */
interface Scene {
  readonly store: SessionStore;
  readonly users: Users;
  readonly visit: Visit;
  /** The client's cookie, as it was when the scene began. */
  readonly copy: VisitInit;
  /** A client with its own cookies, on a server with these additional options. */
  readonly another: (more?: SessionOptions) => Visit;
  readonly advance: (seconds: number) => void;
  /** The same, in the mailbox of examples/several_accounts.ts. */
  readonly mailbox: (path: string, init?: RequestInit) => Promise<Response>;
}

interface Row {
  readonly request: string;
  readonly options?: (store: SessionStore, users: Users) => SessionOptions;
  /** Requests before the counted one. */
  readonly before?: (scene: Scene) => unknown;
  readonly run: (scene: Scene) => unknown;
}

const signIn = (session: Session): void => session.set("user", "ada");
const read = (session: Session): Promise<unknown> => session.get("user");
const write = (session: Session<UntypedData>): void => session.set("n", Math.random());
const destroy = (session: Session): Promise<void> => session.destroy();
const bind = ({ visit, users }: Scene): Promise<unknown> =>
  visit((session) => users.bind(session, "ada", { sid: "1" }));

const sealed = (revocation: SessionStore): SessionOptions => ({
  store: cookieSessions({ secrets, chunks: 3, revocation }),
});
const rotating = (store: SessionStore): SessionOptions => ({ store, rotateEvery: 3600 });
const withUsers = (store: SessionStore, users: Users): SessionOptions => ({ store, plugins: [users] });

const rows: readonly Row[] = [
  {
    request: "a poll that `touch` excludes, or a prefetch, last seen too long ago",
    options: (store) => ({ store, touch: ({ url }) => !url.endsWith("/poll") }),
    before: ({ advance }) => advance(DAY / 2),
    run: ({ visit }) => visit(read, { url: `${SHOP}poll` }),
  },
  {
    request: "the cookie of a session that has ended",
    before: ({ visit }) => visit(destroy),
    run: ({ another, copy }) => another()(read, copy),
  },
  {
    request: "the next request of that client",
    async before({ visit, another, copy }) {
      await another()(destroy, copy);
      await visit(read);
    },
    run: ({ visit }) => visit(read),
  },
  {
    request: "`exclusive()`, when nobody else holds the key",
    run: ({ visit }) => visit((session) => exclusive(session, "n", () => 1)),
  },
  {
    request: "reads, with secrets, cookie and limits as functions",
    options: (store, users) => ({
      store: () => store,
      ids: signedIds({ secrets: () => secrets }),
      cookie: () => ({ name: "__Host-shop" }),
      plugins: [users],
    }),
    run: ({ visit }) => visit(read),
  },
  { request: "`cookieSessions({ chunks, revocation })` reads", options: sealed, run: ({ visit }) => visit(read) },
  { request: "`cookieSessions({ chunks, revocation })` writes", options: sealed, run: ({ visit }) => visit(write) },
  { request: "`cookieSessions({ chunks, revocation })` logs out", options: sealed, run: ({ visit }) => visit(destroy) },
  {
    request: "`regenerate({ reauthenticated: true })`",
    run: ({ visit }) => visit((session) => session.regenerate({ reauthenticated: true })),
  },
  { request: "`isFresh()`", run: ({ visit }) => visit((session) => isFresh(session, 300)) },
  {
    request: "the first request after `rotateEvery`",
    options: rotating,
    before: ({ advance }) => advance(3600),
    run: ({ visit }) => visit(read),
  },
  {
    request: "a retired id of `rotateEvery` is used again",
    options: rotating,
    async before({ advance, visit }) {
      advance(3600);
      await visit(read);
      await visit(read);
      advance(61);
    },
    run: ({ another, copy }) => another()(read, copy),
  },
  {
    request: "`set` or `flash` with a `ttl`",
    run: ({ visit }) =>
      visit((session) => {
        session.set("n", 1, { ttl: 60 });
        session.flash("notice", "Hello", { ttl: 60 });
      }),
  },
  {
    request: "reads a value whose `ttl` is over",
    async before({ visit, advance }) {
      await visit((session) => session.set("n", 1, { ttl: 60 }));
      advance(61);
    },
    run: ({ visit }) => visit((session) => session.get("n")),
  },
  {
    request: "an unsigned id, with `acceptUnsigned`",
    run: ({ another, copy }) => another({ ids: signedIds({ secrets, acceptUnsigned: true }) })(read, copy),
  },
  {
    request: "writes a plain record, with `acceptPlain`",
    run: ({ another, copy }) => another({ encryption: encryption({ acceptPlain: true }) })(write, copy),
  },
  {
    request: "reads a session that `migratingStore` has not moved, in the old store",
    run: ({ another, copy, store }) => another({ store: migratingStore(store, memoryStore()) })(read, copy),
  },
  {
    request: "a cookie of a `previous` scope",
    run: ({ another, copy }) =>
      another({ cookie: { name: "__Host-new", previous: [{ name: "__Host-session" }] } })(read, copy),
  },
  { request: "`bind()` with a limit and an index, a user's first session", options: withUsers, run: bind },
  {
    request: "`revokeBy()` that ends one session",
    options: withUsers,
    before: bind,
    run: ({ users }) => users.revokeBy("sid", "1"),
  },
  {
    request: "begins to act as another user",
    run: ({ visit }) =>
      visit(async (session) => {
        await session.regenerate();
        session.set("actingFor", "bob", { ttl: 900 });
      }),
  },
  {
    request: "lists the accounts of one browser, two of them signed in",
    async before({ mailbox }) {
      const init = { method: "POST", headers: { "Sec-Fetch-Site": "same-origin" } };
      for (const account of [0, 1])
        await mailbox(`u/${account}/login`, { ...init, body: new URLSearchParams({ user: "ada" }) });
    },
    run: ({ mailbox }) => mailbox(""),
  },
  {
    request: "`destroy({ clearSiteData })`",
    run: ({ visit }) => visit((session) => session.destroy({ clearSiteData: ["cache"] })),
  },
  { request: "`seedSession()`", run: ({ store }) => seedSession({ store }, { user: "ada" }) },
  {
    request: "writes, with `openTelemetry()`",
    options(store) {
      const { tracer, meter } = telemetry();
      return { store, onEvent: openTelemetry({ tracer, meter }) };
    },
    run: ({ visit }) => visit(write),
  },
];

const stores: Readonly<Record<string, () => SessionStore | Promise<SessionStore>>> = {
  memory: () => memoryStore(),
  file: async () => fileStore({ directory: await temporaryDirectory() }),
  SQLite: () => sqliteStore(new DatabaseSync(":memory:")),
};

const page = await readFile(new URL("../../docs/operating.md", import.meta.url), "utf8");
const [, table = ""] = /<!-- asked for -->\n(.*?)\n<!-- end -->/s.exec(page) ?? [];
const [, , ...shown] = table.trim().split("\n");

describe.each(Object.entries(stores))("docs/operating.md tells what a store is asked, here %s, by", (_, open) => {
  test.each(rows)("$request", async ({ request, options = (store) => ({ store }), before, run }) => {
    const { now, advance } = fakeClock();
    const { store, calls } = counted(await open());
    const users = userSessions<{ sid: string }>({ indexes: { sid: ({ sid }) => sid }, limit: () => 5 });
    const settings: SessionOptions = { ...options(store, users), now };
    const jar = cookieJar({ now });
    const visit = visitor<UntypedData>(settings, { jar });
    await visit(signIn);
    const copy = { headers: { Cookie: jar.header(SHOP) ?? "" } };
    const another = (more?: SessionOptions): Visit => visitor<UntypedData>({ ...settings, ...more });
    const mail = accounts(secrets, { store });
    const mailbox: Scene["mailbox"] = (path, init) => jar.fetch(mail, SHOP + path, init);
    const scene: Scene = { store, users, visit, copy, another, advance, mailbox };
    await before?.(scene);
    calls.length = 0;
    await run(scene);
    const loads = calls.filter((call) => call === "load").length;
    expect(shown).toContain(`| ${request} | ${loads} | ${calls.length - loads} |`);
  });
});

test("docs/operating.md has these rows and no others", () => {
  expect(shown.map((line) => line.split(" | ")[0])).toEqual(rows.map(({ request }) => `| ${request}`));
});
