import { createFileRoute } from "@tanstack/react-router";
import { sessions } from "../sessions";

export const Route = createFileRoute("/logout")({
  server: {
    handlers: {
      POST: async ({ request }) => {
        const session = sessions.start(request);
        await session.destroy();
        return new Response(null, { status: 303, headers: { Location: "/" } });
      },
    },
  },
});
