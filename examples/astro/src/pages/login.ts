import type { APIRoute } from "astro";

export const POST: APIRoute = async ({ locals: { visitor }, request, redirect }) => {
  const user = String((await request.formData()).get("user"));
  await visitor.regenerate({ reauthenticated: true });
  visitor.set("user", user);
  visitor.flash("message", `Welcome, ${user}`);
  return redirect("/", 303);
};
