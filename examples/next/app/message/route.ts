import { sessions } from "../../lib/sessions";

export const GET = sessions.route(
  async (_request, session) => new Response(`Message: ${await session.get("message", "none")}\n`),
);
