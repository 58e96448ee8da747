import { redirect } from "next/navigation";
import { sessions, users } from "../../lib/sessions";

export const POST = sessions.route(async (request, session) => {
  const user = String((await request.formData()).get("user"));
  await session.regenerate({ reauthenticated: true });
  await users.bind(session, user, { name: request.headers.get("User-Agent") ?? "A browser" });
  session.set("user", user);
  session.flash("message", `Welcome, ${user}`);
  // `redirect` throws. The session is stored nevertheless.
  redirect("/");
});
