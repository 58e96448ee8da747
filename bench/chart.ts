/**
 * The main comparison as a picture: the cost of a session in process, on Node, compared with the same page without a
 * session.
 *
 * @module
 */
import type { CaseName } from "./contender.ts";
import type { Results } from "./results.ts";
import { overheadOf } from "./tables.ts";

const SHOWN: readonly CaseName[] = ["read", "write", "create"];
const WIDTH = 760;
const LEFT = 200;
const RIGHT = 70;
const BAR = 11;
const GROUP = SHOWN.length * BAR + 13;
const TOP = 70;
const FASTEST = 1;
const SLOWEST = 1_000;

/** An SVG that is readable on light and on dark pages. */
export function chartOf({ inProcess = [] }: Results): string {
  const node = inProcess.find(({ runtime }) => runtime === "Node");
  const costs = node?.costs ?? [];
  const names = [...new Set(costs.map(({ contender }) => contender))].filter((name) => !name.startsWith("bare"));
  const groups = names
    .map((name) => ({ name, overheads: SHOWN.map((each) => overheadOf(costs, name, each)) }))
    .sort((left, right) => sum(left.overheads) - sum(right.overheads));
  const height = TOP + groups.length * GROUP + 30;
  const lines = [1, 10, 100, 1_000].map((value) => {
    const x = xOf(value);
    const label = `<text x="${x}" y="${TOP - 8}" text-anchor="middle" class="quiet">${value} µs</text>`;
    return `<line x1="${x}" x2="${x}" y1="${TOP}" y2="${height - 25}" class="line"/>${label}`;
  });
  const legend = SHOWN.map(
    (each, index) =>
      `<rect x="${LEFT + index * 90}" y="34" width="10" height="10" class="b${index}"/><text x="${LEFT + 15 + index * 90}" y="43">${each}</text>`,
  );
  const bars = groups.map(({ name, overheads }, index) => {
    const y = TOP + 8 + index * GROUP;
    const isOurs = name.startsWith("with-session");
    const label = `<text x="${LEFT - 10}" y="${y + GROUP / 2 - 2}" text-anchor="end"${isOurs ? ' class="ours"' : ""}>${name}</text>`;
    return label + overheads.map((overhead, at) => barOf(overhead, at, y + at * BAR)).join("");
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img" aria-label="What a session costs in process, in microseconds a request">
<style>
text { font: 12px system-ui, sans-serif; fill: #1f2328 }
.title { font-size: 15px; font-weight: 600 }
.quiet { fill: #59636e }
.ours { font-weight: 700 }
.line { stroke: #d1d9e0 }
.b0 { fill: #2f81f7 } .b1 { fill: #d29922 } .b2 { fill: #3fb950 }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .quiet { fill: #9198a1 } .line { stroke: #3d444d } }
</style>
<text x="10" y="20" class="title">What a session costs: microseconds a request, over the same without one</text>
${legend.join("\n")}
${lines.join("\n")}
${bars.join("\n")}
<text x="10" y="${height - 6}" class="quiet">In process, memory store or cookie sessions, Node ${node?.version ?? ""}; medians; logarithmic; less is better.</text>
</svg>
`;
}

function barOf(overhead: number | undefined, index: number, y: number): string {
  if (overhead === undefined) return `<text x="${LEFT + 4}" y="${y + 9}" class="quiet">–</text>`;
  const end = xOf(Math.max(overhead, FASTEST * 1.05));
  const label = `<text x="${(end + 5).toFixed(1)}" y="${y + 9}" style="font-size:10px" class="quiet">${overhead.toFixed(1)}</text>`;
  return `<rect x="${LEFT}" y="${y}" width="${(end - LEFT).toFixed(1)}" height="${BAR - 1}" class="b${index}"/>${label}`;
}

function xOf(value: number): number {
  const share = Math.log(value / FASTEST) / Math.log(SLOWEST / FASTEST);
  return Math.round((LEFT + share * (WIDTH - LEFT - RIGHT)) * 10) / 10;
}

function sum(list: readonly (number | undefined)[]): number {
  return list.reduce<number>((total, each) => total + (each ?? SLOWEST), 0);
}
