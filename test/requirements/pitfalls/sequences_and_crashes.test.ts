import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from "vitest";
import { z } from "zod";
import {
  memoryStore,
  type Session,
  SessionManager,
  type SessionOptions,
  type SessionStore,
  StoreBusyError,
} from "../../../mod.ts";
import { csrfToken } from "../../../src/csrf.ts";
import { signedIds } from "../../../src/signed_ids.ts";
import { cloudflareKvStore } from "../../../src/stores/cloudflare_kv.ts";
import { cookieJar, fakeClock, faultyStore, kvSimulator } from "../../../src/testing.ts";
import {
  altered,
  codeOf,
  cookieOf,
  errorOf,
  failing,
  gate,
  idIn,
  living,
  openStore,
  SHOP,
  soon,
  VERBS,
  visitor,
  FAKED,
  soonest,
} from "../../setup/sessions.ts";

const unhandled: unknown[] = [];
const note = (error: unknown): unknown => unhandled.push(error);
beforeAll(() => {
  process.on("unhandledRejection", note);
});
afterAll(() => {
  process.off("unhandledRejection", note);
});

interface Data {
  n?: number;
  notice?: string;
  user?: string;
}
const schema = z.object({ n: z.number().max(10), notice: z.string(), user: z.string() }).partial() as z.ZodType<Data>;

describe("what a schema has refused", () => {
  test("does not keep destroy() from ending the session, and what comes after it from being stored", async () => {
    const { store, records } = openStore();
    const jar = cookieJar();
    const visit = visitor<Data>({ store, schema }, { jar });
    const old = cookieOf(await visit((session) => session.set("user", "ada")));
    const { cookies } = await visit(async (session) => {
      session.set("n", 11);
      expect(await codeOf(() => session.save())).toBe("ERR_SCHEMA");
      await session.destroy();
      session.set("notice", "bye");
    });
    expect(idIn(cookies)).toMatch(/^[\w-]{32}$/);
    expect({ ...(await visit((session) => session.all())).result }).toEqual({ notice: "bye" });
    const again = await visitor<Data>({ store, schema })((session) => session.get("user"), {
      headers: { Cookie: old },
    });
    expect(again.result).toBe(undefined);
    expect(records.size).toBe(1);
  });

  test("is stored when it is mended after the refusal", async () => {
    const visit = visitor<Data>({ schema });
    await visit((session) => session.set("user", "ada"));
    await visit(async (session) => {
      session.set({ n: 11, notice: "kept" });
      expect(await codeOf(() => session.save())).toBe("ERR_SCHEMA");
      session.set("n", 10);
    });
    expect({ ...(await visit((session) => session.all())).result }).toEqual({ user: "ada", n: 10, notice: "kept" });
  });

  test("does not take along what update() has refused", async () => {
    const visit = visitor<Data>({ schema });
    await visit((session) => session.set("user", "ada"));
    await visit(async (session) => {
      session.set("notice", "kept");
      expect(await codeOf(() => session.update("n", () => 11))).toBe("ERR_SCHEMA");
    });
    expect({ ...(await visit((session) => session.all())).result }).toEqual({ user: "ada", notice: "kept" });
  });
});

test("onEvent that rejects does not end the process", async () => {
  const visit = visitor({ onEvent: async () => Promise.reject(new Error("no")) });
  await visit((session) => session.set("n", 1));
  expect((await visit((session) => session.get("n"))).result).toBe(1);
  await soon(0);
  expect(unhandled).toEqual([]);
});

