import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { type Session, SessionManager, type SessionStore, type UntypedData } from "../../mod.ts";
import { userSessions, type UserSessions } from "../../src/user_sessions.ts";
import { fakeClock } from "../../src/testing.ts";
import { runsOf } from "../setup/random.ts";
import { everySchedule } from "../setup/schedules.ts";
import { openStore } from "../setup/sessions.ts";
import { type Fault, scheduledStore, unlisted } from "./invariant.ts";

const USERS = ["ada", "grace"] as const;

/** The possible calls of one request, on a session that it opens by the id of its client. */
const acts = {
  "log in": async (session, users) => (await session.regenerate(), await users.bind(session, "ada")),
  "log in with a grace": async (session, users) => (
    await session.regenerate({ grace: 60 }),
    await users.bind(session, "ada")
  ),
  "bind": (session, users) => users.bind(session, "ada", { browser: "Firefox" }),
  "bind to another": (session, users) => users.bind(session, "grace"),
  "log in as another": async (session, users) => (await session.regenerate(), await users.bind(session, "grace")),
  "unbind": (session, users) => users.unbind(session),
  "regenerate": (session) => session.regenerate(),
  "regenerate and fail": async (session) => (
    await session.regenerate(),
    await session.save(),
    Promise.reject(new Error("The handler failed"))
  ),
  "destroy": (session) => session.destroy(),
  "write": (session) => session.set("n", 1),
  "touch": (session) => session.touch(),
  "revoke": async (session, users) => {
    const handle = await users.handle(session);
    if (handle !== null) await users.revoke(handle);
    // On a server whose clock is ahead, the grace has ended, so it finds no session.
    return handle;
  },
  "revokeAll": async (_, users) => void (await users.revokeAll("ada")),
  "revokeAll but this": async (session, users) => void (await users.revokeAll("ada", { except: session })),
  "list": async (_, users) => void (await users.list("ada")),
} satisfies Record<string, (session: Session<UntypedData>, users: UserSessions) => unknown>;

type Act = keyof typeof acts;

/** One program on a server, with its own manager, view of the store and clock. */
function program(
  store: SessionStore,
  now: () => number,
): { readonly sessions: SessionManager<UntypedData>; readonly users: UserSessions } {
  const users = userSessions();
  return { sessions: new SessionManager<UntypedData>({ store, now, plugins: [users], storeTimeout: 60 }), users };
}

// There are no pauses after conflicts, and there is one page, so that the schedule decides which call comes next.
beforeEach(() => void vi.spyOn(Math, "random").mockReturnValue(0));
afterEach(() => void vi.restoreAllMocks());

describe("users' sessions, whatever meets and whatever crashes", () => {
  test("every bound session is listed at any time, what was ended stays so, and revokeAll() reaches all, with clocks five minutes off", async () => {
    const request = fc.record({
      client: fc.nat(2),
      act: fc.constantFrom(...(Object.keys(acts) as Act[])),
      skew: fc.constantFrom(-300, 0, 0, 300),
    });
    const decisions = fc.array(fc.record({ who: fc.nat(), fault: fc.nat(39) }), { minLength: 60, maxLength: 60 });
    const waves = fc.array(fc.tuple(fc.array(request, { minLength: 1, maxLength: 3 }), decisions, fc.boolean()), {
      minLength: 2,
      maxLength: 5,
    });
    await fc.assert(fc.asyncProperty(waves, play), { ...runsOf(400), endOnFailure: true });
  });

  const ends: readonly Act[] = ["revokeAll", "destroy"];
  const others = ["regenerate", "log in", "bind", "touch"] as const;
  test.each(ends.flatMap((end) => others.map((act) => ({ end, act }))))(
    "nothing is left of a session after $end, in whatever order it meets $act, which crashes anywhere",
    async ({ end, act }) => {
      let crashes = 0;
      const played = await everySchedule(async (choose) => {
        const { store, records } = openStore();
        const { sessions, users } = program(store, Date.now);
        const first = sessions.open("");
        await users.bind(first, "ada");
        await first.save();
        const id = (await first.id()) ?? "";
        const parties = [end, act].map((each) => startParty(store, id, each));
        const [ending, other] = parties as [Party, Party];
        await settled(parties);
        // If this request begins after the end, it finds no session, and logs in anew.
        other.step();
        let current = choose(2) === 0 ? ending : other;
        for (let switches = 0; ;) {
          await settled(parties);
          expect(unlisted(records)).toEqual([]);
          const another = current === ending ? other : ending;
          if (current.waiting.length === 0) current = another;
          if (current.waiting.length === 0) break;
          const maySwitch = switches < MAX_SWITCHES && another.waiting.length > 0;
          const ways = ["step", ...(maySwitch ? ["switch"] : []), ...(current === other ? ["crash"] : [])];
          const way = ways[choose(ways.length)];
          if (way === "crash") {
            crashes++;
            other.crashed = true;
            other.waiting.splice(0);
          } else if (way === "switch") {
            switches++;
            current = another;
          }
          if (way !== "crash") current.step();
        }
        expect(ending.isDone).toBe(true);
        for (const each of [id, other.id]) {
          if (each) expect(await users.handle(sessions.open(each))).toBeNull();
        }
        // Even a session whose id no client has received is in the list.
        expect(unlisted(records)).toEqual([]);
      });
      expect(played).toBeGreaterThan(20);
      expect(crashes).toBeGreaterThan(5);
    },
  );
});

