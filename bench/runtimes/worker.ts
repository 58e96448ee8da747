/**
 * The contenders in workerd. Each HTTP request asks for a number of requests of one lane, and the caller measures, because
 * workerd's clock stands still within a request.
 */
import type { Contender } from "../contender.ts";
import type { Lane } from "../rounds.ts";
import { lanesOf } from "../rounds.ts";
import { ownContenders } from "../own.ts";
import { peers } from "../peers/peers.ts";

let lanes: Lane[] | undefined;

const worker: { fetch(request: Request, env: { readonly ONLY?: string }): Promise<Response> } = {
  async fetch(request, { ONLY }) {
    const isWanted = ({ name }: Contender): boolean => ONLY === undefined || name === ONLY;
    lanes ??= await lanesOf([...ownContenders(), ...peers()].filter(isWanted));
    const { searchParams } = new URL(request.url);
    const lane = searchParams.get("lane");
    if (lane !== null) {
      await lanes[Number(lane)]?.run(Number(searchParams.get("times")));
      return new Response();
    }
    const plain = lanes.map(({ contender: { name, over }, case: each, reason }) => ({
      contender: { name, over },
      case: each,
      reason,
    }));
    return Response.json(plain);
  },
};
export default worker;
