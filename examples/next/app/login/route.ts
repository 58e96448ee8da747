import { redirect } from "next/navigation";
import { sessions } from "../../lib/sessions";

export const POST = sessions.route(async (request, session) => {
  const user = String((await request.formData()).get("user"));
  await session.regenerate({ reauthenticated: true });
  session.set("user", user);
  session.flash("message", `Welcome, ${user}`);
  // It throws, and the session is stored all the same.
  redirect("/");
});
