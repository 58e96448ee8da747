import { redirect } from "next/navigation";
import { sessions } from "../../lib/sessions";

export const POST = sessions.route(async (_request, session) => {
  await session.destroy();
  redirect("/");
});
