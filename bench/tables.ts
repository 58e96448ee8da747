/**
 * The results as tables. Figures are ratios where possible, because ratios also hold on other machines.
 *
 * @module
 */
import { CASES, type CaseName } from "./contender.ts";
import type { Contention } from "./contention.ts";
import type { RuntimeCosts } from "./in_process.ts";
import type { Parts, Results } from "./results.ts";
import type { Cost } from "./rounds.ts";
import { FROM_NPM } from "./size.ts";

/** The tables of the measurements, by the name of their place in `README.md`. */
export function tablesOf(results: Results): Record<string, string> {
  const tables: Record<string, string | undefined> = {
    "circumstances": circumstances(results),
    "targets": targets(results),
    "alone": results.alone?.map(inProcess).join("\n\n"),
    "in process": results.inProcess?.map(inProcess).join("\n\n"),
    "steps": results.steps && steps(results.steps),
    "wire": results.wire && wire(results.wire),
    "latency": results.latency && latency(results),
    "sizes": results.sizes && sizes(results.sizes),
    "crowds": results.crowds && crowds(results.crowds),
    "options": results.options && options(results.options),
    "contention": results.contention && contention(results.contention),
    "pauses": results.pauses && results.pauses.length > 0 ? pauses(results.pauses) : undefined,
    "devices": results.devices && devices(results.devices),
    "entries": results.entries && entries(results.entries),
    "counters": results.counters && counters(results.counters),
    "shares": results.shares && shares(results.shares),
    "choices": results.choices && choices(results.choices),
  };
  return Object.fromEntries(
    Object.entries(tables).filter((entry): entry is [string, string] => entry[1] !== undefined),
  );
}

/** The cost of a session for one contender in one case, in microseconds: the difference to the same without a session. */
export function overheadOf(costs: readonly Cost[], contender: string, name: CaseName): number | undefined {
  const cost = costs.find((each) => each.contender === contender && each.case === name);
  const bare = cost && costs.find((each) => each.contender === cost.over && each.case === name)?.microseconds;
  return cost?.microseconds === undefined || bare === undefined ? undefined : cost.microseconds - bare;
}

function circumstances({ dates, machine, alone = [], inProcess: runtimes = alone, versions }: Results): string {
  const names = runtimes.map(({ runtime, version }) => `${runtime} ${version}`);
  const libraries = Object.entries(versions).map(([name, version]) => `${name} ${version}`);
  const days = new Set(Object.values(dates).toSorted().toReversed());
  const measured = [...days].map((day) => {
    const parts = Object.entries(dates).filter(([, date]) => date === day);
    return `on ${day}${days.size > 1 ? ` ${parts.map(([part]) => `\`${part}\``).join(", ")}` : ""}`;
  });
  return `Measured ${measured.join("; ")}. The machine: ${machine.cores} × ${machine.cpu}, ${[`Node ${machine.node}`, ...names.slice(1)].join(", ")}; ${libraries.join(", ")}.`;
}

/** One target: its name, its limit and the measured value. */
interface Target {
  readonly what: string;
  readonly limit: number;
  /** Whether the limit is a maximum. */
  readonly isMost: boolean;
  readonly value: number | undefined;
  readonly digits?: number;
  readonly unit?: string;
}

const most = (what: string, limit: number, value: number | undefined, more: Partial<Target> = {}): Target => ({
  what,
  limit,
  isMost: true,
  value,
  ...more,
});

const least = (what: string, limit: number, value: number | undefined): Target => ({
  what,
  limit,
  isMost: false,
  value,
});

function targets(results: Results): string {
  const rows = [
    ...speedTargets(results),
    ...wireTargets(results),
    ...growthTargets(results),
    ...contentionTargets(results),
    ...sizeTargets(results),
  ];
  return table(
    ["", "target", "measured", "met"],
    rows.flatMap(({ what, limit, isMost, value, digits = 2, unit = "" }) => {
      if (value === undefined || !Number.isFinite(value)) return [];
      const isMet = isMost ? value <= limit : value >= limit;
      return [
        [what, `${isMost ? "≤" : "≥"} ${limit}${unit}`, `${value.toFixed(digits)}${unit}`, isMet ? "yes" : "**no**"],
      ];
    }),
  );
}

