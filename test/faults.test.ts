import { readFile, writeFile } from "node:fs/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { memoryStore, type Session, type SessionEvent, withSession } from "../mod.ts";
import { cookieJar, fakeClock, faultyStore, storeCases } from "../src/testing.ts";
import type { FaultPlan, RecordFault, StoreFault, StoreVerb } from "../src/testing.ts";
import { type Data, type Kind, type Outcome, perform, type Policy } from "./setup/fault_scene.ts";
import { altered, codeOf, idIn, openStore, visitor } from "./setup/sessions.ts";

type Handle = Kind["handle"];

const count = (session: Session<Data>): Promise<number> => session.update("n", (n = 0) => n + 1);
const readN = (session: Session<Data>): Promise<number | undefined> => session.get("n");
const begin: Handle = async (session) => {
  session.set({ n: 1, name: "ada" });
  return 1;
};
const rotate: Handle = async (session) => {
  await session.regenerate();
  return await session.get("n");
};
const rotateAndCount: Handle = async (session) => {
  await session.regenerate();
  return await count(session);
};
const end: Handle = (session) => session.destroy();

/** A handler that goes on after `save()` has failed, so that the end of the request stores what is left. */
function caught(handle: Handle): Handle {
  return async (session) => {
    const seen = await handle(session);
    await session.save().catch(() => {});
    return seen;
  };
}

const kinds: Readonly<Record<string, Kind>> = {
  "reading": { does: "read", handle: readN },
  "writing": { does: "count", handle: count },
  "writing, a failed save() being caught": { does: "count", handle: caught(count) },
  "beginning": { does: "begin", isNew: true, handle: begin },
  "beginning, a failed save() being caught": { does: "begin", isNew: true, handle: caught(begin) },
  "reading when a touch is due": { does: "read", later: 10_000, handle: readN },
  "reading a flash value": { does: "consume", handle: (session) => session.get("note") },
  "regenerating": { does: "regenerate", handle: rotate },
  "regenerating, a failed save() being caught": { does: "regenerate", handle: caught(rotate) },
  "regenerating and writing": { does: "regenerate", handle: rotateAndCount },
  "regenerating and writing, a failed save() being caught": { does: "regenerate", handle: caught(rotateAndCount) },
  "destroying": { does: "destroy", handle: end },
  "destroying, a failed save() being caught": { does: "destroy", handle: caught(end) },
};

const storeFaults: readonly StoreFault[] = [
  "rejects",
  "hangs",
  "does it but rejects",
  "answers late",
  "does it late",
  "wrong type",
];
const recordFaults: readonly RecordFault[] = ["truncated", "another key's", "newer schema", "future times"];
const verbs: readonly StoreVerb[] = ["load", "create", "change", "touch", "delete"];
const policies: readonly Policy[] = ["throw", "anonymous"];
const AT_A_TIME = 32;

const INTRODUCTION = `# What happens when a store fails

Written by \`test/faults.test.ts\` from what it observed; \`UPDATE_FAULTS=1 npx vitest run test/faults.test.ts\` writes it anew.

A client with a session (n = 1, and a flash value) sends one request, and calls of the store go wrong: the first of its
kind and all of them, told apart where that makes a difference. In each row the client gets the one under
\`onStoreError: "throw"\` and the other under \`"anonymous"\`; where two things stand with a slash between them, so do the
store and \`observe\`. "Later" is when what was under way for long has arrived. The faults are those of \`faultyStore\`.

A creation that arrives later than everything else leaves a session whose id nobody was told; it goes when it expires.
`;
const TABLE_HEAD = `| Call and fault | Client, throw | Client, anonymous | The store holds | observe hears |
| --- | --- | --- | --- | --- |`;

/** One row of the table. */
interface Row {
  readonly kind: string;
  readonly verb: StoreVerb;
  readonly fault: StoreFault | RecordFault;
  readonly often: "first" | "every";
  readonly outcomes: Readonly<Record<Policy, Outcome>>;
}

