/** Forwards requests of other processes to the object that the path names. A PUT sets how many of them to lose. */
import { SessionObject, type SessionObjectNamespace } from "../../src/stores/durable_object.ts";

export { SessionObject };

let chance = 0;
let faults = 0;

type SessionObjectStub = ReturnType<SessionObjectNamespace["get"]>;

async function answerOf(object: SessionObjectStub, body: string): Promise<{ status: number; text: string }> {
  const response = await object.fetch("http://session/", { method: "POST", body });
  return { status: response.status, text: await response.text() };
}

export default {
  async fetch(request: Request, { SESSIONS }: { readonly SESSIONS: SessionObjectNamespace }): Promise<Response> {
    if (request.method === "PUT") {
      chance = Number(await request.text());
      const before = faults;
      faults = 0;
      return new Response(String(before));
    }
    const loses = (): boolean => {
      const isLost = Math.random() < chance / 2;
      if (isLost) faults++;
      return isLost;
    };
    const lost = new Response("Lost", { status: 502 });
    const body = await request.text();
    if (loses()) return lost;
    const object = SESSIONS.get(SESSIONS.idFromName(new URL(request.url).pathname.slice(1)));
    const { status, text } = await answerOf(object, body);
    return loses() ? lost : new Response(text, { status });
  },
};
