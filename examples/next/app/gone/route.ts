import { notFound } from "next/navigation";
import { sessions } from "../../lib/sessions";

export const GET = sessions.route(async (_request, session) => {
  await session.regenerate();
  notFound();
});
