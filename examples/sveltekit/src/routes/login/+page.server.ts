import { redirect } from "@sveltejs/kit";
import { users } from "../../users";

export const actions = {
  default: async ({ request, locals: { session } }) => {
    const user = String((await request.formData()).get("user"));
    await session.regenerate({ reauthenticated: true });
    await users.bind(session, user, { name: request.headers.get("User-Agent") ?? "A browser" });
    session.set("user", user);
    session.flash("message", `Welcome, ${user}`);
    // `redirect` throws, and SvelteKit turns it into a response before the hook stores the session.
    redirect(303, "/");
  },
};
