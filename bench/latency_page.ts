import type { Session } from "../mod.ts";

/** The data of the measured sessions: about as much as a signed-in user with a basket has. */
export interface LatencyData {
  readonly user: string;
  readonly basket: readonly string[];
  readonly n: number;
}

/** A bare value about as large as a session. Each one differs, because MariaDB stores an equal one again without writing to its log. */
export function bareText(): string {
  return JSON.stringify({ user: "user-1815", basket: ["apple", "pear", "plum"], n: Math.random() });
}

/** `…/read` reads one value, `…/write` sets another one, and `…/first` begins a session. */
export async function answerPage(request: Request, session: Session<LatencyData>): Promise<Response> {
  const { pathname } = new URL(request.url);
  if (pathname.endsWith("/first")) session.set({ user: "user-1815", basket: ["apple", "pear", "plum"], n: 1 });
  else if (pathname.endsWith("/write")) session.set("n", Math.random());
  else if ((await session.get("user")) !== "user-1815") return new Response("There is no session", { status: 500 });
  return new Response("done");
}