describe("calls that run in parallel", () => {
  test.each<[string, (session: Session) => Promise<unknown>]>([
    ["create()", (session) => session.create()],
    ["id() after set()", (session) => session.id()],
    ["create() and id()", async (session) => (await Promise.all([session.create(), session.id()]))[0]],
  ])("mint one id: %s", async (_, use) => {
    const generateId = async (): Promise<string> => await soon(crypto.randomUUID());
    const { result, cookies } = await visitor({ generateId })(async (session) => {
      session.set("n", 1);
      return await Promise.all([use(session), use(session), use(session)]);
    });
    expect(new Set([...result, idIn(cookies)]).size).toBe(1);
  });

  test("give tokens against forgery that are valid for the session that is told", async () => {
    const sessions = new SessionManager({ generateId: async () => await soon(crypto.randomUUID()) });
    const { verifyCsrfToken } = await import("../../../src/csrf.ts");
    const { result, cookies } = await visitor(sessions)((session) =>
      Promise.all([csrfToken(session), csrfToken(session)]),
    );
    const init = { headers: { Cookie: cookieOf({ cookies }) } };
    const verified = await visitor(sessions)(
      (session) => Promise.all(result.map((token) => verifyCsrfToken(session, token))),
      init,
    );
    expect(verified.result).toEqual([true, true]);
  });

  test("regenerate once", async () => {
    const { store, records } = openStore();
    const visit = visitor({ store });
    await visit((session) => session.set("n", 1));
    await visit((session) => Promise.all([session.regenerate(), session.regenerate(), session.save(), session.save()]));
    expect(living(records)).toHaveLength(1);
  });
});

describe("a new id that save() has stored", () => {
  /** A session whose handler renews the id, saves, and then fails in one of several ways. */
  async function renewing(
    options: SessionOptions<Data>,
    use: (session: Session<Data>) => unknown,
    store: SessionStore = openStore().store,
  ) {
    const jar = cookieJar();
    const visit = visitor<Data>({ store, ...options }, { jar });
    await visit((session) => session.set("user", "ada"));
    const before = jar.header(SHOP);
    const ending = visit(async (session) => {
      await session.regenerate();
      await session.save();
      await use(session);
    });
    const failed = await ending.then(
      () => "answered",
      (error: unknown) => (Object(error).code ?? Object(error).message) as string,
    );
    const reading = visitor<Data>({ store }, { jar });
    return {
      failed,
      isOld: jar.header(SHOP) === before,
      user: (await reading((session) => session.get("user"))).result,
    };
  }

  test("is put back when the handler throws", async () => {
    const outcome = await renewing({}, () => {
      throw new Error("mine");
    });
    expect(outcome).toEqual({ failed: "mine", isOld: true, user: "ada" });
  });

  test("is put back when the schema refuses what comes after it", async () => {
    const outcome = await renewing({ schema }, (session) => session.set("n", 11));
    expect(outcome).toEqual({ failed: "ERR_SCHEMA", isOld: true, user: "ada" });
  });

  test("is put back when a later change cannot be encoded", async () => {
    const outcome = await renewing({}, async (session) => {
      const list: unknown[] = [];
      session.set("notice", list as unknown as string);
      list.push(() => 0);
    });
    expect(outcome).toEqual({ failed: "ERR_NOT_SERIALIZABLE", isOld: true, user: "ada" });
  });

  test("is put back when a later write fails and the error goes out", async () => {
    const faulty = faultyStore(openStore().store);
    const outcome = await renewing(
      {},
      (session) => {
        session.set("n", 1);
        faulty.plan({ save: ["rejects"] });
      },
      faulty,
    );
    expect(outcome).toEqual({ failed: "ERR_STORE", isOld: true, user: "ada" });
  });

  test("is told by the response when a later write fails and the response goes out all the same", async () => {
    const faulty = faultyStore(openStore().store);
    const outcome = await renewing(
      { onStoreError: "anonymous" },
      (session) => {
        session.set("n", 1);
        faulty.plan({ save: "rejects" });
      },
      faulty,
    );
    faulty.plan({});
    expect(outcome).toMatchObject({ failed: "answered", isOld: false });
  });

  test("is put back when it was renewed twice", async () => {
    const outcome = await renewing({}, async (session) => {
      await session.regenerate();
      await session.save();
      throw new Error("mine");
    });
    expect(outcome).toEqual({ failed: "mine", isOld: true, user: "ada" });
  });
});

