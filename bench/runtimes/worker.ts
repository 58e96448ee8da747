/** The contenders in workerd: each request asks for so many of one lane's, since the clock stands still within a request. */
import type { Lane } from "../rounds.ts";
import { lanesOf } from "../rounds.ts";
import { ownContenders } from "../own.ts";
import { peers } from "../peers/peers.ts";

let lanes: Lane[] | undefined;

const worker: { fetch(request: Request): Promise<Response> } = {
  async fetch(request) {
    lanes ??= await lanesOf([...ownContenders(), ...peers()]);
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
