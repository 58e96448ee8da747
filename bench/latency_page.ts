import type { Session } from "../mod.ts";

/** What the measured sessions hold: about as much as a signed-in user with a basket. */
export interface LatencyData {
  readonly user: string;
  readonly basket: readonly string[];
  readonly n: number;
}

/** A bare value of about the size of a session. */
export const BARE_TEXT: string = JSON.stringify({ user: "user-1815", basket: ["apple", "pear", "plum"], n: 1 });

/** `…/read` reads one value, `…/write` sets another one, `…/first` begins a session. */
export async function answerPage(request: Request, session: Session<LatencyData>): Promise<Response> {
  const { pathname } = new URL(request.url);
  if (pathname.endsWith("/first")) session.set({ user: "user-1815", basket: ["apple", "pear", "plum"], n: 1 });
  else if (pathname.endsWith("/write")) session.set("n", Math.random());
  else if ((await session.get("user")) !== "user-1815") return new Response("There is no session", { status: 500 });
  return new Response("done");
}