const MAX_STEPS = 20_000;
/** How often the requests of a schedule take turns. With more switches there would be too many schedules. */
const MAX_SWITCHES = 2;

type Wave = readonly [
  requests: readonly { readonly client: number; readonly act: Act; readonly skew: number }[],
  decisions: readonly { readonly who: number; readonly fault: number }[],
  isLate: boolean,
];

/** Plays waves of concurrent requests, and compares the results with the promises. */
async function play(waves: readonly Wave[]): Promise<void> {
  const clock = fakeClock(1_800_000_000_000);
  const { store, records } = openStore();
  const { sessions, users } = program(store, clock.now);
  const clients: string[] = ["", "", ""];
  const told = new Set<string>();
  /** The handles of the ended sessions. */
  const ended = new Set<string>();
  for (const [requests, decisions, isLate] of waves) {
    const { gate, run } = scheduled(decisions, () => expect(unlisted(records)).toEqual([]));
    await run(
      requests.map(async ({ client, act, skew }, party) => {
        const own = program(gate(store, party), () => clock.now() + skew * 1000);
        const session = own.sessions.open(clients[client]!);
        const listed = (await users.list("ada")).map(({ handle }) => handle);
        const before = await users.handle(sessions.open(clients[client]!));
        try {
          const revoked = await acts[act](session, own.users);
          await session.save();
          if (typeof revoked === "string") ended.add(revoked);
          const id = await session.id();
          if (id !== null) told.add((clients[client] = id));
        } catch {
          // The request failed, or another request has ended the session. Nothing is promised for it.
          await own.sessions.discard(session).catch(() => {});
          return;
        }
        if (act === "revokeAll") for (const handle of listed) ended.add(handle);
        if (act === "destroy" && before !== null) ended.add(before);
      }),
    );
    if (isLate) clock.advance(1801);
    const lists = await Promise.all(USERS.map((user) => users.list(user)));
    const listed = new Set(lists.flat().map(({ handle }) => handle));
    for (const id of told) {
      const handle = await users.handle(sessions.open(id));
      if (handle === null) continue;
      expect(listed).toContain(handle);
      expect(ended).not.toContain(handle);
    }
  }
  for (const user of USERS) await users.revokeAll(user);
  for (const id of told) expect(await users.handle(sessions.open(id))).toBeNull();
}

/** Lets calls of the store go on one at a time. The decisions give the order and the faults. */
function scheduled(
  decisions: Wave[1],
  check: () => void,
): {
  readonly gate: (store: SessionStore, party: number) => SessionStore;
  readonly run: (parties: readonly Promise<void>[]) => Promise<void>;
} {
  const waiting: { readonly party: number; readonly go: (fault: Fault) => void }[] = [];
  const crashed = new Set<number>();
  return {
    gate: (store, party) =>
      scheduledStore(store, async () =>
        crashed.has(party) ? "rejects" : await new Promise<Fault>((go) => waiting.push({ party, go })),
      ),
    async run(parties) {
      let running = parties.length;
      for (const party of parties) void party.finally(() => running--);
      for (let step = 0; running > 0; step++) {
        // Waits until each running request has reached its next call or the end of a pause.
        await idle();
        if (step > MAX_STEPS) throw new Error("The requests do not come to an end");
        check();
        const { who, fault } = decisions[step % decisions.length]!;
        const [next] = waiting.splice(who % Math.max(1, waiting.length), 1);
        if (next === undefined) continue;
        // One call in seven fails, loses its answer or is sent twice. After some of these the process crashes.
        if (fault < 2) crashed.add(next.party);
        const faults: Fault[] = [
          "rejects",
          "does it but rejects",
          "rejects",
          "does it but rejects",
          "does it twice",
          "does it twice",
        ];
        next.go(step >= decisions.length ? "none" : (faults[fault] ?? "none"));
      }
      await Promise.all(parties);
    },
  };
}

/** A request whose calls of the store wait until the test lets them go on. */
interface Party {
  readonly waiting: (() => void)[];
  /** Lets the next call go on. */
  step(): void;
  crashed: boolean;
  isDone: boolean;
  /** The id that its client has received. */
  id: string | null;
}

function startParty(store: SessionStore, id: string, act: Act): Party {
  const party: Party = {
    waiting: [],
    step: () => party.waiting.shift()?.(),
    crashed: false,
    isDone: false,
    id: null,
  };
  const gated = scheduledStore(
    store,
    () => new Promise<Fault>((go) => party.crashed || party.waiting.push(() => go("none"))),
  );
  const { sessions, users } = program(gated, Date.now);
  const run = async (): Promise<void> => {
    const session = sessions.open(id);
    await acts[act](session, users);
    await session.save().catch(() => {});
    party.id = await session.id();
    party.isDone = true;
  };
  void run();
  return party;
}

/** Waits until each request waits for the store, is done or has crashed. A pause after a conflict takes a moment. */
async function settled(parties: readonly Party[]): Promise<void> {
  do await idle();
  while (parties.some(({ waiting, isDone, crashed }) => waiting.length === 0 && !isDone && !crashed));
}

/** Waits until all code has run that waits for nothing. */
async function idle(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
}