/** Rejections that nobody waited for. The runner would report them too, but not name the promise. */
const unhandled: unknown[] = [];
const noteUnhandled = (error: unknown): unknown => unhandled.push(error);
let rows: Row[] = [];

beforeAll(async () => {
  process.on("unhandledRejection", noteUnhandled);
  const cells = Object.keys(kinds).flatMap((kind) =>
    verbs.flatMap((verb) =>
      [...storeFaults, ...(verb === "load" ? recordFaults : [])].flatMap((fault) =>
        (["first", "every"] as const).map((often) => ({ kind, verb, fault, often })),
      ),
    ),
  );
  const played = await inTurns(cells, async (cell) => {
    const plan = { [cell.verb]: cell.often === "first" ? [cell.fault] : cell.fault };
    const kind = kinds[cell.kind]!;
    const [thrown, tolerated] = await Promise.all(policies.map((policy) => perform(kind, policy, plan)));
    return { ...cell, outcomes: { throw: thrown!, anonymous: tolerated! } };
  });
  // Where a request makes no such call, nothing can go wrong with it.
  rows = played.filter(({ verb, outcomes }) => outcomes.throw.calls.includes(verb));
});

afterAll(() => {
  process.off("unhandledRejection", noteUnhandled);
});

/** Runs a task for each item, some at a time: waiting for what hangs costs little then. */
async function inTurns<Item, Result>(items: readonly Item[], task: (item: Item) => Promise<Result>): Promise<Result[]> {
  const results: Result[] = [];
  for (let next = 0; next < items.length; next += AT_A_TIME) {
    results.push(...(await Promise.all(items.slice(next, next + AT_A_TIME).map(task))));
  }
  return results;
}

describe("One call fails, or all of one kind", () => {
  test.each(Object.keys(kinds))("withSession() breaks no promise when a call of the store fails while %s", (kind) => {
    const broken = rows
      .filter((row) => row.kind === kind)
      .flatMap(({ verb, fault, often, outcomes }) =>
        policies.flatMap((policy) =>
          outcomes[policy].broken.map((promise) => ({
            promise,
            fault: `${often} ${verb}: ${fault}`,
            policy,
            ...outcomes[policy],
          })),
        ),
      );
    expect(broken).toEqual([]);
  });

  test("faults.md says what was observed when every call was made to fail", async () => {
    const file = new URL("faults.md", import.meta.url);
    if (process.env["UPDATE_FAULTS"] === "1") await writeFile(file, page());
    expect(await readFile(file, "utf8").catch(() => "")).toBe(page());
  });
});

describe("Two calls fail", () => {
  test.each(Object.keys(kinds))(
    "withSession() breaks no promise when any two calls of the store fail while %s",
    async (name) => {
      const kind = kinds[name]!;
      const broken: unknown[] = [];
      await failing([], 0);
      expect(broken).toEqual([]);

      /** Lets the request run with these faults, then with one more at each of the calls that it made from there on. */
      async function failing(faults: readonly PlannedFault[], from: number): Promise<void> {
        const plan = planOf(faults);
        const [thrown, tolerated] = await Promise.all([perform(kind, "throw", plan), perform(kind, "anonymous", plan)]);
        broken.push(
          ...[thrown, tolerated].filter((outcome) => outcome.broken.length > 0).map((each) => ({ plan, ...each })),
        );
        if (faults.length === 2) return;
        for (const [at, verb] of thrown.calls.entries()) {
          if (at < from) continue;
          const index = thrown.calls.slice(0, at).filter((call) => call === verb).length;
          for (const fault of ["rejects", "does it but rejects"] as const) {
            await failing([...faults, { verb, index, fault }], at + 1);
          }
        }
      }
    },
  );
});

