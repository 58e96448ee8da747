import { action, query, redirect } from "@solidjs/router";
import { currentSession } from "./sessions";

/** Read while the server renders a page, or fetched by the client. */
export const user = query(async () => {
  "use server";
  return await currentSession().get("user", "nobody");
}, "user");

/** The action of a form. */
export const rename = action(async (form: FormData) => {
  "use server";
  const session = currentSession();
  await session.regenerate({ reauthenticated: true });
  session.set("user", String(form.get("user")));
  throw redirect("/page");
}, "rename");
