/**
 * The results as tables for people. Where it can be, a figure is a ratio: those hold on other machines.
 *
 * @module
 */
import { CASES, type CaseName } from "./contender.ts";
import type { Contention } from "./contention.ts";
import type { RuntimeCosts } from "./in_process.ts";
import type { Parts, Results } from "./results.ts";
import type { Cost } from "./rounds.ts";

/** The tables of what was measured, by the name of their place in `README.md`. */
export function tablesOf(results: Results): Record<string, string> {
  const tables: Record<string, string | undefined> = {
    "circumstances": circumstances(results),
    "targets": targets(results),
    "in process": results.inProcess?.map(inProcess).join("\n\n"),
    "steps": results.steps && steps(results.steps),
    "wire": results.wire && wire(results.wire),
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

/** What a session costs one contender in one case: microseconds over the same without a session. */
export function overheadOf(costs: readonly Cost[], contender: string, name: CaseName): number | undefined {
  const cost = costs.find((each) => each.contender === contender && each.case === name);
  const bare = cost && costs.find((each) => each.contender === cost.over && each.case === name)?.microseconds;
  return cost?.microseconds === undefined || bare === undefined ? undefined : cost.microseconds - bare;
}

function circumstances({ date, machine, inProcess: runtimes = [], versions }: Results): string {
  const names = runtimes.map(({ runtime, version }) => `${runtime} ${version}`);
  const libraries = Object.entries(versions).map(([name, version]) => `${name} ${version}`);
  return `Measured on ${date}, on ${machine.cores} × ${machine.cpu}: ${[`Node ${machine.node}`, ...names.slice(1)].join(", ")}; ${libraries.join(", ")}.`;
}

/** Those that neither sign nor seal, and so are measured for speed alone. */
const UNSIGNED = new Set(["hono-sessions", "Remix session", "React Router"]);

function targets({
  inProcess: runtimes,
  wire: wired,
  sizes: sized,
  crowds: crowded,
  counters: counted,
  entries: weighed,
}: Results): string {
  const rows: string[][] = [];
  const costs = runtimes?.find(({ runtime }) => runtime === "Node")?.costs;
  if (costs !== undefined) {
    const peers = [...new Set(costs.map(({ contender }) => contender))].filter(
      (name) => !/^(?:bare|by hand|with-session)/.test(name),
    );
    for (const { name } of CASES) {
      const ours = overheadOf(costs, "with-session", name);
      const hand = overheadOf(costs, "by hand", name);
      const bare = costs.find(
        ({ contender, case: each }) => contender === "bare handler" && each === name,
      )?.microseconds;
      if (ours === undefined || hand === undefined || bare === undefined) continue;
      if (name.startsWith("untouched")) {
        rows.push([`${name}, ÷ bare handler`, "≤ 1.05", ((ours + bare) / bare).toFixed(2)]);
        continue;
      }
      rows.push([`${name}, overhead ÷ by hand's`, name === "login" ? "" : "≤ 1.5", (ours / hand).toFixed(2)]);
      for (const [whose, limit, among] of [
        ["the fastest peer's", "< 1", peers],
        ["the fastest's that signs or seals", "≤ 0.33", peers.filter((peer) => !UNSIGNED.has(peer))],
      ] as const) {
        const others = among.flatMap((peer) => {
          const overhead = overheadOf(costs, peer, name);
          return overhead === undefined ? [] : [{ peer, overhead }];
        });
        const fastest = others.sort((left, right) => left.overhead - right.overhead)[0];
        if (fastest === undefined) continue;
        const ratio = `${(ours / fastest.overhead).toFixed(2)} (${fastest.peer})`;
        rows.push([`${name}, overhead ÷ ${whose}`, name === "login" ? "" : limit, ratio]);
      }
    }
  }
  for (const [each, limit] of [
    ["read", "≥ 0.95"],
    ["write", "≥ 0.85"],
  ] as const) {
    const of = (contender: string): number | undefined =>
      wired?.find((row) => row.engine === "Redis" && row.case === each && row.contender === contender)
        ?.requestsPerSecond;
    const [hand, ours] = [of("by hand"), of("value")];
    if (hand && ours) rows.push([`Redis, ${each}: requests a second ÷ by hand's`, limit, (ours / hand).toFixed(2)]);
  }
  const counter = counted?.find(({ what }) => what === "with-session");
  if (counter) rows.push(["core, cookie and memory store, KB gzip", "≤ 4.5", kilobytes(counter.gzipped)]);
  const heaviest = weighed?.filter(({ what }) => what.startsWith("./stores/")).sort((a, b) => b.gzipped - a.gzipped)[0];
  if (heaviest)
    rows.push(["the heaviest store, KB gzip", "≤ 1.5", `${kilobytes(heaviest.gzipped)} (${heaviest.what})`]);
  const large = sized?.find(({ bytes, keys }) => bytes === 262_144 && keys === 1000);
  if (large)
    rows.push(["one key of 1 000 in 256 KB, ÷ parsing the record", "≤ 3", (large.read / large.parse).toFixed(2)]);
  const crowd = crowded?.findLast(({ heap }) => heap !== null);
  if (crowd)
    rows.push([
      "heap of a session, ÷ (2 × its data + 300 bytes)",
      "≤ 1",
      ((crowd.heap ?? 0) / (2 * crowd.data + 300)).toFixed(2),
    ]);
  if (counter) rows.push(["import, milliseconds over an empty module", "≤ 3", counter.start.toFixed(1)]);
  return table(["on Node", "where to go", "where it is"], rows);
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
  return `${table(head, rows)}\n\n– ${notes.join("; ")}.`;
}

function wire(rows: Parts["wire"]): string {
  const head = ["", "requests a second", "p50", "p95", "p99", "round trips", "with 32 at once"];
  return table(
    head,
    rows.map((row) => {
      const hand = rows.find(
        ({ engine, contender, case: each }) => engine === row.engine && contender === "by hand" && each === row.case,
      );
      const times = (figure: "requestsPerSecond" | "p50" | "p95" | "p99", unit: string): string =>
        row === hand || hand === undefined
          ? `${row[figure].toFixed(0)}${unit}`
          : `${(row[figure] / hand[figure]).toFixed(2)} ×`;
      return [
        `${row.engine}, ${row.case}: ${row.contender}`,
        times("requestsPerSecond", ""),
        ...(["p50", "p95", "p99"] as const).map((figure) => times(figure, " µs")),
        String(row.commands),
        row.commandsAtOnce.toFixed(2),
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

const CONTENTION_HEAD = [
  "writers",
  "commits a second",
  "attempts a commit",
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
    [...rows]
      .sort((left, right) => left.engine.localeCompare(right.engine) || left.writers - right.writers)
      .map((row) => [row.engine, row.pause, ...contentionCells(row)]),
  );
}

function contentionCells(row: Contention): string[] {
  return [
    String(row.writers),
    row.commitsPerSecond.toFixed(0),
    row.attemptsPerCommit.toFixed(2),
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

function entries(rows: Parts["entries"]): string {
  return table(
    ["entry", "minified", "gzipped"],
    rows.map(({ what, minified, gzipped }) => [`\`${what}\``, String(minified), String(gzipped)]),
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

function kilobytes(bytes: number): string {
  return (bytes / 1000).toFixed(1);
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(" | ")} |`;
  const rule = head.map((_cell, index) => (index === 0 ? "---" : "---:"));
  return [line(head), line(rule), ...rows.map(line)].join("\n");
}
