import { createFileRoute } from "@tanstack/react-router";
import { sessions } from "../sessions";

export const Route = createFileRoute("/login")({
  server: {
    handlers: {
      POST: async ({ request }) => {
        const session = sessions.start(request);
        const user = String((await request.formData()).get("user"));
        await session.regenerate({ reauthenticated: true });
        session.set("user", user);
        session.flash("message", `Welcome, ${user}`);
        return new Response(null, { status: 303, headers: { Location: "/" } });
      },
    },
  },
});
