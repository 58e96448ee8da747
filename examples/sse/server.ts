import { setTimeout as sleep } from "node:timers/promises";
import { serve } from "@hono/node-server";
import { withSession } from "with-session";

interface Data {
  events?: number;
}

const fetch = withSession<Data>(async (request, session) => {
  const { pathname } = new URL(request.url);
  if (pathname === "/count") return new Response(String(await session.get("events", 0)));
  if (pathname !== "/events") return new Response("Not found\n", { status: 404 });
  // The cookie is sent with the headers, before the first event. So the session must begin before the stream does.
  await session.create();
  const body = new ReadableStream<string>({
    async start(controller) {
      for (let at = 0; at < 5; at++) {
        // `update` commits at once, so the event shows a stored value.
        controller.enqueue(`data: ${await session.update("events", (n = 0) => n + 1)}\n\n`);
        await sleep(10);
      }
      controller.close();
    },
  });
  return new Response(body.pipeThrough(new TextEncoderStream()), { headers: { "Content-Type": "text/event-stream" } });
});
serve({ fetch, port: Number(process.env["PORT"] ?? 3000) });