describe("a rotation without an answer", () => {
  const faults = ["rejects", "does it but rejects"] as const;
  /**
   * The library stores the successor, retires the old id, and makes a touch to find out whether it was retired. A plan says
   * which of these writes fail, and how.
   */
  const plans = faults.flatMap((first) =>
    faults.flatMap(
      (second) =>
        [
          [first, second, "none"],
          ["none", first, second],
          [first, "none", second],
        ] as const,
    ),
  );

  test.each(plans)("never leaves a client without its session: %s, %s, %s", async (...plan) => {
    for (const onStoreError of ["throw", "anonymous"] as const) {
      const { store, records } = openStore();
      const faulty = faultyStore(store);
      const jar = cookieJar();
      const options = { store: faulty, onStoreError };
      await visitor(options, { jar })((session) => session.set("user", "ada"));
      faulty.plan({ save: plan });
      await visitor(options, { jar })((session) => session.regenerate()).catch(() => {});
      faulty.plan({});
      expect((await visitor(options, { jar })((session) => session.get("user"))).result).toBe("ada");
      // A successor that could not be ended may remain, but no client knows its id.
      expect(living(records).length).toBeGreaterThanOrEqual(1);
    }
  });

  test("never leaves a client without its session when the retirement arrives late", async () => {
    const { store } = openStore();
    const faulty = faultyStore(store);
    const jar = cookieJar();
    const visit = visitor({ store: faulty, storeTimeout: 0.05 }, { jar });
    await visit((session) => session.set("user", "ada"));
    faulty.plan({ save: ["none", "does it late"] });
    expect(await codeOf(() => visit((session) => session.regenerate()))).toBe("ERR_STORE_TIMEOUT");
    await faulty.release();
    faulty.plan({});
    expect((await visit((session) => session.get("user"))).result).toBe("ada");
  });

  test("takes no longer than storeTimeout when the store hangs", async () => {
    onTestFinished(() => void vi.useRealTimers());
    const { store } = openStore();
    const faulty = faultyStore(store);
    const visit = visitor({ store: faulty, storeTimeout: 0.3 });
    await visit((session) => session.set("user", "ada"));
    for (const plan of [["hangs"], ["none", "hangs"], ["none", "hangs", "hangs", "hangs"]] as const) {
      faulty.plan({ save: plan, delete: "hangs" });
      vi.useFakeTimers(FAKED);
      const rotating = codeOf(() => visit((session) => session.regenerate()));
      // One time limit for the rotation and its repairs, and one for putting the old session back.
      await vi.advanceTimersByTimeAsync(2 * 300 + 10);
      expect(await soonest(rotating)).toBe("ERR_STORE_TIMEOUT");
      vi.useRealTimers();
      faulty.plan({});
    }
  });
});

test("a touch that a busy store drops does not let an update count twice", async () => {
  const clock = fakeClock();
  const { store } = openStore();
  let isBusy = false;
  const busy = altered(store, {
    touch: async (touch, ...args) => {
      if (isBusy) throw new StoreBusyError();
      return await touch(...args);
    },
  });
  const faulty = faultyStore(busy);
  const visit = visitor({ store: faulty, now: clock.now, storeTimeout: 0.5 });
  await visit((session) => session.set("n", 1));
  for (const fault of ["does it but rejects", "rejects"] as const) {
    const before: number = (await visit((session) => session.get("n"))).result;
    faulty.plan({ save: [fault] });
    isBusy = true;
    await visit(async (session) => {
      await session.update("n", (n) => n + 1).catch(() => {});
      session.set("later", true);
    }).catch(() => {});
    isBusy = false;
    faulty.plan({});
    const after: number = (await visit((session) => session.get("n"))).result;
    expect(after - before).toBe(fault === "rejects" ? 0 : 1);
  }
});

describe("an answer without meaning", () => {
  const answers: unknown[] = [null, undefined, {}, [], "", "OK", "ok", true, NaN, { aborted: true }];
  const verbs = [...VERBS];

  test.each(verbs)("is a failure, not a success, when %s gives it", async (verb) => {
    for (const answer of answers) {
      // These answers are correct.
      if ((verb === "load" && answer === null) || (verb === "delete" && answer === undefined)) continue;
      const { store } = openStore();
      let isConfused = false;
      const confuse = async (call: (...args: never[]) => unknown, ...args: unknown[]): Promise<never> =>
        (isConfused ? answer : Reflect.apply(call, undefined, args)) as never;
      const visit = visitor({ store: altered(store, { [verb]: confuse }) });
      if (verb !== "create") await visit((session) => session.set("n", 1));
      isConfused = true;
      const uses: Record<string, (session: Session) => unknown> = {
        load: (session) => session.get("n"),
        create: (session) => session.set("n", 1),
        change: (session) => session.set("n", 2),
        touch: (session) => session.touch(),
        delete: (session) => session.destroy(),
      };
      const error = await errorOf(() => visit(uses[verb]!));
      expect({ answer, code: error.code }).toEqual({ answer, code: "ERR_STORE" });
    }
  });
});

