import { createFileRoute } from "@tanstack/react-router";
import { sessions } from "../sessions";

export const Route = createFileRoute("/like")({
  server: {
    handlers: {
      POST: async ({ request }) => {
        const session = sessions.start(request);
        return new Response(`Likes ${await session.update("likes", (n = 0) => n + 1)}\n`);
      },
    },
  },
});
