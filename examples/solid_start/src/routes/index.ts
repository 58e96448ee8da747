import type { APIEvent } from "@solidjs/start/server";
import { sessions } from "../sessions";

export async function GET({ request }: APIEvent): Promise<Response> {
  const session = sessions.start(request);
  const visits = await session.update("visits", (n = 0) => n + 1);
  return new Response(`Visit ${visits} of ${await session.get("user", "nobody")}\n`);
}
