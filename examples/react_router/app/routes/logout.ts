import { type ActionFunctionArgs, redirect } from "react-router";
import { session } from "../session.ts";

export async function action({ context }: ActionFunctionArgs) {
  await context.get(session).destroy();
  return redirect("/");
}
