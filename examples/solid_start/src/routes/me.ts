import type { APIEvent } from "@solidjs/start/server";
import { sessions } from "../sessions";

export async function GET({ request }: APIEvent): Promise<Response> {
  const session = sessions.start(request);
  return new Response(`You are ${await session.get("user", "nobody")}\n`);
}
