/**
 * A session without a request: the worker of a queue changes the session of the visitor who ordered the work. A
 * WebSocket does the same: it takes the id when the connection is upgraded, and opens the session for each message.
 *
 * @module
 */
import { SessionError, SessionManager, withSession } from "with-session";

interface Data {
  reports?: string[];
}

/** An order for the worker. The id in it is as secret as a password. */
export interface Order {
  readonly sessionId: string;
  readonly report: string;
}

export const queue: Order[] = [];
const sessions = new SessionManager<Data>();

const fetch = withSession(async (request, session) => {
  if (request.method === "GET") return Response.json(await session.get("reports", []));
  // Null only if the store is down and `onStoreError` is `"anonymous"`.
  const sessionId = await session.create();
  if (sessionId === null) return new Response("Please try again later\n", { status: 503 });
  queue.push({ sessionId, report: `Report ${queue.length + 1}` });
  return new Response("We are at it\n", { status: 202 });
}, sessions);

/** Does the work. Returns whether the visitor still has the session that gave the order. */
export async function work({ sessionId, report }: Order): Promise<boolean> {
  const session = sessions.open(sessionId);
  if ((await session.id()) === null) return false;
  await session.update("reports", (reports = []) => [...reports, report]);
  try {
    await session.save();
    return true;
  } catch (error) {
    // The visitor signed out during the work. The change is dropped, and the session does not come back.
    if (error instanceof SessionError && error.code === "ERR_SESSION_GONE") return false;
    throw error;
  }
}

export default { fetch };
