import { describe, expect, test } from "vitest";
import type { OwnTimeouts, SessionStore } from "../../mod.ts";
import { cookieSessions } from "../../src/cookie_sessions.ts";
import { fakeClock, kvSimulator } from "../../src/testing.ts";
import { cloudflareKvStore } from "../../src/stores/cloudflare_kv.ts";
import { cookieOf, openStore, type Options, sealed, secrets, visitor, withCopy } from "./setup.ts";

const readN = async (options: Options, cookie: string): Promise<unknown> =>
  (await withCopy(options, cookie)((session) => session.get("n"))).result;
const begin = async (options: Options): Promise<string> =>
  cookieOf(await visitor(options)((session) => session.set("n", 1)));
const logOut = (options: Options, cookie: string) => withCopy(options, cookie)((session) => session.destroy());
const MARGIN = 600_000;

/** A copy of the cookie with its own timeouts. */
async function copyWith(options: Options, cookie: string, timeouts: OwnTimeouts): Promise<string> {
  const visit = await withCopy(
    options,
    cookie,
  )((session) => {
    session.setTimeouts(timeouts);
    session.touch();
  });
  return cookieOf(visit);
}

describe("cookieSessions({ revocation }) keeps a note", () => {
  test("until the absolute timeout is over, and by a margin longer", async () => {
    const clock = fakeClock();
    const { store, records } = openStore(clock.now);
    const options = sealed({ now: clock.now, absoluteTimeout: 200_000 }, { revocation: store });
    const copy = await begin(options);
    const end = clock.now() + 200_000_000;
    clock.advance(100);
    await logOut(options, copy);
    expect([...records.values()].map(({ expiresAt }) => expiresAt)).toEqual([end + MARGIN]);
  });

  test.each<[string, Options]>([
    ["a longer idle and absolute timeout", { idleTimeout: 90 * 86_400, absoluteTimeout: 365 * 86_400 }],
    ["a longer idle timeout and no absolute one", { idleTimeout: 90 * 86_400, absoluteTimeout: false }],
  ])("for as long as a copy lives, also if the program gives %s afterwards", async (_name, longer) => {
    const clock = fakeClock();
    const { store, records } = openStore(clock.now);
    const before = sealed({ now: clock.now }, { revocation: store });
    const after = { ...before, ...longer };
    const [ended, alive] = [await begin(before), await begin(before)];
    await logOut(before, ended);
    clock.advance(86_399);
    expect(await readN(after, ended)).toBeUndefined();
    const renewed = cookieOf(await withCopy(after, alive)((session) => session.touch()));
    // The older copy ends at once by the timeouts of its time. Only requests under way have a margin.
    clock.advance(1);
    expect(await readN(after, alive)).toBeUndefined();
    for (const days of [1, 30, 30]) {
      clock.advance(days * 86_400);
      for (const [key, { expiresAt }] of records) if (expiresAt < clock.now()) records.delete(key);
      expect(await readN(after, ended)).toBeUndefined();
      expect(await readN(after, alive)).toBeUndefined();
      expect(await readN(after, renewed)).toBe(1);
    }
    expect(records.size).toBe(0);
  });

  test("for an idle timeout when there is no absolute one", async () => {
    const clock = fakeClock();
    const { store, records } = openStore(clock.now);
    const options = sealed({ now: clock.now, absoluteTimeout: false }, { revocation: store });
    const copy = await copyWith(options, await begin(options), { idle: 500_000 });
    clock.advance(100);
    await logOut(options, copy);
    expect([...records.values()].map(({ expiresAt }) => expiresAt)).toEqual([clock.now() + 500_000_000 + 2 * MARGIN]);
  });

  test.each<[string, OwnTimeouts, OwnTimeouts]>([
    ["the other copy has a longer idle timeout", {}, { idle: 20 * 86_400 }],
    ["the other copy has the longer timeouts of the options", { idle: 100, absolute: 1000 }, {}],
    ["this copy has no absolute timeout", { absolute: false }, { idle: 20 * 86_400, absolute: 30 * 86_400 }],
    ["the other copy has a longer absolute timeout", {}, { idle: 90 * 86_400, absolute: 90 * 86_400 }],
    ["the other copy has no absolute timeout and a long idle one", {}, { idle: 90 * 86_400, absolute: false }],
    [
      "the copies have different timeouts of their own",
      { absolute: 50 * 86_400 },
      { idle: 80 * 86_400, absolute: 80 * 86_400 },
    ],
  ])("for as long as any copy lives when %s", async (_name, ours, theirs) => {
    const clock = fakeClock();
    const { store } = openStore(clock.now);
    const options = sealed({ now: clock.now }, { revocation: store });
    const first = await begin(options);
    const [mine, other] = [await copyWith(options, first, ours), await copyWith(options, first, theirs)];
    expect([await readN(options, mine), await readN(options, other)]).toEqual([1, 1]);
    await logOut(options, mine);
    for (let day = 0; day < 200; day += 2) {
      for (const cookie of [first, mine, other]) expect([day, await readN(options, cookie)]).toEqual([day, undefined]);
      clock.advance(2 * 86_400);
    }
  });

  test("for as long as any copy lives when the session is regenerated instead", async () => {
    const clock = fakeClock();
    const { store } = openStore(clock.now);
    const options = sealed({ now: clock.now }, { revocation: store });
    const first = await begin(options);
    const other = await copyWith(options, first, { idle: 90 * 86_400, absolute: 90 * 86_400 });
    await withCopy(options, first)((session) => session.regenerate());
    for (let day = 0; day < 100; day++) {
      expect([day, await readN(options, other)]).toEqual([day, undefined]);
      clock.advance(86_400);
    }
  });

  test.each<[string, Options, OwnTimeouts]>([
    ["without an absolute timeout", { absoluteTimeout: false }, { idle: 40 * 86_400 }],
    ["with one", {}, { idle: 40 * 86_400, absolute: false }],
  ])("although a copy with a longer idle timeout was used again and again since, %s", async (_name, given, theirs) => {
    const clock = fakeClock();
    const { store } = openStore(clock.now);
    const options = sealed({ now: clock.now, ...given }, { revocation: store });
    const first = await begin(options);
    let mine = first;
    let other = await copyWith(options, first, theirs);
    for (let days = 0; days < 25; days++) {
      clock.advance(86_000);
      const next = cookieOf(await withCopy(options, mine)((session) => session.touch()));
      mine = next === "" ? mine : next;
      if (days % 10 === 9) other = cookieOf(await withCopy(options, other)((session) => session.touch()));
    }
    expect([await readN(options, mine), await readN(options, other)]).toEqual([1, 1]);
    await logOut(options, mine);
    for (let day = 0; day < 100; day++) {
      for (const cookie of [mine, other]) expect([day, await readN(options, cookie)]).toEqual([day, undefined]);
      clock.advance(86_400);
    }
  });

  test("costs one save when a session is given timeouts that others would not expect, and none when it is changed afterwards", async () => {
    const clock = fakeClock();
    const { store, calls } = openStore(clock.now);
    const options = sealed({ now: clock.now }, { revocation: store });
    const first = await begin(options);
    const copy = await copyWith(options, first, { absolute: 90 * 86_400 });
    expect(calls).toEqual(["load", "load", "save"]);
    calls.length = 0;
    await withCopy(options, copy)((session) => session.set("n", 2));
    expect(calls).toEqual(["load", "load"]);
    calls.length = 0;
    await copyWith(options, first, { absolute: 1000 });
    expect(calls).toEqual(["load", "load"]);
  });
});

