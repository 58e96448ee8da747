import { createFileRoute } from "@tanstack/react-router";
import { sessions } from "../sessions";

export const Route = createFileRoute("/message")({
  server: {
    handlers: {
      GET: async ({ request }) => {
        const session = sessions.start(request);
        return new Response(`Message: ${await session.get("message", "none")}\n`);
      },
    },
  },
});
