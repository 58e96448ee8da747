/**
 * The contenders, bundled, in a process of Node, Deno or Bun. With `{ measure }` the process measures all of them and prints the costs. With `{ only
 * }` it contains one contender, and times its lanes on request: it reads a line with the lane and the number of requests, and answers with the
 * milliseconds.
 *
 * @module
 */
import { createInterface } from "node:readline";
import type { Contender } from "../contender.ts";
import { ownContenders } from "../own.ts";
import { nodePeers } from "../peers/express.ts";
import { peers } from "../peers/peers.ts";
import { costsOf, lanesOf, type Measure } from "../rounds.ts";

const { measure, only } = JSON.parse(process.argv[2] ?? "{}") as { measure?: Measure; only?: string };
const isWanted = ({ name }: Contender): boolean => only === undefined || name === only;
const lanes = await lanesOf([...ownContenders(), ...peers(), ...nodePeers()].filter(isWanted));
/** Milliseconds of processor time in all threads. Unlike the wall clock, other programs on the machine do not affect it. */
const time = async (lane: number, times: number): Promise<number> => {
  const start = process.cpuUsage();
  await lanes[lane]?.run(times);
  const { user, system } = process.cpuUsage(start);
  return (user + system) / 1000;
};

if (measure !== undefined) {
  console.log(JSON.stringify(await costsOf(lanes, time, measure)));
} else {
  const plain = lanes.map(({ contender: { name, over }, case: each, reason }) => ({
    contender: { name, over },
    case: each,
    reason,
  }));
  console.log(JSON.stringify(plain));
  for await (const line of createInterface(process.stdin)) {
    const [lane, times] = line.split(" ").map(Number);
    console.log(String(await time(lane ?? 0, times ?? 0)));
  }
}
process.exit(0);