describe("An answer was lost, and its write is still under way", () => {
  test.each(Object.keys(kinds))(
    "withSession() breaks no promise when a late call arrives at any moment while %s",
    async (name) => {
      const kind = kinds[name]!;
      const cells = await inTurns(verbs, async (verb) => {
        const plan: FaultPlan = { [verb]: ["does it late"] };
        const { calls } = await perform(kind, "throw", plan);
        const moments = calls.includes(verb) ? [...calls.keys(), calls.length] : [];
        return moments.slice(calls.indexOf(verb) + 1).map((moment) => ({ plan, moment }));
      });
      const outcomes = await inTurns(cells.flat(), async ({ plan, moment }) => ({
        plan,
        moment,
        ...(await perform(kind, "throw", plan, moment)),
      }));
      expect(outcomes.filter(({ broken }) => broken.length > 0)).toEqual([]);
    },
  );
});

describe("A save() that failed", () => {
  /** One client, with its session of n = 0, on a store that can fail and one that cannot. */
  async function opened(options: { onStoreError?: Policy; now?: () => number } = {}) {
    const { store: sound, records } = openStore();
    const store = faultyStore(sound);
    const jar = cookieJar();
    const visit = visitor<Data>({ ...options, store, storeTimeout: 0.05 }, { jar });
    const other = visitor<Data>({ ...options, store: sound }, { jar });
    await visit((session) => session.set("n", 0));
    const stored = async (): Promise<unknown> => (await other(readN)).result;
    return { sound, store, records, jar, visit, other, stored };
  }
  const isLive = ({ fields }: { fields: ReadonlyMap<string, string> }): boolean =>
    !fields.get("@")!.includes("successor");

  test.each(["throw", "anonymous"] as const)(
    "save() is made up for when the store could not be opened for it, under %s",
    async (onStoreError) => {
      const store = memoryStore();
      const opening = [() => Promise.reject(new Error("down")), async () => store];
      const visit = visitor<Data>({
        store: () => (opening.length > 1 ? opening.shift() : opening[0])!(),
        onStoreError,
      });
      await visit(async (session) => {
        session.set("n", 1);
        expect(await codeOf(() => session.save())).toBe("ERR_STORE");
      });
      expect((await visit(readN)).result).toBe(1);
    },
  );

  test("save() counts once when the write that it repeats was one after a conflict, and arrives meanwhile", async () => {
    const { store, jar, other, stored } = await opened();
    let changes = 0;
    const interrupted = altered(store, {
      change: async (change, ...args) => {
        if (++changes === 3) await store.release();
        return await change(...args);
      },
    });
    await visitor<Data>(
      { store: interrupted, storeTimeout: 0.05 },
      { jar },
    )(async (session) => {
      await count(session);
      await other((another) => another.touch());
      store.plan({ change: ["none", "does it late"] });
      expect(await codeOf(() => session.save())).toBe("ERR_STORE_TIMEOUT");
      await session.save();
    });
    expect(await stored()).toBe(1);
  });

  test("save() stores on top of another's write when only the look at that had failed", async () => {
    const { store, visit, other, stored } = await opened();
    await visit(async (session) => {
      await count(session);
      await other(count);
      store.plan({ load: ["rejects"] });
      expect(await codeOf(() => session.save())).toBe("ERR_STORE");
      await session.save();
      expect(await session.get("n")).toBe(2);
    });
    expect(await stored()).toBe(2);
  });

  test("save() takes over what another has stored before the write that it repeats", async () => {
    const { store, visit, other, stored } = await opened();
    await visit(async (session) => {
      await count(session);
      await other((another) => another.set("name", "ada"));
      store.plan({ change: ["none", "rejects"] });
      expect(await codeOf(() => session.save())).toBe("ERR_STORE");
      await session.save();
      expect(await session.get("name")).toBe("ada");
    });
    expect(await stored()).toBe(1);
    expect((await other((session) => session.get("name"))).result).toBe("ada");
  });

  test("save() does not shorten the session's life when the clock was put back meanwhile", async () => {
    const clock = fakeClock();
    const { store, records, visit } = await opened({ now: clock.now });
    const before = [...records.values()][0]!.lastSeenAt;
    await visit(async (session) => {
      await count(session);
      clock.advance(-50_000);
      store.plan({ change: ["rejects"] });
      expect(await codeOf(() => session.save())).toBe("ERR_STORE");
    });
    expect([...records.values()][0]!.lastSeenAt).toBe(before);
  });

  test("destroy() leaves no live id when the heir of a regenerate() could not be taken back", async () => {
    const { store, records, visit } = await opened();
    await visit(async (session) => {
      await session.regenerate();
      store.plan({ create: ["does it but rejects"], delete: ["rejects", "rejects", "rejects"] });
      expect(await codeOf(() => session.save())).toBe("ERR_STORE");
      await session.destroy();
    });
    expect(records.size).toBe(0);
  });

  test("save() keeps the id that was told when the heir of a regenerate() could not be taken back", async () => {
    const { store, records, visit, stored } = await opened();
    const { result, cookies } = await visit(async (session) => {
      await session.regenerate();
      const id = await session.id();
      store.plan({ create: ["does it but rejects"], delete: ["rejects", "rejects", "rejects"] });
      expect(await codeOf(() => session.save())).toBe("ERR_STORE");
      return id;
    });
    expect(idIn(cookies)).toBe(result);
    expect([...records.values()].filter(isLive)).toHaveLength(1);
    expect(await stored()).toBe(0);
  });

  test("destroy() does not claim a logout when the store's answer means nothing", async () => {
    const { sound, jar } = await opened();
    const lost = altered(sound, { load: async () => JSON.parse("{}").nothing });
    const ending = visitor<Data>({ store: lost }, { jar })((session) => session.destroy());
    expect(await codeOf(() => ending)).toBe("ERR_STORE");
  });
});

