import type { APIEvent } from "@solidjs/start/server";
import { sessions } from "../sessions";

export async function POST({ request }: APIEvent): Promise<Response> {
  const session = sessions.start(request);
  const user = String((await request.formData()).get("user"));
  await session.regenerate({ reauthenticated: true });
  session.set("user", user);
  session.flash("message", `Welcome, ${user}`);
  return new Response(null, { status: 303, headers: { Location: "/" } });
}
