import { readFile, writeFile } from "node:fs/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { RecordFault, StoreFault } from "../../src/testing.ts";
import { type Engine, engines } from "./engines.ts";
import { kinds } from "./kinds.ts";
import { brokenOf, type Cell, cellsOf, CLOCKS, inTurns, POLICIES, RECORD_FAULTS, STORE_FAULTS } from "./plans.ts";
import { type Outcome, perform, type Policy } from "./scene.ts";
import { takeOverTimers } from "./time.ts";

/**
 * The faults for each engine besides memory, under "throw". Not "future times": a clock that is a year ahead is wrong by more than
 * the promises allow.
 */
const FAULTS: Readonly<Record<string, readonly (StoreFault | RecordFault)[]>> = {
  "file": [...STORE_FAULTS, "truncated", "newer schema"],
  "SQLite": [...STORE_FAULTS, "truncated", "newer schema"],
  "Redis, a hash": [...STORE_FAULTS, "truncated", "newer schema"],
  // Upstash is slow, and behind its client is also a Redis.
  "Upstash, a hash": ["rejects", "does it but rejects", "does it late"],
  "Workers KV, simulated": [...STORE_FAULTS, "truncated", "newer schema"],
};

/** One row of the table. */
interface Row extends Cell {
  readonly kind: string;
  readonly outcomes: Readonly<Record<Policy, Outcome>>;
}

const INTRODUCTION = `# What happens when a call of a store fails

\`test/faults/single.test.ts\` writes this page from what it observed: \`UPDATE_FAULTS=1 npx vitest run test/faults/single.test.ts\` writes it again.

A client with a session (n = 1, and the flash value "hi") sends one request, and one store call of that request fails. If the client got an error, or a response
whose changes were not stored, it tries again. The table is for a store in memory. The same promises are tested on files, SQLite, Redis, Upstash and a simulated Workers KV, and with servers whose clocks are five minutes wrong.

- **Client, throw** and **Client, anonymous**: the response under each \`onStoreError\`. If a cell has two parts with a slash between them, the first is for "throw" and the second for "anonymous".
- **The store holds**: the sessions that can be found under any id of the client. "Later" is the state after a delayed call has arrived.
- **Another try**: the result of the same request on another server. A write that was done without an answer counts as well, because the client cannot tell it from a write that was not done.

The faults are those of \`faultyStore\`. If a rotation fails, its new session is ended. That has a separate time limit, so a store call that takes too long leaves no second session. If a creation arrives after everything else, it leaves a session whose id no client knows. That session is removed when it expires.
If the store is busy, "last seen" is written with the next request. \`update()\` commits at once, so its caller gets an error under "anonymous" as well.
`;
const TABLE_HEAD = `| Call | Fault | Client, throw | Client, anonymous | The store holds | onEvent gets | Another try |
| --- | --- | --- | --- | --- | --- | --- |`;

let giveBack: () => void;
let memory: Engine;
const rows: Row[] = [];
beforeAll(async () => {
  giveBack = takeOverTimers();
  memory = await start("memory");
});
afterAll(async () => {
  giveBack();
  await memory.stop();
});

function start(name: string): Promise<Engine> {
  const engine = engines[name];
  if (engine === undefined) throw new Error(`There is no engine ${name}`);
  return engine();
}

describe("One call of a store in memory fails", () => {
  test.each(Object.entries(kinds))(
    "and no promise is broken while %s, and it is the same whatever the clocks",
    async (name, kind) => {
      const cells = await cellsOf(kind, memory.open, [...STORE_FAULTS, ...RECORD_FAULTS]);
      const scenes = cells.flatMap((cell) => POLICIES.map((policy) => ({ ...cell, policy })));
      const different: object[] = [];
      const played = await inTurns(scenes, async ({ fault, release, policy }) => {
        const outcomes: (readonly [string, Outcome])[] = [];
        for (const [name, clocks] of Object.entries(CLOCKS))
          outcomes.push([name, await perform(kind, policy, memory.open, { faults: [fault], release, clocks })]);
        const [[, outcome] = []] = outcomes;
        if (outcome === undefined) throw new Error("There are no clocks");
        for (const [clocks, other] of outcomes)
          if (textOf(other) !== textOf(outcome) || other.broken.length > 0)
            different.push({ fault, release, policy, clocks, ...other, right: textOf(outcome) });
        return { fault, release, policy, outcome };
      });
      expect(different).toEqual([]);
      for (const cell of cells) {
        const [thrown, anonymous] = POLICIES.map(
          (policy) =>
            played.find((each) => each.fault === cell.fault && each.release === cell.release && each.policy === policy)
              ?.outcome,
        );
        if (thrown === undefined || anonymous === undefined) throw new Error("A scene was not played");
        rows.push({ ...cell, kind: name, outcomes: { throw: thrown, anonymous } });
      }
    },
  );

  test("and faults.md says what was observed", async () => {
    const file = new URL("../faults.md", import.meta.url);
    if (process.env["UPDATE_FAULTS"] === "1") await writeFile(file, page());
    expect(await readFile(file, "utf8").catch(() => "")).toBe(page());
  });
});

