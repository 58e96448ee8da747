import { sessions } from "../lib/sessions";

export const GET = sessions.route(async (_request, session) => {
  const visits = await session.update("visits", (n = 0) => n + 1);
  return new Response(`Visit ${visits} of ${await session.get("user", "nobody")}\n`);
});
