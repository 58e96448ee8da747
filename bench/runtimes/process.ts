/** The contenders in a process of Node, Deno or Bun: bundled, run there, and the costs on its output. */
import { lanesOf, costsOf } from "../rounds.ts";
import { ownContenders } from "../own.ts";
import { nodePeers } from "../peers/express.ts";
import { peers } from "../peers/peers.ts";

const { rounds } = JSON.parse(process.argv[2] ?? "{}") as { rounds: number };
const lanes = await lanesOf([...ownContenders(), ...peers(), ...nodePeers()]);
const time = async (lane: number, times: number): Promise<number> => {
  const start = performance.now();
  await lanes[lane]?.run(times);
  return performance.now() - start;
};
console.log(JSON.stringify(await costsOf(lanes, time, { rounds, share: 3, most: 1000 })));
process.exit(0);