/** The limits for the library's overhead, as multiples of the overhead of the code written by hand. */
const SPEED: Partial<Record<CaseName, { readonly alone: number; readonly beside: number }>> = {
  read: { alone: 1.8, beside: 2.2 },
  write: { alone: 2, beside: 2.6 },
  create: { alone: 1.9, beside: 2.1 },
  login: { alone: 2.5, beside: 2.9 },
};
const READS: Partial<Record<string, number>> = { Deno: 2, Bun: 4, workerd: 1.5 };

function speedTargets({ alone = [], inProcess: beside = [] }: Results): Target[] {
  const on = (all: readonly RuntimeCosts[], runtime: string): readonly Cost[] =>
    all.find((each) => each.runtime === runtime)?.costs ?? [];
  const [own, among] = [on(alone, "Node"), on(beside, "Node")];
  const microseconds = (contender: string, name: CaseName): number | undefined =>
    own.find((each) => each.contender === contender && each.case === name)?.microseconds;
  const over = (contender: string, name: CaseName, than: string): number | undefined =>
    difference(microseconds(contender, name), microseconds(than, name));
  const untouched = (name: CaseName): number | undefined =>
    ratio(microseconds("with-session", name), microseconds("bare handler", name));
  return [
    most("untouched, no cookie, ÷ bare handler", 1.05, untouched("untouched, no cookie")),
    most("untouched, cookie, ÷ bare handler", 1.05, untouched("untouched, cookie")),
    ...Object.entries(SPEED).flatMap(([each, limits]) => {
      const name = each as CaseName;
      const times = (costs: readonly Cost[]): number | undefined =>
        ratio(overheadOf(costs, "with-session", name), overheadOf(costs, "by hand", name));
      return [
        most(`${name}, overhead ÷ by hand's`, limits.alone, times(own)),
        most(`the same beside all others in one process`, limits.beside, times(among)),
      ];
    }),
    most(
      "read, overhead ÷ Remix's",
      1,
      ratio(overheadOf(own, "with-session", "read"), overheadOf(own, "Remix session", "read")),
    ),
    ...Object.entries(READS).map(([runtime, limit]) => {
      const costs = on(alone, runtime);
      const value = ratio(overheadOf(costs, "with-session", "read"), overheadOf(costs, "by hand", "read"));
      return most(`read on ${runtime}, overhead ÷ by hand's`, limit ?? 0, value);
    }),
    most("signed ids, a read, more", 2, over("with-session, signed ids", "read", "with-session"), MICROSECONDS),
    most("encryption, a read, more", 25, over("with-session, encryption", "read", "with-session"), MICROSECONDS),
    most("encryption, a write, more", 50, over("with-session, encryption", "write", "with-session"), MICROSECONDS),
  ];
}

const MICROSECONDS = { digits: 1, unit: " µs" };
const MILLISECONDS = { digits: 1, unit: " ms" };
const KILOBYTES = { unit: " KB" };

function wireTargets({ wire: rows = [] }: Results): Target[] {
  const of = (engine: string, contender: string, name: "read" | "write") =>
    rows.find((row) => row.engine === engine && row.contender === contender && row.case === name);
  const speed = (engine: string, name: "read" | "write"): number | undefined =>
    ratio(of(engine, "value", name)?.requestsPerSecond, of(engine, "by hand", name)?.requestsPerSecond);
  const cpu = (engine: string): number | undefined => of(engine, "value", "write")?.serverCpu ?? undefined;
  return [
    least("Redis, read: requests a second ÷ by hand's", 0.9, speed("Redis", "read")),
    least("Redis, write by a script: the same", 0.7, speed("Redis", "write")),
    least("Valkey, write by `SET … IFEQ`: the same", 0.85, speed("Valkey", "write")),
    most("Redis, server's processor for a write by a script", 9, cpu("Redis"), MICROSECONDS),
    most("Valkey, the same by `SET … IFEQ`", 4, cpu("Valkey"), MICROSECONDS),
  ];
}