describe.each(Object.entries(FAULTS))("One call of %s fails", (name, faults) => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await start(name);
  });
  afterAll(() => engine.stop());

  test("and no promise is broken, by servers whose clocks are wrong", async () => {
    const scenes: { readonly kind: string; readonly cell: Cell }[] = [];
    for (const [kind, each] of Object.entries(kinds))
      scenes.push(...(await cellsOf(each, engine.open, faults)).map((cell) => ({ kind, cell })));
    const clocks = CLOCKS["ahead, behind, ahead"];
    const played = await inTurns(scenes, async ({ kind, cell: { fault, release } }) => {
      const about = kinds[kind];
      if (about === undefined) throw new Error(`There is no kind ${kind}`);
      const outcome = await perform(about, "throw", engine.open, { faults: [fault], release, clocks });
      return { kind, fault, release, outcome };
    });
    expect(brokenOf(played)).toEqual([]);
    expect(played.length).toBeGreaterThan(200);
  });
});

describe("The judge", () => {
  const open = (): Engine["open"] => memory.open;
  const reading = kinds["reading"];
  const clocks = CLOCKS.right;

  test.each<[string, string, (engine: Engine["open"]) => Engine["open"]]>([
    ["drops a change and says that it was stored", "setting", (engine) => spoiled(engine, { changes: false })],
    ["does not delete", "destroying", (engine) => spoiled(engine, { deletes: false })],
  ])("finds a store that %s", async (_what, name, spoil) => {
    const kind = kinds[name];
    if (kind === undefined || reading === undefined) throw new Error("There is no such kind");
    const { broken } = await perform(kind, "throw", spoil(open()), { faults: [], clocks });
    expect(broken).not.toEqual([]);
    expect((await perform(reading, "throw", spoil(open()), { faults: [], clocks })).broken).toEqual([]);
  });
});

/** An engine that reports changes or deletions as done without doing them. */
function spoiled(
  open: Engine["open"],
  { changes = true, deletes = true }: { readonly changes?: boolean; readonly deletes?: boolean },
): Engine["open"] {
  return (now) => {
    const { here } = open(now);
    const store: typeof here = {
      ...here,
      save: (key, write) => (write.expected === null || changes ? here.save(key, write) : `${write.expected} and more`),
      delete: (key, expected) => (deletes ? here.delete(key, expected) : undefined),
    };
    return { here: store, elsewhere: store };
  };
}

/** The outcome without the calls: after a conflict, a list draws a page at random and may need more calls. */
function textOf({ client, store, heard, retry }: Outcome): string {
  return JSON.stringify({ client, store, heard, retry });
}

function page(): string {
  const sections = Object.keys(kinds).map((kind) => {
    const lines = rows.filter((row) => row.kind === kind).map(lineOf);
    // Faults with the same outcome share one line.
    const alike = Map.groupBy(lines, ({ call, rest }) => `${call} | ${rest}`);
    const body = [...alike.values()].map((group) => {
      const [{ call, rest } = { call: "", rest: "" }] = group;
      return `| ${call} | ${group.map(({ fault }) => fault).join(", ")} | ${rest} |`;
    });
    return `## ${kind[0]?.toUpperCase()}${kind.slice(1)}\n\n${TABLE_HEAD}\n${body.join("\n")}\n`;
  });
  return `${INTRODUCTION}\n${sections.join("\n")}`;
}

const ORDINALS: readonly string[] = ["", "second ", "third ", "fourth "];

function lineOf({
  fault: { call, nth, fault },
  release,
  outcomes,
}: Row): Readonly<Record<"call" | "fault" | "rest", string>> {
  const { throw: thrown, anonymous } = outcomes;
  const either = (one: string, other: string): string => (one === other ? one : `${one || "–"} / ${other || "–"}`);
  const rest = [
    thrown.client,
    anonymous.client,
    either(thrown.store, anonymous.store),
    either(thrown.heard, anonymous.heard),
    either(thrown.retry, anonymous.retry) || "–",
  ];
  const when =
    fault !== "does it late" ? "" : release === "after the retry" ? " (after the other try)" : " (before it)";
  return { call: `${ORDINALS[nth] ?? ""}\`${call}\``, fault: `${fault}${when}`, rest: rest.join(" | ") };
}
