import type { APIEvent } from "@solidjs/start/server";
import { sessions } from "../sessions";

export async function POST({ request }: APIEvent): Promise<Response> {
  const session = sessions.start(request);
  return new Response(`Likes ${await session.update("likes", (n = 0) => n + 1)}\n`);
}
