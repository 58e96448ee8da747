import { type ActionFunctionArgs, redirect } from "react-router";
import { session } from "../session.ts";

export async function action({ request, context }: ActionFunctionArgs) {
  const user = String((await request.formData()).get("user"));
  const own = context.get(session);
  await own.regenerate({ reauthenticated: true });
  own.set("user", user);
  own.flash("message", `Welcome, ${user}`);
  // The session is stored whether the redirect is thrown or returned.
  throw redirect("/");
}
