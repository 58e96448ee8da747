import { NextResponse } from "next/server";
import { sessions } from "./lib/sessions";

export const proxy = sessions.proxy(async (request, session) => {
  const { pathname, searchParams } = new URL(request.url);
  // Whoever has not signed in is sent away before the page is rendered.
  if (pathname === "/members" && (await session.get("user")) === undefined)
    return NextResponse.redirect(new URL("/", request.url));
  // What the proxy stores, the page shows: also a session that begins here, or gets a new id.
  if (pathname === "/seen") await session.update("seen", (n = 0) => n + 1);
  if (searchParams.has("renew")) await session.regenerate();
  return NextResponse.next();
});

export const config = { matcher: ["/members", "/seen"] };