function growthTargets({ sizes: rows = [] }: Results): Target[] {
  const large = rows.find(({ bytes, keys }) => bytes === 262_144 && keys === 1000);
  return [
    most("one key of 1 000 in 256 KB, read ÷ parsing the record", 0.6, ratio(large?.read, large?.parse)),
    most("the same, write", 1.7, ratio(large?.write, large?.parse)),
  ];
}

/** Engines on which the writers of one process are queued, with the limit for the 99th percentile. */
const LINES: Partial<Record<Contention["engine"], number>> = {
  "file": 100,
  "sqlite": 50,
  "postgres": 50,
  "mariadb": 50,
  "redis": 50,
  "deno kv": 50,
};

function contentionTargets({ contention: rows = [] }: Results): Target[] {
  return rows.flatMap((row) => {
    const { engine, processes, writers, conflicts, timeouts } = row;
    const who = `${engine}, ${processes === 1 ? "" : `${processes} × `}${writers} writers of one session`;
    const givenUp = most(`${who}: given up`, 0, conflicts + timeouts, { digits: 0 });
    const longest = LINES[engine];
    if (processes > 1) return longest === undefined ? [] : [givenUp, least(`${who}: fairness`, 0.9, row.fairness)];
    if (writers !== 256) return [];
    if (longest === undefined) return /^(?:upstash|durable object)/.test(engine) ? [givenUp] : [];
    return [
      givenUp,
      least(`${who}: fairness`, 0.99, row.fairness),
      most(`${who}: p99`, longest, row.p99, MILLISECONDS),
      most(`${who}: writes a commit`, 0.1, row.writesPerCommit),
    ];
  });
}

const SMALL: readonly string[] = ["./csrf", "./cross-origin", "./exclusive", "./nist"];

function sizeTargets({ counters: counted = [], entries: weighed = [], crowds: crowded = [] }: Results): Target[] {
  const counter = counted.find(({ what }) => what === "with-session");
  const added = (path: string): number | undefined => kilobytes(weighed.find(({ what }) => what === path)?.added);
  const crowd = crowded.findLast(({ heap }) => heap !== null);
  return [
    most("visit counter, gzipped", 13, kilobytes(counter?.gzipped), KILOBYTES),
    ...SMALL.map((path) => most(`\`${path}\`, more`, 0.75, added(path), KILOBYTES)),
    ...["./user-sessions", "./read-your-writes"].map((path) => most(`\`${path}\`, more`, 3, added(path), KILOBYTES)),
    most("import of the counter, bundled, over an empty module", 2, counter?.start, MILLISECONDS),
    most("import from npm, not bundled", 4, counted.find(({ what }) => what === FROM_NPM)?.start, MILLISECONDS),
    most("heap of a session in memory, over its data", 460, difference(crowd?.heap ?? undefined, crowd?.data), {
      digits: 0,
      unit: " bytes",
    }),
  ];
}

function ratio(value: number | undefined, of: number | undefined): number | undefined {
  return value === undefined || of === undefined ? undefined : value / of;
}

function difference(value: number | undefined, from: number | undefined): number | undefined {
  return value === undefined || from === undefined ? undefined : value - from;
}

function kilobytes(bytes: number | undefined): number | undefined {
  return ratio(bytes, 1024);
}