/** One site on servers whose clocks are wrong by these numbers of seconds. */
function servers(skews: readonly number[], store: (at: number) => SessionStore, given: Options = {}) {
  const clock = fakeClock(1_800_000_000_000);
  const options = skews.map((skew, at) =>
    sealed({ now: () => clock.now() + skew * 1000, ...given }, { revocation: store(at) }),
  );
  return { clock, options };
}

describe("cookieSessions({ revocation }) on servers whose clocks are each up to five minutes off", () => {
  const pairs = [
    [300, -300],
    [-300, 300],
    [0, 300],
    [-300, 0],
  ] as const;

  test.each(pairs)("rejects a renewed id at once without a grace (%s, %s)", async (one, two) => {
    const { store } = openStore();
    const { options } = servers([one, two], () => store);
    const [here = {}, there = {}] = options;
    const copy = await begin(here);
    const renewed = cookieOf(await withCopy(here, copy)((session) => session.regenerate()));
    for (const each of options) expect([await readN(each, copy), await readN(each, renewed)]).toEqual([undefined, 1]);
    await logOut(there, copy);
    for (const each of options) expect(await readN(each, renewed)).toBeUndefined();
  });

  test.each(pairs)("ends both copies when one of them logs out within a grace (%s, %s)", async (one, two) => {
    for (const which of [0, 1]) {
      const { store } = openStore();
      const { options, clock } = servers([one, two], () => store);
      const [here = {}, there = {}] = options;
      const copies = [await begin(here)];
      copies.push(cookieOf(await withCopy(here, copies[0]!)((session) => session.regenerate({ grace: 60 }))));
      clock.advance(30);
      await logOut(there, copies[which]!);
      for (const each of options) for (const copy of copies) expect(await readN(each, copy)).toBeUndefined();
    }
  });

  test.each(pairs)("keeps a note until no server accepts a copy any more (%s, %s)", async (one, two) => {
    for (const given of [
      { absoluteTimeout: 2000, idleTimeout: 1500 },
      { absoluteTimeout: false, idleTimeout: 1500 },
    ] as const) {
      // The engine removes expired records by the clock of one of the servers, as SQL stores do.
      for (const sweeper of [0, 1]) {
        const skews = [one, two];
        const base = fakeClock(1_800_000_000_000);
        const { store } = openStore(() => base.now() + skews[sweeper]! * 1000);
        const { clock, options } = servers(skews, () => store, given);
        const [here = {}, there = {}] = options;
        const copies = [await begin(there)];
        for (let times = 0; times < 3; times++) {
          clock.advance(100);
          base.advance(100);
          copies.push(cookieOf(await withCopy(there, copies.at(-1)!)((session) => session.touch())));
        }
        await logOut(here, copies[0]!);
        for (let minute = 0; minute < 80; minute += 4) {
          for (const copy of copies)
            for (const each of options) expect([minute, await readN(each, copy)]).toEqual([minute, undefined]);
          clock.advance(240);
          base.advance(240);
        }
      }
    }
  });

  test("rejects an ended session in every place of Workers KV when a minute has passed, for as long as a copy lives", async () => {
    const base = fakeClock(1_800_000_000_000);
    const kv = kvSimulator({ now: base.now, writeInterval: 0, delay: 5 });
    const places = ["Paris", "Tokyo", "Lima"];
    const { clock, options } = servers([0, 300, -300], (at) => cloudflareKvStore(kv.at(places[at]!)), {
      absoluteTimeout: 5000,
      idleTimeout: 4000,
    });
    const copy = await begin(options[0]!);
    const renewed = cookieOf(await withCopy(options[0]!, copy)((session) => session.regenerate()));
    await logOut(options[1]!, renewed);
    for (let minute = 0; minute < 120; minute++) {
      clock.advance(60);
      base.advance(60);
      for (const each of options)
        expect([await readN(each, copy), await readN(each, renewed)]).toEqual([undefined, undefined]);
    }
  });
});