describe("A client of the store that sends a write twice, and hears what became of the second", () => {
  async function repeated() {
    let repeats = false;
    const store = altered(memoryStore(), {
      change: async (change, ...args) => {
        if (repeats) await change(...args);
        repeats = false;
        return await change(...args);
      },
    });
    const visit = visitor<Data>({ store });
    await visit((session) => session.set("n", 0));
    repeats = true;
    return visit;
  }

  test("update() counts once", async () => {
    const visit = await repeated();
    await visit(count);
    expect((await visit(readN)).result).toBe(1);
  });

  test("regenerate() leaves the new session", async () => {
    const visit = await repeated();
    expect((await visit((session) => session.regenerate())).cookies).toHaveLength(1);
    expect((await visit(readN)).result).toBe(0);
  });
});

describe("faultyStore()", () => {
  const key = "0123456789abcdef".repeat(4);
  const record = { fields: new Map([["=a", "1"]]), lastSeenAt: 0 };

  test("faultyStore() keeps what every store must when nothing is planned", async () => {
    for (const { run } of storeCases()) await run(() => faultyStore(memoryStore()));
  });

  test("faultyStore() follows its plan and counts from anew when it is given another", async () => {
    const store = faultyStore(memoryStore(), { create: ["rejects", "does it but rejects"] });
    await expect(store.create(key, record, 1)).rejects.toThrow();
    expect(await store.load(key)).toBeNull();
    await expect(store.create(key, record, 1)).rejects.toThrow();
    expect(await store.load(key)).toMatchObject(record);
    expect(await store.create(key, record, 1)).toBe("taken");
    expect(store.calls).toEqual({ load: 2, create: 3, change: 0, touch: 0, delete: 0 });
    store.plan({ load: "rejects" });
    expect(store.calls.create).toBe(0);
    for (let call = 0; call < 3; call++) await expect(store.load(key)).rejects.toThrow();
  });

  test("faultyStore() does and answers what is late when it is released", async () => {
    const engine = memoryStore();
    const store = faultyStore(engine, { create: ["does it late"], load: ["answers late"] });
    const late: string[] = [];
    const creating = store.create(key, record, 1).then(() => late.push("created"));
    expect(await engine.load(key)).toBeNull();
    const loading = store.load(key).then((found) => late.push(found === null ? "found nothing" : "found"));
    await store.release();
    await Promise.all([creating, loading]);
    expect(late.sort()).toEqual(["created", "found nothing"]);
    expect(await engine.load(key)).toMatchObject(record);
  });

  test("faultyStore() works when it is spread into another store", async () => {
    const store = faultyStore(memoryStore(), { load: "rejects" });
    await expect({ ...store }.load(key)).rejects.toThrow();
  });
});