function inProcess({ runtime, version, costs }: RuntimeCosts): string {
  const names = [...new Set(costs.map(({ contender }) => contender))];
  const notes: string[] = [];
  const rows = names.map((contender) => [
    contender,
    ...CASES.map(({ name }) => {
      const cost = costs.find((each) => each.contender === contender && each.case === name);
      const { microseconds } = cost ?? {};
      if (microseconds === undefined) {
        notes.push(`${contender}, ${name}: ${cost?.reason ?? "not measured"}`);
        return "–";
      }
      if (contender.startsWith("bare")) return `${microseconds.toFixed(1)} µs`;
      const overhead = overheadOf(costs, contender, name) ?? 0;
      if (name.startsWith("untouched")) return `${(microseconds / (microseconds - overhead)).toFixed(2)} × bare`;
      if (contender === "by hand") return `+ ${overhead.toFixed(1)} µs`;
      return (overhead / (overheadOf(costs, "by hand", name) ?? Number.NaN)).toFixed(2);
    }),
  ]);
  const head = [`${runtime} ${version}`, ...CASES.map(({ name }) => name)];
  return table(head, rows) + (notes.length === 0 ? "" : `\n\n– ${notes.join("; ")}.`);
}

function wire(rows: Parts["wire"]): string {
  const head = [
    "",
    "requests a second",
    "p50",
    "p95",
    "p99",
    "round trips",
    "with 32 at once",
    "client's processor",
    "server's processor",
  ];
  return table(
    head,
    rows.map((row) => {
      const hand = rows.find(
        ({ engine, contender, case: each }) => engine === row.engine && contender === "by hand" && each === row.case,
      );
      const times = (figure: "requestsPerSecond" | "p50" | "p95" | "p99" | "clientCpu", unit: string): string =>
        row === hand || hand === undefined
          ? `${row[figure].toFixed(0)}${unit}`
          : `${(row[figure] / hand[figure]).toFixed(2)} ×`;
      return [
        `${row.engine}, ${row.case}: ${row.contender}`,
        times("requestsPerSecond", ""),
        ...(["p50", "p95", "p99"] as const).map((figure) => times(figure, " µs")),
        String(row.commands),
        row.commandsAtOnce.toFixed(2),
        times("clientCpu", " µs"),
        row.serverCpu === null ? "" : `${row.serverCpu.toFixed(1)} µs`,
      ];
    }),
  );
}

function steps(rows: Parts["steps"]): string {
  return table(
    ["memory store, Node", "µs"],
    rows.map(({ step, microseconds }) => [step, microseconds.toFixed(2)]),
  );
}

function shares(rows: Parts["shares"]): string {
  const all = rows.reduce((sum, { minified }) => sum + minified, 0);
  return table(
    ["part of the core", "minified bytes", "share"],
    rows.map(({ part, minified }) => [part, String(minified), `${((minified / all) * 100).toFixed(0)} %`]),
  );
}

function sizes(rows: Parts["sizes"]): string {
  return table(
    ["bytes", "keys", "parsing the record", "reading one key", "writing one key"],
    rows.map(({ bytes, keys, parse, read, write }) => [
      String(bytes),
      String(keys),
      `${parse.toFixed(1)} µs`,
      `${(read / parse).toFixed(2)} ×`,
      `${(write / parse).toFixed(2)} ×`,
    ]),
  );
}

function crowds(rows: Parts["crowds"]): string {
  return table(
    ["store", "live sessions", "heap each, bytes", "its data among them", "create", "read", "prune 1 %"],
    rows.map(({ store, sessions, heap, data, create, read, prune }) => [
      store,
      String(sessions),
      heap?.toFixed(0) ?? "–",
      String(data),
      `${create.toFixed(1)} µs`,
      `${read.toFixed(1)} µs`,
      `${prune.toFixed(1)} ms`,
    ]),
  );
}

function options(rows: Parts["options"]): string {
  const none = rows.find(({ option }) => option === "none");
  return table(
    ["option", "read", "write", "create"],
    rows.map((row) => [
      row.option,
      ...(["read", "write", "create"] as const).map((each) =>
        row === none || none === undefined ? `${row[each].toFixed(1)} µs` : `${(row[each] / none[each]).toFixed(2)} ×`,
      ),
    ]),
  );
}

