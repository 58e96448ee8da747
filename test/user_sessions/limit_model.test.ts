import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { type Session, SessionError, SessionManager, type SessionStore, type UntypedData } from "../../mod.ts";
import { userSessions, type UserSessions, type UserSessionsOptions } from "../../src/user_sessions.ts";
import { fakeClock } from "../../src/testing.ts";
import { runsOf } from "../setup/random.ts";
import { openStore } from "../setup/sessions.ts";
import { ADA, isPage } from "./devices.ts";
import { type Fault, factsIn, pageKey, scheduledStore, unlisted } from "./invariant.ts";

const LIMIT = 2;
const GRACE = "user-1906";

/** The possible calls of one request, on a session that it opens by the id of its client. */
const acts = {
  "log in": async (session, users) => (await session.regenerate(), await users.bind(session, ADA)),
  "log in with a grace": async (session, users) => (
    await session.regenerate({ grace: 60 }),
    await users.bind(session, ADA)
  ),
  "log in as another": async (session, users) => (await session.regenerate(), await users.bind(session, GRACE)),
  "bind": (session, users) => users.bind(session, ADA),
  "bind to another": (session, users) => users.bind(session, GRACE),
  "unbind": (session, users) => users.unbind(session),
  "regenerate": (session) => session.regenerate(),
  "destroy": (session) => session.destroy(),
  "write": async (session) => void (await session.update("n", (n: number = 0) => n + 1)),
  "touch": (session) => session.touch(),
  "revokeAll": async (_, users) => void (await users.revokeAll(ADA)),
  "list": async (_, users) => void (await users.list(ADA)),
} satisfies Record<string, (session: Session<UntypedData>, users: UserSessions) => unknown>;

const request = fc.record({
  client: fc.nat(2),
  act: fc.constantFrom(...(Object.keys(acts) as (keyof typeof acts)[])),
  skew: fc.constantFrom(-300, 0, 0, 300),
});
const waves = fc.array(
  fc.record({
    requests: fc.array(request, { minLength: 1, maxLength: 3 }),
    order: fc.array(fc.nat(), { minLength: 60, maxLength: 60 }),
    isLate: fc.boolean(),
  }),
  { minLength: 1, maxLength: 4 },
);

// There are no pauses after conflicts, and a list has one page, so that the schedule decides which call comes next.
beforeEach(() => void vi.spyOn(Math, "random").mockReturnValue(0));
afterEach(() => void vi.restoreAllMocks());

describe("the limit of a user's sessions, whatever meets, with clocks five minutes off", () => {
  test.each(["refuse", "revoke-oldest"] as const)(
    "with onLimit %j is not exceeded when all requests are done, and no entry is left that counts",
    async (onLimit) => {
      await fc.assert(
        fc.asyncProperty(waves, (played) => play(played, { limit: LIMIT, onLimit })),
        runsOf(150),
      );
    },
  );
});

type Wave = typeof waves extends fc.Arbitrary<(infer Each)[]> ? Each : never;

async function play(played: readonly Wave[], about: UserSessionsOptions): Promise<void> {
  const clock = fakeClock(1_800_000_000_000);
  const { store, records } = openStore();
  const program = (own: SessionStore, now: () => number) => {
    const users = userSessions(about);
    const options = { store: own, now, plugins: [users], storeTimeout: 60 };
    return { users, sessions: new SessionManager<UntypedData>(options) };
  };
  const { users, sessions } = program(store, clock.now);
  const clients = ["", "", ""];
  for (const { requests, order, isLate } of played) {
    const waiting: ((fault: Fault) => void)[] = [];
    const scheduled = scheduledStore(store, () => new Promise((go) => waiting.push(go)));
    let running = requests.length;
    const done = requests.map(async ({ client, act, skew }) => {
      const own = program(scheduled, () => clock.now() + skew * 1000);
      const session = own.sessions.open(clients[client] ?? "");
      try {
        await acts[act](session, own.users);
        await session.save();
        clients[client] = (await session.id()) ?? clients[client] ?? "";
      } catch (error) {
        // It was refused, or another request has ended the session.
        if (!(error instanceof SessionError)) throw error;
        await own.sessions.discard(session);
      } finally {
        running--;
      }
    });
    for (let step = 0; running > 0; step++) {
      await idle();
      const [next] = waiting.splice((order[step % order.length] ?? 0) % Math.max(1, waiting.length), 1);
      next?.("none");
      expect(unlisted(records)).toEqual([]);
    }
    await Promise.all(done);
    if (isLate) clock.advance(1801);
    for (const user of [ADA, GRACE]) {
      const places = LIMIT - (await users.list(user)).length;
      expect(places).toBeGreaterThanOrEqual(0);
      if (places === 0) continue;
      const login = sessions.open("");
      await users.bind(login, user);
      await login.save();
      await login.destroy();
      await login.save();
    }
    expect(strays()).toEqual([]);
  }

  /** The entries that look like logins under way. */
  function strays(): string[] {
    return [...records].flatMap(([key, page]) =>
      isPage(page) ? [...page.fields.keys()].filter((name) => name !== "@" && isStray(key, name)) : [],
    );
  }

  function isStray(page: string, name: string): boolean {
    const [key = "", token] = name.slice(1).split(" ");
    const record = records.get(key);
    if (record === undefined) return true;
    if (record.fields.size === 0 || record.fields.get("@")?.includes('"successor"') === true) return false;
    const facts = factsIn(record);
    return facts?.token !== token || !facts?.lists.some((place) => pageKey(place.list, place.page) === page);
  }
}

/** Waits until all code has run that waits for nothing. */
async function idle(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
}