test("withSession() begins no other session when the store's answer to load has no meaning", async () => {
  const store = faultyStore(memoryStore());
  const jar = cookieJar();
  const visit = (handle: Handle) =>
    jar.fetch(
      withSession<Data>(async (_, session) => Response.json(await handle(session)), { store }),
      "https://shop.example/",
    );
  await visit(count);
  store.plan({ load: ["wrong type"] });
  await expect(visit(begin)).rejects.toMatchObject({ code: "ERR_STORE" });
  expect(await (await visit(count)).json()).toBe(2);
});

test("save() makes no session older when it finds out what became of a write, and its clock is behind", async () => {
  const store = memoryStore();
  const touched: number[] = [];
  const faulty = faultyStore({
    ...store,
    touch: (key, lastSeenAt, ...rest) => {
      touched.push(lastSeenAt);
      return store.touch(key, lastSeenAt, ...rest);
    },
  });
  const clock = fakeClock();
  const began = clock.now();
  const jar = cookieJar();
  const handler = withSession<Data>(
    async (_, session) => {
      await count(session);
      await session.save().catch(() => {});
      return new Response();
    },
    { store: faulty, now: clock.now },
  );
  await jar.fetch(handler, "https://shop.example/");
  clock.advance(-1000);
  faulty.plan({ change: ["rejects"] });
  await jar.fetch(handler, "https://shop.example/");
  expect(touched).toEqual([began]);
});

describe('onStoreError: "anonymous"', () => {
  const url = "https://shop.example/";

  async function shopWithSession() {
    const store = faultyStore(memoryStore());
    const heard: SessionEvent["type"][] = [];
    const options = {
      store,
      onStoreError: "anonymous",
      observe: (event: SessionEvent) => heard.push(event.type),
    } as const;
    const jar = cookieJar();
    const visit = (handle: Handle) =>
      jar.fetch(
        withSession<Data>(async (_, session) => Response.json((await handle(session)) ?? null), options),
        url,
      );
    await visit(async (session) => session.set({ n: 1, name: "ada" }));
    heard.length = 0;
    return { store, heard, jar, visit, options };
  }

  test("withSession() serves without a session, and touches nothing, when the store cannot be read", async () => {
    const { store, heard, jar, visit } = await shopWithSession();
    const cookie = jar.header(url);
    store.plan({ load: "rejects" });
    const response = await visit(async (session) => [
      await session.get("n", 0),
      await session.all(),
      await session.id(),
      await session.info(),
    ]);
    expect(await response.json()).toEqual([
      0,
      {},
      null,
      { isNew: true, createdAt: null, lastSeenAt: null, expiresAt: null },
    ]);
    expect([response.headers.getSetCookie(), jar.header(url)]).toEqual([[], cookie]);
    expect(store.calls).toEqual({ load: 1, create: 0, change: 0, touch: 0, delete: 0 });
    expect(heard).toEqual(["failed"]);
  });

  test("withSession() writes nothing, and begins no other session, when the store could not be read", async () => {
    const { store, jar, visit } = await shopWithSession();
    const cookie = jar.header(url);
    store.plan({ load: ["rejects"] });
    const response = await visit(async (session) => {
      session.set("n", 7);
      const failure = await session.save().catch((error) => error.code);
      await session.regenerate();
      await session.destroy();
      session.set("n", 8);
      return failure;
    });
    expect([response.status, await response.json(), response.headers.getSetCookie()]).toEqual([200, "ERR_STORE", []]);
    expect(store.calls).toEqual({ load: 1, create: 0, change: 0, touch: 0, delete: 0 });
    store.plan({});
    expect(await (await visit((session) => session.all())).json()).toEqual({ n: 1, name: "ada" });
    expect(jar.header(url)).toBe(cookie);
  });

  test("withSession() lets the response go out without a cookie when a new session cannot be stored", async () => {
    const { store, options } = await shopWithSession();
    store.plan({ create: "rejects" });
    const handler = withSession<Data>((_, session) => {
      session.set("n", 1);
      return new Response("Hello");
    }, options);
    const response = await handler(new Request(url));
    expect([response.status, await response.text(), response.headers.getSetCookie()]).toEqual([200, "Hello", []]);
  });

  test("withSession() tells the client its new id when that was stored before the store failed", async () => {
    const { store, visit } = await shopWithSession();
    await visit(async (session) => {
      await session.regenerate();
      await session.save();
      store.plan({ change: "rejects" });
      session.set("n", 2);
    });
    store.plan({});
    expect(await (await visit((session) => session.get("n"))).json()).toBe(1);
  });

  test("withSession() serves an eager session as none when the store fails, and rejects under throw", async () => {
    const { store, jar, options } = await shopWithSession();
    store.plan({ load: "rejects" });
    const hello = () => new Response("Hello");
    expect((await jar.fetch(withSession(hello, { ...options, load: "eager" }), url)).status).toBe(200);
    const strict = withSession(hello, { ...options, load: "eager", onStoreError: "throw" });
    await expect(jar.fetch(strict, url)).rejects.toMatchObject({ name: "SessionError", code: "ERR_STORE" });
  });

  test("withSession() rejects as the handler does when that is what failed", async () => {
    const { visit } = await shopWithSession();
    await expect(visit(() => Promise.reject(new Error("mine")))).rejects.toThrow("mine");
  });
});

