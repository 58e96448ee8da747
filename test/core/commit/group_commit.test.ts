import { AsyncLocalStorage } from "node:async_hooks";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { z } from "zod";
import {
  memoryStore,
  type Session,
  SessionError,
  type SessionEvent,
  SessionManager,
  type SessionOptions,
  type SessionStore,
} from "../../../mod.ts";
import { internalsOf } from "../../../src/core/session_internals.ts";
import { signedIds } from "../../../src/signed_ids.ts";
import { fakeClock, faultyStore } from "../../../src/testing.ts";
import {
  altered,
  codeOf,
  cookieOf,
  counted,
  gate,
  idIn,
  openStore,
  SHOP,
  soon,
  type Visit,
  visitor,
} from "../../setup/sessions.ts";

/**
 * A shop whose next write of a session waits, so that requests gather behind it. It waits before the write is done, or after that,
 * before its answer.
 */
async function busyShop(more: SessionOptions = {}, waits: "before" | "after" = "before") {
  const events: SessionEvent[] = [];
  const { store: inner, records } = openStore();
  const faulty = faultyStore(inner);
  const { store: watched, calls } = counted(faulty);
  const [reached, open] = [gate(), gate()];
  let isHeld = false;
  const hold = async (save: SessionStore["save"], ...args: Parameters<SessionStore["save"]>) => {
    const isFirst = isHeld;
    isHeld = false;
    const wait = async () => {
      reached.open();
      await open.opened;
    };
    if (isFirst && waits === "before") await wait();
    const answer = await save(...args);
    if (isFirst && waits === "after") await wait();
    return answer;
  };
  const store = altered(watched, { change: hold, touch: hold });
  const sessions = new SessionManager({ store, onEvent: (event) => events.push(event), ...more });
  const begun = await visitor(sessions)((session) => session.set({ n: 0, other: 0 }));
  const init = { headers: { Cookie: cookieOf(begun) } };
  const visit = <Result>(use: (session: Session) => Result | Promise<Result>) => visitor(sessions)(use, init);
  /** A change by another process on the same store. */
  const elsewhere = <Result>(use: (session: Session) => Result | Promise<Result>) =>
    visitor({ store: inner, ...(more.ids && { ids: more.ids }) })(use, init);
  /** Sends a request whose write waits, and then other requests. Lets the first write go on when they have gathered. */
  const gather = async <Result>(
    uses: readonly ((session: Session) => Result | Promise<Result>)[],
    meanwhile?: () => unknown,
  ) => {
    isHeld = true;
    const first = visit((session) => session.update("first", () => true)).catch(() => {});
    await reached.opened;
    calls.length = events.length = 0;
    const others = uses.map((use) => visit(use));
    for (let turn = 0; turn < 5; turn++) await soon(0);
    await meanwhile?.();
    open.open();
    const settled = await Promise.allSettled(others);
    const answers = settled.map((each) =>
      each.status === "fulfilled" ? each.value.result : (each.reason.code ?? each.reason),
    );
    await first;
    return { answers, settled };
  };
  const all = async () => ({ ...(await elsewhere((session) => session.all())).result });
  return { sessions, visit, elsewhere, gather, all, calls, events, faulty, records };
}

const increment = (session: Session): Promise<number> => session.update("n", (n) => n + 1);

