import { type ActionFunctionArgs, redirect } from "react-router";
import { session } from "../session.ts";

export async function action({ request, context }: ActionFunctionArgs) {
  const user = String((await request.formData()).get("user"));
  const own = context.get(session);
  await own.regenerate({ reauthenticated: true });
  own.set("user", user);
  own.flash("message", `Welcome, ${user}`);
  // Thrown or returned, the session is stored.
  throw redirect("/");
}
