import { redirect } from "@sveltejs/kit";

export const actions = {
  default: async ({ request, locals: { session } }) => {
    const user = String((await request.formData()).get("user"));
    await session.regenerate({ reauthenticated: true });
    session.set("user", user);
    session.flash("message", `Welcome, ${user}`);
    // SvelteKit throws it, and answers it before the hook stores the session.
    redirect(303, "/");
  },
};