describe("requests of one process that change one session at once", () => {
  test("are stored together, each with the value that it was told", async () => {
    const { gather, all, calls, events } = await busyShop();
    const { answers } = await gather(Array.from({ length: 20 }, () => increment));
    expect(answers.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 20 }, (_, at) => at + 1));
    // One change by the first request, and one by all others.
    expect(calls.filter((call) => call === "change")).toHaveLength(2);
    expect(events.filter(({ type }) => type === "changed")).toHaveLength(21);
    expect(await all()).toEqual({ first: true, n: 20, other: 0 });
  });

  test("go on from what the batch has stored when they write once more", async () => {
    const { gather, all } = await busyShop();
    const { answers } = await gather([
      async (session) => {
        await increment(session);
        session.set("mine", await session.get("n"));
        await session.save();
        return await increment(session);
      },
      increment,
      increment,
    ]);
    expect(answers[0]).toBe(4);
    expect(await all()).toEqual({ first: true, n: 4, other: 0, mine: 1 });
  });

  test("are applied to what another process has stored meanwhile", async () => {
    const { gather, all, events } = await busyShop();
    const { answers } = await gather([increment, increment]);
    expect(answers.toSorted()).toEqual([1, 2]);
    const again = await busyShop();
    const late = await again.gather([increment, increment], () =>
      again.elsewhere((session) => session.update("n", () => 10)),
    );
    expect(late.answers.toSorted()).toEqual([11, 12]);
    expect(again.events.map(({ type }) => type)).toContain("conflict");
    expect(events.map(({ type }) => type)).not.toContain("conflict");
    expect([(await all())["n"], (await again.all())["n"]]).toEqual([2, 12]);
  });

  test("are applied again to what another process has stored since the request that came first", async () => {
    const { gather, all, events, elsewhere } = await busyShop({}, "after");
    const { answers } = await gather([increment, increment], () =>
      elsewhere((session) => session.update("n", () => 10)),
    );
    expect(answers).toEqual([11, 12]);
    expect(events.flatMap((each) => ("attempts" in each ? [`${each.type} ${each.attempts}`] : []))).toEqual([
      "changed 1",
      "conflict 1",
      "changed 2",
      "changed 2",
    ]);
    expect((await all())["n"]).toBe(12);
  });

  test("load the session before they leave out what would change nothing, for one of them may have seen a newer state", async () => {
    const newer: readonly (readonly [(session: Session) => unknown, (session: Session) => unknown])[] = [
      [(session) => session.set("n", 7), (session) => session.set("n", 0)],
      [(session) => session.setTimeouts({ idle: 70 }), (session) => session.setTimeouts({ idle: 60 })],
      // As a plugin does when a user signs in elsewhere and signs out here.
      [
        (session) => internalsOf(session).setMetadata("+user", "a"),
        (session) => internalsOf(session).setMetadata("+user", null),
      ],
    ];
    for (const [theirs, own] of newer) {
      const clock = fakeClock();
      const { visit, gather, elsewhere } = await busyShop({ now: clock.now }, "after");
      await visit((session) => session.setTimeouts({ idle: 60 }));
      const seen = gate();
      const { answers } = await gather<unknown>(
        [
          async (session) => {
            await seen.opened;
            own(session);
          },
          async (session) => {
            await seen.opened;
            session.touch();
          },
        ],
        async () => {
          await elsewhere(theirs);
          seen.open();
          for (let turn = 0; turn < 20; turn++) await soon(0);
        },
      );
      expect(answers).toEqual([undefined, undefined]);
      const { result } = await elsewhere(async (session) => {
        const { lastSeenAt, expiresAt } = await session.info();
        const idle = Number(expiresAt) - Number(lastSeenAt);
        return [await session.get("n"), idle, internalsOf(session).metadata("+user")];
      });
      expect(result).toEqual([0, 60_000, undefined]);
    }
  });

  test("write nothing when they change nothing, and load the session only if they could have seen another state", async () => {
    const clock = fakeClock();
    const shop = async (waits: "before" | "after", ...uses: ((session: Session) => unknown)[]) => {
      const { gather, calls } = await busyShop({ now: clock.now }, waits);
      await gather(uses);
      return calls.join(" ");
    };
    const same = (session: Session) => session.set("n", 0);
    const touch = (session: Session) => session.touch();
    // These two requests have loaded the session before the first request wrote.
    const early = (use: (session: Session) => unknown) => async (session: Session) => {
      await session.get("n");
      await soon(0);
      use(session);
    };
    expect(await shop("before", same, same)).toBe("load load change load");
    expect(await shop("before", early(touch), early(touch))).toBe("load load change");
    // This request has loaded what the first request wrote.
    expect(await shop("after", same)).toBe("load");
  });

  test("store other timeouts, or that the session was used, also where nothing else is to be stored", async () => {
    const clock = fakeClock();
    const timed = await busyShop({ now: clock.now });
    await timed.gather([(session) => session.setTimeouts({ idle: 60 })]);
    const { lastSeenAt, expiresAt } = (await timed.elsewhere((session) => session.info())).result;
    expect(Number(expiresAt) - Number(lastSeenAt)).toBe(60_000);
    expect(timed.events.filter(({ type }) => type === "changed")).toHaveLength(2);
    const used = await busyShop({ now: clock.now });
    clock.advance(1);
    // The first of two says all that the second one would.
    await used.gather([(session) => session.touch(), (session) => session.touch()]);
    expect(used.events.map(({ type }) => type).filter((type) => type !== "loaded")).toEqual(["changed", "touched"]);
    expect(used.calls).toContain("touch");
  });

  test("take out what has expired with a change, and not with a touch", async () => {
    for (const isChange of [true, false]) {
      const clock = fakeClock();
      const { visit, gather, events, records } = await busyShop({ now: clock.now });
      await visit((session) => session.set("short", 1, { ttl: 1 }));
      await gather([
        (session) => {
          clock.advance(2);
          return isChange ? session.set("n", 1) : session.touch();
        },
      ]);
      expect(events.map(({ type }) => type).filter((type) => type !== "loaded")).toEqual([
        "changed",
        isChange ? "changed" : "touched",
      ]);
      const names = [...records.values()].flatMap(({ fields }) => [...fields.keys()]);
      expect(names.filter((name) => name.includes("short")).length > 0).toBe(!isChange);
    }
  });

  test("see the session each as it was at their own place, and the last one what is newest", async () => {
    const { gather } = await busyShop();
    const twice = async (session: Session) => [await increment(session), await session.get("n")];
    const { answers } = await gather([twice, twice, twice]);
    expect(answers).toEqual([
      [1, 1],
      [2, 2],
      [3, 3],
    ]);
    const alone = await busyShop();
    await alone.gather([
      async (session) => {
        await increment(session);
        for (let turn = 0; turn < 5; turn++) await soon(0);
        await increment(session);
      },
    ]);
    expect(alone.events.map(({ type }) => type)).not.toContain("conflict");
  });

  test("are each told what became of them: a change, a touch, or nothing", async () => {
    const clock = fakeClock();
    const { gather, events } = await busyShop({ now: clock.now });
    // Within the same millisecond a touch changes nothing.
    clock.advance(1);
    await gather<unknown>([
      (session) => session.touch(),
      (session) => session.set("n", 5),
      (session) => session.set("n", 5),
    ]);
    const told = events.map(({ type }) => type).filter((type) => type === "changed" || type === "touched");
    expect(told.toSorted()).toEqual(["changed", "changed", "touched"]);
  });

  test("do not fail when the function of one of them does", async () => {
    const { gather, all } = await busyShop();
    const mine = new Error("mine");
    const { answers } = await gather<unknown>([
      increment,
      (session) =>
        session.update("n", (n) => {
          if (n > 0) throw mine;
          return n;
        }),
      increment,
    ]);
    expect(answers).toEqual([1, mine, 2]);
    expect(await all()).toEqual({ first: true, n: 2, other: 0 });
  });

  test("do not wait for a function that takes time, nor lose it", async () => {
    const { gather, all } = await busyShop();
    const { answers } = await gather([
      increment,
      (session) => session.update("n", async (n) => await soon(n + 1)),
      increment,
    ]);
    expect(answers.toSorted()).toEqual([1, 2, 3]);
    expect((await all())["n"]).toBe(3);
  });

  test("count beside a function that takes time and was the last to come: it is stored under a name of its own", async () => {
    const { gather, all } = await busyShop();
    const { answers } = await gather([
      increment,
      increment,
      (session) => session.update("n", async (n) => await soon(n + 1)),
    ]);
    expect(answers.toSorted()).toEqual([1, 2, 3]);
    expect((await all())["n"]).toBe(3);
  });

  test("count once, and run a function that takes time once at a time, although another one fails and the batch begins again", async () => {
    const { gather, all } = await busyShop();
    let [running, most] = [0, 0];
    const slow = async (n: number) => {
      most = Math.max(most, ++running);
      await soon(0);
      running--;
      return n + 1;
    };
    const mine = new Error("mine");
    const failing = () => {
      throw mine;
    };
    const { answers } = await gather<unknown>([
      increment,
      (session) => session.update("n", slow),
      (session) => session.update("n", failing),
    ]);
    expect(answers.toSorted()).toEqual([1, 2, mine]);
    expect(most).toBe(1);
    expect((await all())["n"]).toBe(2);
  });

  test("are told what is stored, although a function takes longer the first time than when it runs again", async () => {
    const { gather, all } = await busyShop();
    let runs = 0;
    let running = 0;
    const slow = async (n: number) => {
      expect(++running).toBe(1);
      if (runs++ === 0) for (let turn = 0; turn < 50 && runs < 3; turn++) await soon(0);
      running--;
      return n + 1;
    };
    const { answers } = await gather([(session) => session.update("n", slow), increment]);
    expect(answers.toSorted()).toEqual([1, 2]);
    expect((await all())["n"]).toBe(2);
  });

  test("keep each its own async context, for its events and its functions", async () => {
    const context = new AsyncLocalStorage<string>();
    const told: string[] = [];
    const { gather } = await busyShop({
      onEvent: ({ type }) => void (type === "changed" && told.push(context.getStore() ?? "")),
    });
    const within = (name: string) => async (session: Session) =>
      await context.run(name, async () => {
        await session.update("n", (n) => n + (context.getStore() === name ? 1 : NaN));
        // An asynchronous function leaves the batch, and runs again in its own request.
        await session.update("n", async (n) => await soon(n + (context.getStore() === name ? 1 : NaN)));
        return await session.get("n");
      });
    const { answers } = await gather([within("a"), within("b"), within("c")]);
    expect(answers).not.toContain(NaN);
    expect(told.filter((name) => name !== "").toSorted()).toEqual(["a", "a", "b", "b", "c", "c"]);
  });

  test("do not fail when the schema refuses what one of them wants", async () => {
    const schema = z.object({ n: z.number().max(9) }).loose();
    const { gather, all } = await busyShop({ schema });
    const { answers } = await gather([increment, (session) => session.update("n", () => 10), increment]);
    expect(answers).toEqual([1, "ERR_SCHEMA", 2]);
    expect((await all())["n"]).toBe(2);
  });

  test("do not fail when the store refuses what one of them wants", async () => {
    const shop = await busyShop();
    const { save } = shop.faulty;
    const limited: SessionStore["save"] = (key, write) => {
      if (JSON.stringify([...write.record.fields]).length < 2000) return save(key, write);
      throw new SessionError("ERR_RECORD_TOO_LARGE", "Cannot store the session: its record is too large");
    };
    Object.assign(shop.faulty, { save: limited });
    const { answers } = await shop.gather<unknown>([
      increment,
      (session) => session.update("large", () => "x".repeat(3000)),
      increment,
      (session) => session.set("small", 1),
    ]);
    expect(answers).toEqual([1, "ERR_RECORD_TOO_LARGE", 2, undefined]);
    expect(await shop.all()).toEqual({ first: true, n: 2, other: 0, small: 1 });
  });

  test.each(["rejects", "does it but rejects"] as const)(
    "all fail, and count once at most, when the store %s",
    async (fault) => {
      const { gather, all, faulty, visit } = await busyShop();
      const { answers } = await gather([increment, increment], () => faulty.plan({ save: ["none", fault] }));
      expect(answers).toEqual(["ERR_STORE", "ERR_STORE"]);
      expect((await all())["n"]).toBe(fault === "rejects" ? 0 : 2);
      await visit(increment);
      expect((await all())["n"]).toBe(fault === "rejects" ? 1 : 3);
    },
  );

  test("find out what became of a batch without an answer before they store anything more", async () => {
    for (const fault of ["rejects", "does it but rejects"] as const) {
      const { gather, all, faulty } = await busyShop();
      const patient = async (session: Session) => {
        const updated = await increment(session).catch(() => "failed");
        session.set("later", true);
        return updated;
      };
      const { answers } = await gather([patient, patient, patient], () => faulty.plan({ save: ["none", fault] }));
      expect(answers).toEqual(["failed", "failed", "failed"]);
      expect(await all()).toEqual({ first: true, n: fault === "rejects" ? 0 : 3, other: 0, later: true });
    }
  });

  test("keep what another request has stored since a batch without an answer was done after all", async () => {
    for (const fault of ["rejects", "does it but rejects"] as const) {
      const { gather, all, faulty, elsewhere } = await busyShop();
      const { answers } = await gather<unknown>(
        [
          async (session) => {
            session.set("n", 5);
            const saved = await session.save().catch(() => "failed");
            await elsewhere((other) => other.set("n", 6));
            return saved;
          },
          increment,
        ],
        () => faulty.plan({ save: ["none", fault] }),
      );
      expect(answers).toEqual(["failed", "ERR_STORE"]);
      expect((await all())["n"]).toBe(fault === "rejects" ? 5 : 6);
    }
  });

  test.each(["is answered late", "fails"])(
    "are applied to no older state than they have seen when the request that came first %s",
    async (first) => {
      const { gather, all, faulty, elsewhere } = await busyShop({}, first === "fails" ? "before" : "after");
      let runs = 0;
      const { answers } = await gather(
        [
          async (session) => {
            await elsewhere((other) => other.set("other", 1));
            return await session.update("other", (other) => {
              if (other !== 1) throw new Error("This is an older state");
              return 2;
            });
          },
          (session) =>
            session.update("n", async () => {
              await soon(0);
              return ++runs;
            }),
        ],
        () => void (first === "fails" && faulty.plan({ save: ["rejects"] })),
      );
      expect(answers[0]).toBe(2);
      expect(await all()).toMatchObject({ n: answers[1], other: 2 });
    },
  );

  test("do not fail when a busy store refuses what only says that the session was used", async () => {
    const clock = fakeClock();
    const { visit, gather, events, faulty, calls } = await busyShop({ now: clock.now });
    const touch = async (session: Session) => {
      session.touch();
      await session.save();
      return (await session.info()).lastSeenAt;
    };
    const before = clock.now();
    clock.advance(1);
    const { answers } = await gather([touch, touch], () => faulty.plan({ save: ["none", "is busy"] }));
    expect(answers).toEqual([before, before]);
    expect(events.map(({ type }) => type).filter((type) => type !== "loaded")).toEqual(["changed"]);
    calls.length = 0;
    await visit((session) => session.touch());
    expect(calls).toEqual(["load", "touch"]);
  });

  test("are not refused because one of them has spent its time on an earlier write without an answer", async () => {
    const now = performance.now.bind(performance);
    let later = 0;
    const clock = vi.spyOn(performance, "now").mockImplementation(() => now() + later);
    onTestFinished(() => clock.mockRestore());
    const { visit, sessions, gather, elsewhere, all, faulty } = await busyShop({ storeTimeout: 60 }, "after");
    const session = sessions.open(String((await visit((own) => own.id())).result));
    faulty.plan({ save: ["rejects"] });
    expect(await codeOf(() => session.update("other", (other: number) => other + 1))).toBe("ERR_STORE");
    session.set("mine", true);
    const { save } = faulty;
    // A touch finds out what became of the write. The store takes more than half of the time for it.
    const slow: SessionStore["save"] = async (key, write) => {
      if (write.changed.size === 0) later += await soon(35_000);
      return await save(key, write);
    };
    Object.assign(faulty, { save: slow });
    const { answers } = await gather<unknown>([increment, () => session.save()], async () => {
      for (let turn = 0; turn < 20; turn++) await soon(0);
      await elsewhere((other) => other.set("n", 10));
    });
    expect(later).toBe(35_000);
    expect(answers).toEqual([11, undefined]);
    expect(await all()).toEqual({ first: true, n: 11, other: 0, mine: true });
  });

  test("count once when the client of the store sends their write twice", async () => {
    const { gather, all, faulty } = await busyShop();
    const { answers } = await gather([increment, increment], () => faulty.plan({ save: ["none", "does it twice"] }));
    expect(answers.toSorted()).toEqual([1, 2]);
    expect(await all()).toEqual({ first: true, n: 2, other: 0 });
  });

  test("store nothing when the functions of all of them fail", async () => {
    const { gather, all, calls } = await busyShop();
    const fail = (session: Session) =>
      session.update("n", () => {
        throw new RangeError("no");
      });
    const { answers } = await gather([fail, fail]);
    expect(answers).toEqual([expect.any(RangeError), expect.any(RangeError)]);
    expect(calls.filter((call) => call === "change")).toHaveLength(1);
    expect(await all()).toEqual({ first: true, n: 0, other: 0 });
  });

  /** Moves the clock by which requests wait. */
  function moveClock(): (milliseconds: number) => void {
    const now = performance.now.bind(performance);
    let later = 0;
    const clock = vi.spyOn(performance, "now").mockImplementation(() => now() + later);
    onTestFinished(() => clock.mockRestore());
    return (milliseconds) => (later += milliseconds);
  }

  test("are stored in a process that has run for longer than their store may take", async () => {
    const { gather, all } = await busyShop({ storeTimeout: 60 });
    moveClock()(61_000);
    const { answers } = await gather([increment, increment]);
    expect(answers.toSorted()).toEqual([1, 2]);
    expect(await all()).toEqual({ first: true, n: 2, other: 0 });
  });

  test("are refused when they have waited for as long as their store may take", async () => {
    const { visit, gather, all } = await busyShop({ storeTimeout: 60 });
    const move = moveClock();
    const { answers } = await gather([increment, increment], () => move(61_000));
    expect(answers).toEqual(["ERR_STORE_TIMEOUT", "ERR_STORE_TIMEOUT"]);
    expect(await all()).toEqual({ first: true, n: 0, other: 0 });
    // The queue has ended, so the next request does not wait in it.
    expect((await visit(increment)).result).toBe(1);
  });

  test("are refused as well when each is stored alone, and those before them have taken that long", async () => {
    const { visit, gather, all, faulty } = await busyShop({ storeTimeout: 60 });
    const move = moveClock();
    const { save } = faulty;
    let isSlow = true;
    const slow: SessionStore["save"] = async (key, write) => {
      if (JSON.stringify([...write.record.fields]).length > 2000)
        throw new SessionError("ERR_RECORD_TOO_LARGE", "Cannot store the session: its record is too large");
      if (isSlow && write.changed.has("=n")) move(61_000);
      return await save(key, write);
    };
    Object.assign(faulty, { save: slow });
    const large = (session: Session) => session.update("large", () => "x".repeat(3000));
    const { answers } = await gather<unknown>([increment, large, increment, increment]);
    expect(answers).toEqual([1, ...Array.from({ length: 3 }, () => "ERR_STORE_TIMEOUT")]);
    isSlow = false;
    expect((await visit(increment)).result).toBe(2);
    expect(await all()).toEqual({ first: true, n: 2, other: 0 });
  });

  test("are refused when a plugin rejects what the one before them has stored", async () => {
    const door = {
      name: "door",
      admit: ({ fields }: { readonly fields: ReadonlyMap<string, string> }) =>
        fields.has("=first") ? "closed" : undefined,
    };
    const { gather, elsewhere } = await busyShop({ plugins: [door] });
    const { answers } = await gather([increment, increment]);
    expect(answers).toEqual(["ERR_SESSION_GONE", "ERR_SESSION_GONE"]);
    expect((await elsewhere((session) => session.get("n"))).result).toBe(0);
  });

  test("are checked by a plugin once for all of them", async () => {
    let checks = 0;
    const door = { name: "door", admit: () => void checks++ };
    const { gather } = await busyShop({ plugins: [door] });
    await gather([increment, increment, increment], () => (checks = 0));
    expect(checks).toBe(1);
  });

  test("send the cookie again only where it lasts for another time, or is used anew", async () => {
    const clock = fakeClock();
    const { gather } = await busyShop({ now: clock.now });
    clock.advance(1);
    const { settled } = await gather<unknown>([
      (session) => session.set("n", 1),
      (session) => session.setTimeouts({ idle: 60 }),
      (session) => session.set("n", 2),
      (session) => session.touch(),
    ]);
    expect(settled.map((each) => each.status === "fulfilled" && each.value.cookies.length)).toEqual([0, 1, 0, 1]);
  });

  test("write one after the other where a plugin answers each of them", async () => {
    const plugin = { name: "each", respond: () => {} };
    const { gather, all, calls } = await busyShop({ plugins: [plugin] });
    const { answers } = await gather([increment, increment]);
    expect(answers.toSorted()).toEqual([1, 2]);
    expect(calls.filter((call) => call === "change").length).toBeGreaterThan(2);
    expect(await all()).toEqual({ first: true, n: 2, other: 0 });
  });

  test("are all told that the session is gone when another process has ended it", async () => {
    const { gather, elsewhere, events } = await busyShop();
    const set = (session: Session) => session.set("n", 5);
    const { answers, settled } = await gather<unknown>([increment, set, increment], () =>
      elsewhere((session) => session.destroy()),
    );
    expect(answers).toEqual(["ERR_SESSION_GONE", undefined, "ERR_SESSION_GONE"]);
    expect(settled.flatMap((each) => (each.status === "fulfilled" ? each.value.cookies : []))).toEqual([]);
    expect(events.filter(({ type }) => type === "gone").length).toBeGreaterThanOrEqual(3);
  });

  test("are all told the new id when another process has renewed it with a grace", async () => {
    const { gather, elsewhere, all } = await busyShop();
    let renewed: string | null = null;
    const set = (key: string) => async (session: Session) => session.set(key, 1);
    const { settled } = await gather([set("a"), set("b"), set("c")], async () => {
      renewed = idIn((await elsewhere((session) => session.regenerate({ grace: 60 }))).cookies);
    });
    const told = settled.map((each) => (each.status === "fulfilled" ? idIn(each.value.cookies) : each.reason));
    expect(told).toEqual([renewed, renewed, renewed]);
    expect(await all()).toMatchObject({ a: 1, b: 1, c: 1 });
  });

  test("get each a token for the cookie or the header with which it came, where the session has a new id", async () => {
    const ids = signedIds({ secrets: ["a secret of at least thirty-two bytes"] });
    const { sessions, gather, elsewhere, all } = await busyShop({ ids, header: "X-Shop" });
    const { result } = await elsewhere(async (session) => (await session.get("n"), internalsOf(session).found));
    const withToken = (token: string) => ({ headers: { "X-Shop": token } });
    const stranger = internalsOf(sessions.start(new Request(SHOP, withToken("none"))));
    await stranger.load();
    const token = await ids.toToken(result?.id ?? "", await stranger.operation());
    let visiting: Promise<Visit<unknown>> | undefined;
    const { settled } = await gather<unknown>([(session) => session.set("a", 1)], async () => {
      visiting = visitor(sessions)((session) => session.set("b", 1), withToken(token));
      for (let turn = 0; turn < 20; turn++) await soon(0);
      await elsewhere((session) => session.regenerate({ grace: 60 }));
    });
    // If the response has no new id, the old one is valid as long as the grace lasts.
    const header = (await visiting)?.response.headers.get("X-Shop") ?? token;
    const Cookie = settled.map((each) => (each.status === "fulfilled" ? cookieOf(each.value) : "")).join();
    const read = async (headers: Record<string, string>) =>
      (await visitor(sessions)((session) => session.all(), { headers })).result;
    expect({ ...(await read({ Cookie })) }).toMatchObject({ a: 1, b: 1 });
    expect({ ...(await read(withToken(header).headers)) }).toMatchObject({ a: 1, b: 1 });
    expect(await all()).toMatchObject({ a: 1, b: 1 });
  });
});

