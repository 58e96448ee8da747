import { sessions } from "../../lib/sessions";

export const POST = sessions.route(
  async (_request, session) => new Response(`Likes ${await session.update("likes", (n = 0) => n + 1)}\n`),
);