test("withSession() leaves no rejection unhandled when calls of the store fail", async () => {
  // Node reports them when the microtasks are done.
  await new Promise((resolve) => setImmediate(resolve));
  expect(unhandled).toEqual([]);
});

/** What goes wrong with one call of a verb, counted from 0. */
interface PlannedFault {
  readonly verb: StoreVerb;
  readonly index: number;
  readonly fault: StoreFault;
}

function planOf(faults: readonly PlannedFault[]): FaultPlan {
  const plan: Partial<Record<StoreVerb, StoreFault[]>> = {};
  for (const { verb, index, fault } of faults) {
    const list = (plan[verb] ??= []);
    while (list.length < index) list.push("none");
    list[index] = fault;
  }
  return plan;
}

function page(): string {
  const sections = Object.keys(kinds).map((kind) => {
    const lines = rows.filter((row) => row.kind === kind).map(lineOf);
    const body = lines.flatMap(({ call, often, rest }) => {
      const isSame = lines.some((line) => line.call === call && line.often !== often && line.rest === rest);
      if (!isSame) return [`| ${call}, ${often === "first" ? "the first" : "all"} | ${rest} |`];
      return often === "first" ? [`| ${call} | ${rest} |`] : [];
    });
    return `## ${kind[0]?.toUpperCase()}${kind.slice(1)}\n\n${TABLE_HEAD}\n${body.join("\n")}\n`;
  });
  return `${INTRODUCTION}\n${sections.join("\n")}`;
}

function lineOf({ verb, fault, often, outcomes }: Row): Pick<Row, "often"> & { call: string; rest: string } {
  const { throw: thrown, anonymous } = outcomes;
  const either = (one: string, other: string): string => (one === other ? one : `${one} / ${other}`);
  const clients = `${thrown.client} | ${anonymous.client}`;
  const rest = `${clients} | ${either(thrown.store, anonymous.store)} | ${either(thrown.heard, anonymous.heard)}`;
  return { call: `\`${verb}\` ${fault}`, often, rest };
}
