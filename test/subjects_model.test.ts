import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { memoryStore, type Session, SessionManager, type SessionStore } from "../mod.ts";
import { fakeClock } from "../src/testing.ts";
import { everySchedule, type Fault, startParty } from "./setup/schedules.ts";
import { altered } from "./setup/sessions.ts";

const SUBJECTS = ["ada", "grace"] as const;

/** What one request may do, with a session that it opens by the id that its client holds. */
const acts = {
  "log in": async (session) => (await session.regenerate(), await session.bind("ada")),
  "log in with a grace": async (session) => (await session.regenerate({ grace: 60 }), await session.bind("ada")),
  "bind": (session) => session.bind("ada", { browser: "Firefox" }),
  "bind to another": (session) => session.bind("grace"),
  "unbind": (session) => session.unbind(),
  "regenerate": (session) => session.regenerate(),
  "destroy": (session) => session.destroy(),
  "write": (session) => session.set("n", 1),
  "revoke": async (session, sessions) => {
    const handle = await session.handle();
    if (handle !== null) await sessions.revoke(handle);
  },
  "revokeAll": async (_, sessions) => void (await sessions.revokeAll("ada")),
  "revokeAll but this": async (session, sessions) => void (await sessions.revokeAll("ada", { except: session })),
  "list": async (_, sessions) => void (await sessions.list("ada")),
} satisfies Record<string, (session: Session, sessions: SessionManager) => unknown>;

type Act = keyof typeof acts;

// Nobody pauses after a conflict: it is the schedule that says who comes next.
beforeEach(() => void vi.spyOn(Math, "random").mockReturnValue(0));
afterEach(() => void vi.restoreAllMocks());

describe("whose sessions, whatever meets and whatever crashes", () => {
  test("every live session is listed, what was ended stays so, and revokeAll() reaches all", async () => {
    const request = fc.record({ client: fc.nat(2), act: fc.constantFrom(...(Object.keys(acts) as Act[])) });
    const decisions = fc.array(fc.record({ who: fc.nat(), fault: fc.nat(39) }), { minLength: 60, maxLength: 60 });
    const waves = fc.array(fc.tuple(fc.array(request, { minLength: 1, maxLength: 3 }), decisions, fc.boolean()), {
      minLength: 2,
      maxLength: 5,
    });
    await fc.assert(fc.asyncProperty(waves, play), { numRuns: 500 });
  });

  const ends: readonly Act[] = ["revokeAll", "destroy"];
  test.each(ends.flatMap((end) => (["regenerate", "log in", "bind"] as const).map((act) => ({ end, act }))))(
    "nothing is left of a session after $end, in whatever order it meets $act, which crashes anywhere",
    async ({ end, act }) => {
      let crashes = 0;
      const played = await everySchedule(async (choose) => {
        const store = memoryStore();
        const sessions = new SessionManager({ store });
        const first = sessions.open("");
        await first.bind("ada");
        await first.save();
        const id = (await first.id()) ?? "";
        const request = (act: Act) => async (gated: SessionStore) => {
          const session = new SessionManager({ store: gated }).open(id);
          await acts[act](session, new SessionManager({ store: gated }));
          await session.save().catch(() => {});
          return await session.id();
        };
        const parties = [await startParty(store, request(end)), await startParty(store, request(act))] as const;
        // Who begins after the end, finds no session and logs in anew.
        await parties[1].step();
        while (parties.some(({ waits }) => waits !== null)) {
          const [ending, other] = parties;
          const crash = other.waits === null ? [] : (["crash"] as const);
          const ways = [...crash, ...parties.filter(({ waits }) => waits !== null)];
          const way = ways[choose(ways.length)]!;
          if (way === "crash") {
            crashes++;
            while (ending.waits !== null) await ending.step();
            break;
          }
          await way.step();
        }
        const ids = [id, parties[1].waits === null ? parties[1].result : null];
        for (const each of ids) {
          if (each) expect(await sessions.open(each).handle()).toBeNull();
        }
      });
      expect(played).toBeGreaterThan(20);
      expect(crashes).toBeGreaterThan(5);
    },
  );
});

