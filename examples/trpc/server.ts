import { serve } from "@hono/node-server";
import { initTRPC } from "@trpc/server";
import { fetchRequestHandler } from "@trpc/server/adapters/fetch";
import { type Session, withSession } from "with-session";

interface Data {
  visits?: number;
  user?: string;
}

const t = initTRPC.context<{ session: Session<Data> }>().create();

const router = t.router({
  me: t.procedure.query(async ({ ctx: { session } }) => await session.get("user", "nobody")),
  visit: t.procedure.mutation(async ({ ctx: { session } }) => await session.update("visits", (n = 0) => n + 1)),
  visits: t.procedure.query(async ({ ctx: { session } }) => await session.get("visits", 0)),
  login: t.procedure.input(String).mutation(async ({ ctx: { session }, input }) => {
    await session.regenerate({ reauthenticated: true });
    session.set("user", input);
  }),
  logout: t.procedure.mutation(async ({ ctx: { session } }) => await session.destroy()),
});

export type AppRouter = typeof router;

const fetch = withSession<Data>(async (request, session) => {
  // A streamed response has sent its headers before the procedures end, so a stream can change a session, but not begin one. Therefore the session
  // begins here.
  if (request.headers.get("trpc-accept") === "application/jsonl") await session.create();
  return await fetchRequestHandler({ endpoint: "/trpc", req: request, router, createContext: () => ({ session }) });
});
serve({ fetch, port: Number(process.env["PORT"] ?? 3000) });
