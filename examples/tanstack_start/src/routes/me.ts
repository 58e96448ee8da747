import { createFileRoute } from "@tanstack/react-router";
import { sessions } from "../sessions";

export const Route = createFileRoute("/me")({
  server: {
    handlers: {
      GET: async ({ request }) => {
        const session = sessions.start(request);
        return new Response(`You are ${await session.get("user", "nobody")}\n`);
      },
    },
  },
});