type Wave = readonly [
  requests: readonly { readonly client: number; readonly act: Act }[],
  decisions: readonly { readonly who: number; readonly fault: number }[],
  isLate: boolean,
];

/** Plays waves of requests that meet, and holds what comes of each against what is promised. */
async function play(waves: readonly Wave[]): Promise<void> {
  const clock = fakeClock(0);
  const store = memoryStore();
  const sessions = new SessionManager({ store, now: clock.now });
  const clients: string[] = ["", "", ""];
  const told = new Set<string>();
  /** The handles of sessions that have ended. */
  const ended = new Set<string>();
  for (const [requests, decisions, isLate] of waves) {
    const { gate, run } = scheduled(decisions);
    await run(
      requests.map(async ({ client, act }, party) => {
        const gated = new SessionManager({ store: gate(store, party), now: clock.now });
        const session = gated.open(clients[client]!);
        const listed = (await sessions.list("ada")).map(({ handle }) => handle);
        const own = await sessions.open(clients[client]!).handle();
        try {
          await acts[act](session, gated);
          await session.save();
          const id = await session.id();
          if (id !== null) told.add((clients[client] = id));
        } catch {
          // It failed, or another request has ended the session: nothing is promised of this one.
          return;
        }
        if (act === "revokeAll") for (const handle of listed) ended.add(handle);
        if ((act === "revoke" || act === "destroy") && own !== null) ended.add(own);
      }),
    );
    if (isLate) clock.advance(601);
    const lists = await Promise.all(SUBJECTS.map((subject) => sessions.list(subject)));
    const listed = new Set(lists.flat().map(({ handle }) => handle));
    for (const id of told) {
      const handle = await sessions.open(id).handle();
      if (handle === null) continue;
      expect(listed).toContain(handle);
      expect(ended).not.toContain(handle);
    }
  }
  for (const subject of SUBJECTS) await sessions.revokeAll(subject);
  for (const id of told) expect(await sessions.open(id).handle()).toBeNull();
}

/** Lets calls of the store go on one at a time, in the order and with the faults that the decisions say. */
function scheduled(decisions: Wave[1]): {
  readonly gate: (store: SessionStore, party: number) => SessionStore;
  readonly run: (parties: readonly Promise<void>[]) => Promise<void>;
} {
  const waiting: { readonly party: number; readonly go: (fault: Fault) => void }[] = [];
  const crashed = new Set<number>();
  const gate = (store: SessionStore, party: number): SessionStore => {
    const verb = async <Args extends unknown[], Answer>(
      call: (...args: Args) => Promise<Answer>,
      ...args: Args
    ): Promise<Answer> => {
      const fault = crashed.has(party) ? "rejects" : await new Promise<Fault>((go) => waiting.push({ party, go }));
      if (fault === "rejects") throw new Error("The store was told to fail");
      const answer = await call(...args);
      if (fault === "does it but rejects") throw new Error("The store was told to fail");
      return answer;
    };
    return altered(store, { load: verb, create: verb, change: verb, touch: verb, delete: verb });
  };
  return {
    gate,
    async run(parties) {
      let running = parties.length;
      for (const party of parties) void party.finally(() => running--);
      for (let step = 0; running > 0; step++) {
        // Until whoever is not waiting has come to its next call, or to the end of a pause.
        await new Promise((resolve) => setImmediate(resolve));
        const { who, fault } = decisions[step % decisions.length]!;
        const [next] = waiting.splice(who % Math.max(1, waiting.length), 1);
        if (next === undefined) continue;
        // One call in ten fails, and half of these are the last that the process makes.
        if (fault < 2) crashed.add(next.party);
        next.go(fault >= 4 || step >= decisions.length ? "none" : fault % 2 === 0 ? "rejects" : "does it but rejects");
      }
      await Promise.all(parties);
    },
  };
}