describe("cookieSessions() with rotateEvery", () => {
  test.each([false, true])(
    "lets the old copy in until the new one was used, and takes it for stolen afterwards (ends the session: %s)",
    async (endsOnReuse) => {
      const clock = fakeClock();
      const { store } = openStore();
      const source = cookieSessions({ secrets, revocation: store });
      const options: Options = {
        store: {
          ...source,
          createRepository: (settings) => source.createRepository({ ...settings, rotates: true, endsOnReuse }),
        },
        now: clock.now,
        rotateEvery: 600,
      };
      const look = async (cookie: string) =>
        (await withCopy(options, cookie)(async (session) => [await session.get("n"), (await session.info()).ended]))
          .result;
      const old = await begin(options);
      clock.advance(600);
      const renewed = cookieOf(await withCopy(options, old)((session) => session.get("n")));
      expect(renewed).not.toBe("");
      clock.advance(120);
      expect(await look(old)).toEqual([1, null]);
      const used = cookieOf(await withCopy(options, renewed)((session) => session.get("n")));
      clock.advance(120);
      expect(await look(old)).toEqual([undefined, "reuse"]);
      expect(await look(used)).toEqual(endsOnReuse ? [undefined, "revoked"] : [1, null]);
    },
  );

  test("takes nobody for a thief when a request is still under way after the new id was used", async () => {
    const clock = fakeClock();
    const rotateEvery = { seconds: 600, onReuse: "destroy" } as const;
    const options = sealed({ now: clock.now, rotateEvery }, { revocation: openStore().store });
    const old = await begin(options);
    clock.advance(600);
    const { result: used } = await withCopy(
      options,
      old,
    )(async (session) => {
      await session.get("n");
      const renewed = cookieOf(await withCopy(options, old)((other) => other.get("n")));
      const copy = cookieOf(await withCopy(options, renewed)((other) => other.get("n")));
      clock.advance(120);
      session.set("n", 2);
      return copy;
    });
    expect(await readN(options, used)).toBe(1);
  });

  test("takes a stolen session for ended for as long as any copy lives, also if the request waited before it was found out", async () => {
    const clock = fakeClock();
    const options: Options = sealed(
      {
        now: clock.now,
        idleTimeout: 3600,
        absoluteTimeout: false,
        rotateEvery: { seconds: 600, onReuse: "destroy" },
      },
      { revocation: openStore(clock.now).store },
    );
    const old = await begin(options);
    clock.advance(600);
    const renewed = cookieOf(await withCopy(options, old)((session) => session.get("n")));
    const used = cookieOf(await withCopy(options, renewed)((session) => session.get("n")));
    clock.advance(120);
    const { result } = await withCopy(
      options,
      old,
    )(async (session) => {
      clock.advance(1500);
      const copy = cookieOf(await withCopy({ ...options, rotateEvery: 86_400 }, used)((other) => other.set("n", 2)));
      return { copy, ended: (await session.info()).ended };
    });
    expect(result.ended).toBe("reuse");
    clock.advance(3599);
    expect(await readN(options, result.copy)).toBeUndefined();
    expect(await readN({ ...options, ...sealed({ rotateEvery: 86_400 }) }, result.copy)).toBe(2);
  });

  test("takes a copy for stolen whose new id was renewed by age as well, in the minute after that", async () => {
    const clock = fakeClock();
    const options = sealed({ now: clock.now, rotateEvery: 600 }, { revocation: openStore().store });
    let copy = await begin(options);
    const old = copy;
    for (let renewals = 0; renewals < 2; renewals++) {
      clock.advance(600);
      const renewed = cookieOf(await withCopy(options, copy)((session) => session.get("n")));
      copy = cookieOf(await withCopy(options, renewed)((session) => session.set("m", renewals)));
    }
    const ended = async (cookie: string) =>
      (await withCopy(options, cookie)(async (session) => (await session.info()).ended)).result;
    expect([await ended(old), await ended(copy)]).toEqual(["reuse", null]);
  });

  test("goes on under the new id when the response with it was lost, and stores what is changed", async () => {
    const clock = fakeClock();
    const events: string[] = [];
    const options = sealed(
      { now: clock.now, rotateEvery: 600, onEvent: ({ type }) => events.push(type) },
      { revocation: openStore().store },
    );
    const old = await begin(options);
    clock.advance(600);
    const lost = cookieOf(await withCopy(options, old)((session) => session.set("n", 2)));
    clock.advance(120);
    const renewed = cookieOf(await withCopy(options, old)((session) => session.update("n", (n) => n + 10)));
    expect(await readN(options, renewed)).toBe(11);
    expect(await readN(options, lost)).toBe(2);
    expect(events).not.toContain("gone");
    const used = cookieOf(await withCopy(options, renewed)((session) => session.set("m", 1)));
    clock.advance(120);
    expect(await readN(options, old)).toBeUndefined();
    await logOut(options, used);
    expect([await readN(options, renewed), await readN(options, lost)]).toEqual([undefined, undefined]);
  });

  test("stores the changes of a handler that comes after one that failed when the id was due", async () => {
    const clock = fakeClock();
    const options = sealed({ now: clock.now, rotateEvery: 600 }, { revocation: openStore().store });
    const old = await begin(options);
    clock.advance(600);
    const failing = withCopy(
      options,
      old,
    )(async (session) => {
      await session.update("n", (n) => n + 1);
      throw new Error("no");
    });
    await expect(failing).rejects.toThrow("no");
    const { cookies } = await withCopy(options, old)((session) => session.set("n", 7));
    expect(await readN(options, cookieOf({ cookies }))).toBe(7);
  });

  test.each([
    ["stores the changes of a request whose copy ended meanwhile, and which another one overtook", 1, 2],
    ["stores them until ten minutes after that end", 600, 2],
    ["stores nothing ten minutes after that end", 601, undefined],
  ])("%s", async (_, takes, stored) => {
    const clock = fakeClock();
    const options = sealed({ now: clock.now, rotateEvery: 600, idleTimeout: 3600 }, { revocation: openStore().store });
    const old = await begin(options);
    clock.advance(3599);
    let renewed = "";
    const overtaken = await withCopy(
      options,
      old,
    )(async (session) => {
      await session.get("n");
      renewed = cookieOf(await withCopy(options, old)((other) => other.get("n")));
      clock.advance(takes);
      session.set("m", 2);
    });
    // The response of the other request comes first.
    renewed = cookieOf(overtaken) || renewed;
    const { result } = await withCopy(options, renewed)((session) => session.get("m"));
    expect(result).toBe(stored);
  });

  test("sends no cookie to a request that was under way and only reads, also if it would touch", async () => {
    const clock = fakeClock();
    const options = sealed({ now: clock.now, rotateEvery: 600, idleTimeout: 6000 }, { revocation: openStore().store });
    const old = await begin(options);
    const read = () => withCopy(options, old)((session) => session.get("n"));
    clock.advance(700);
    await withCopy(options, old)((session) => session.set("n", 2));
    expect((await read()).cookies).toEqual([]);
    clock.advance(60);
    const touched = await read();
    expect(touched.cookies).toHaveLength(1);
    expect(await readN(options, cookieOf(touched))).toBe(1);
  });

  test("keeps the changes of each of two requests that overlapped when the id was due", async () => {
    const clock = fakeClock();
    const options = sealed({ now: clock.now, rotateEvery: 600 }, { revocation: openStore().store });
    const old = await begin(options);
    clock.advance(600);
    const change = (key: string) => withCopy(options, old)((session) => session.update(key, () => 1));
    const responses = await Promise.all([change("a"), change("b")]);
    const seen = await Promise.all(
      responses.map(async (each) => (await withCopy(options, cookieOf(each))((session) => session.all())).result),
    );
    expect(seen.map((all) => ({ ...all }))).toEqual([
      { n: 1, a: 1 },
      { n: 1, b: 1 },
    ]);
  });
});