test("a value that a cold process could not read is refused by set()", async () => {
  const nested = (levels: number): unknown => {
    let value: unknown = 1;
    for (let level = 0; level < levels; level++) value = { deeper: value };
    return value;
  };
  const { store } = openStore();
  const visit = visitor({ store });
  await visit(async (session) => {
    for (const levels of [2_000, 100_000]) {
      const error = await errorOf(() => session.set("tree", nested(levels)));
      expect(error.code).toBe("ERR_NOT_SERIALIZABLE");
      expect(error.message).toContain("tree");
    }
    session.set("tree", nested(500));
  });
  expect((await visit((session) => session.get("tree"))).result).toEqual(nested(500));
});

test("an id that is too long for a cookie is refused before the record is stored", async () => {
  const { store, records } = openStore();
  const generateId = (): string => "a".repeat(4090);
  expect(await codeOf(() => visitor({ store, generateId })((session) => session.set("n", 1)))).toBe(
    "ERR_COOKIE_TOO_LARGE",
  );
  expect(records.size).toBe(0);
  const ids = signedIds({ secrets: ["a secret of at least thirty-two bytes"] });
  const long = (): string => "b".repeat(4050);
  expect(await codeOf(() => visitor({ store, ids, generateId: long })((session) => session.set("n", 1)))).toBe(
    "ERR_COOKIE_TOO_LARGE",
  );
  expect(records.size).toBe(0);
});

test("a rotation to an id that is too long for a cookie leaves the session as it was", async () => {
  const generated = ["a".repeat(32), "b".repeat(4090)];
  const { store, records } = openStore();
  const visit = visitor({ store, generateId: () => generated.shift() ?? "c".repeat(32) });
  await visit((session) => session.set("n", 1));
  expect(await codeOf(() => visit((session) => session.regenerate()))).toBe("ERR_COOKIE_TOO_LARGE");
  expect((await visit((session) => session.get("n"))).result).toBe(1);
  expect(records.size).toBe(1);
});

test("a logout in a place of Workers KV that does not show the session yet ends it everywhere", async () => {
  const clock = fakeClock();
  const kv = kvSimulator({ now: clock.now, delay: 30 });
  const at = (place: string): SessionOptions => ({ store: cloudflareKvStore(kv.at(place)), now: clock.now });
  const paris = cookieJar({ now: clock.now });
  const begun = await visitor(at("Paris"), { jar: paris })((session) => session.set("user", "ada"));
  const headers = { Cookie: cookieOf(begun) };
  clock.advance(1);
  const out = await visitor(at("Tokyo"))((session) => session.destroy(), { headers });
  expect(idIn(out.cookies)).toBe(null);
  for (const minutes of [2, 60]) {
    clock.advance(minutes * 60);
    for (const place of ["Paris", "Tokyo", "Lima"]) {
      const { result } = await visitor(at(place))((session) => session.get("user"), { headers });
      expect({ place, result }).toEqual({ place, result: undefined });
    }
  }
});

test("a store that cannot be loaded from logs nobody out, and later works on", async () => {
  let isDown = false;
  const store = failing(memoryStore(), ["load"], () => isDown);
  const jar = cookieJar();
  const visit = visitor({ store, onStoreError: "anonymous" }, { jar });
  await visit((session) => session.set("user", "ada"));
  const open = gate();
  isDown = true;
  const { cookies } = await visit(async (session) => {
    expect(await session.get("user")).toBe(undefined);
    await session.destroy();
    session.set("user", "eve");
    open.open();
  });
  await open.opened;
  isDown = false;
  expect(cookies).toEqual([]);
  expect((await visit((session) => session.get("user"))).result).toBe("ada");
});
