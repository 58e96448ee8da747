import { serve } from "@hono/node-server";
import { os, type RouterClient } from "@orpc/server";
import { RPCHandler } from "@orpc/server/fetch";
import { type Session, withSession } from "with-session";

interface Data {
  visits?: number;
  user?: string;
}

const base = os.$context<{ session: Session<Data> }>();

const router = {
  me: base.handler(async ({ context: { session } }) => await session.get("user", "nobody")),
  visit: base.handler(async ({ context: { session } }) => await session.update("visits", (n = 0) => n + 1)),
  login: base.handler(async ({ context: { session }, input }) => {
    await session.regenerate({ reauthenticated: true });
    session.set("user", String(input));
  }),
  logout: base.handler(async ({ context: { session } }) => await session.destroy()),
};

export type Router = RouterClient<typeof router>;

const handler = new RPCHandler(router);
const fetch = withSession<Data>(async (request, session) => {
  const { response } = await handler.handle(request, { prefix: "/rpc", context: { session } });
  return response ?? new Response("Not found\n", { status: 404 });
});
serve({ fetch, port: Number(process.env["PORT"] ?? 3000) });
