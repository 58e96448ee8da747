import type { APIEvent } from "@solidjs/start/server";
import { sessions } from "../sessions";

export async function POST({ request }: APIEvent): Promise<Response> {
  const session = sessions.start(request);
  await session.destroy();
  return new Response(null, { status: 303, headers: { Location: "/" } });
}