const CONTENTION_HEAD: readonly string[] = [
  "processes × writers",
  "commits a second",
  "writes a commit",
  "p50 ms",
  "p95 ms",
  "p99 ms",
  "fairness",
  "given up",
  "timed out",
];

function contention(rows: Parts["contention"]): string {
  return table(
    ["engine", ...CONTENTION_HEAD],
    rows.map((row) => [row.engine, ...contentionCells(row)]),
  );
}

function pauses(rows: Parts["pauses"]): string {
  return table(
    ["engine", "pause", ...CONTENTION_HEAD],
    rows.map((row) => [row.engine, row.pause, ...contentionCells(row)]),
  );
}

function contentionCells(row: Contention): string[] {
  return [
    `${row.processes} × ${row.writers}`,
    row.commitsPerSecond.toFixed(0),
    row.writesPerCommit.toFixed(2),
    row.p50.toFixed(1),
    row.p95.toFixed(1),
    row.p99.toFixed(1),
    row.fairness.toFixed(2),
    String(row.conflicts),
    String(row.timeouts),
  ];
}

function devices(rows: Parts["devices"]): string {
  const milliseconds = (value: number): string => value.toFixed(value < 10 ? 1 : 0);
  return table(
    ["engine", "sessions", "login", "the same, not bound", "list", "revoke", "revokeAll"],
    rows.map(({ engine, sessions, ...costs }) => [
      engine,
      String(sessions),
      ...[costs.login, costs.unbound, costs.list, costs.revoke, costs.revokeAll].map(milliseconds),
    ]),
  );
}

/** Absolute times in milliseconds, because users want to know how long a request waits. */
function latency({ latency: rows = [], dates, machine }: Results): string {
  const pair = ({ p50, p99 }: { p50: number; p99: number }): string =>
    `${shortMilliseconds(p50)} · ${shortMilliseconds(p99)}`;
  const lines = table(
    ["p50 · p99 in ms", "bare read", "request that reads", "bare write", "request that writes"],
    rows.map(({ engine, bareRead, read, bareWrite, write }) => [
      engine,
      ...[bareRead, read, bareWrite, write].map(pair),
    ]),
  );
  return `${lines}\n\nMeasured on ${dates.latency}, on ${machine.cores} × ${machine.cpu}.`;
}

function shortMilliseconds(microseconds: number): string {
  return (microseconds / 1000).toFixed(microseconds < 1000 ? 3 : microseconds < 10_000 ? 2 : 1);
}

function entries(rows: Parts["entries"]): string {
  return table(
    ["entry", "minified", "gzipped", "more for a visit counter, gzipped"],
    rows.map(({ what, minified, gzipped, added }) => [
      `\`${what}\``,
      String(minified),
      String(gzipped),
      what === "." ? "" : `+ ${added}`,
    ]),
  );
}

function counters(rows: Parts["counters"]): string {
  return table(
    ["visit counter", "minified", "gzipped", "import, over an empty module"],
    rows.map(({ what, minified, gzipped, start }) => [
      what,
      String(minified),
      String(gzipped),
      `${start.toFixed(1)} ms`,
    ]),
  );
}

function choices(rows: Parts["choices"]): string {
  return table(
    ["for", "way", "µs", "÷ chosen"],
    rows.map(({ task, way, isOurs, microseconds }) => {
      const chosen = rows.find((row) => row.task === task && row.isOurs)?.microseconds ?? Number.NaN;
      return [task, isOurs ? `**${way}**` : way, microseconds.toFixed(2), (microseconds / chosen).toFixed(2)];
    }),
  );
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(" | ")} |`;
  const rule = head.map((_cell, index) => (index === 0 ? "---" : "---:"));
  return [line(head), line(rule), ...rows.map(line)].join("\n");
}
