import { sessions } from "../../lib/sessions";

export const GET = sessions.route(
  async (_request, session) => new Response(`You are ${await session.get("user", "nobody")}\n`),
);