test.each([
  ["that answers at once", () => memoryStore()],
  ["that takes its time", () => openStore().store],
])(
  "update() counts as well when its function changes the session as another request, on a store %s",
  async (_what, open) => {
    const sessions = new SessionManager<{ n: number; m: number }>({ store: open() });
    const first = sessions.open("");
    first.set({ n: 0, m: 0 });
    await first.save();
    const id = (await first.id()) ?? "";
    const other = sessions.open(id);
    await other.get("m");
    let within: Promise<number> | undefined;
    const counted = await sessions.open(id).update("n", (n = 0) => {
      within ??= other.update("m", (m = 0) => m + 1);
      return n + 1;
    });
    expect([counted, await within]).toEqual([1, 1]);
    expect({ ...(await sessions.open(id).all()) }).toEqual({ n: 1, m: 1 });
  },
);

test("one process loads the session again after three batches, so that others get their turn", async () => {
  const { store: inner } = openStore();
  const { store: watched, calls } = counted(inner);
  const held: (() => void)[] = [];
  const store = altered(watched, {
    change: async (change, ...args) => {
      const { opened, open } = gate();
      held.push(open);
      await opened;
      return await change(...args);
    },
  });
  const sessions = new SessionManager<{ n: number }>({ store, storeTimeout: 60 });
  const first = sessions.open("");
  first.set("n", 0);
  await first.save();
  const id = (await first.id()) ?? "";
  const opened = Array.from({ length: 7 }, () => sessions.open(id));
  for (const session of opened) await session.get("n");
  calls.length = 0;
  const updates: Promise<number>[] = [];
  for (const session of opened) {
    // Each update comes while the one before it is being stored, so each is a batch of its own.
    updates.push(session.update("n", (n = 0) => n + 1));
    for (let turn = 0; turn < 5; turn++) await soon(0);
    if (updates.length > 1) {
      held.shift()?.();
      for (let turn = 0; turn < 5; turn++) await soon(0);
    }
  }
  while (held.length > 0) {
    held.shift()?.();
    for (let turn = 0; turn < 5; turn++) await soon(0);
  }
  expect(await Promise.all(updates)).toEqual([1, 2, 3, 4, 5, 6, 7]);
  expect(calls.join(" ")).toBe("change change change change load change change change");
});
