import type { Session } from "with-session";
import type { Data } from "./messages.ts";

/** The part of the program that answers HTTP requests. */
export async function respond(request: Request, session: Session<Data>): Promise<Response> {
  const { pathname } = new URL(request.url);
  if (request.method === "POST" && pathname === "/login") {
    await session.regenerate({ reauthenticated: true });
    session.set("user", String((await request.formData()).get("user")));
    return new Response("Signed in\n");
  }
  if (request.method === "POST" && pathname === "/logout") {
    await session.destroy();
    return new Response("Signed out\n");
  }
  if (pathname === "/likes") return new Response(`Likes ${await session.get("likes", 0)}\n`);
  return new Response("Not found\n", { status: 404 });
}
