import { NextResponse } from "next/server";
import { sessions } from "./lib/sessions";

export const proxy = sessions.proxy(async (request, session) => {
  const { pathname, searchParams } = new URL(request.url);
  // A visitor who has not signed in is redirected before the page is rendered.
  if (pathname === "/members" && (await session.get("user")) === undefined)
    return NextResponse.redirect(new URL("/", request.url));
  // The page sees what the proxy stores, even if the session begins here or gets a new id.
  if (pathname === "/seen") await session.update("seen", (n = 0) => n + 1);
  if (searchParams.has("renew")) await session.regenerate();
  return NextResponse.next();
});

export const config = { matcher: ["/members", "/seen"] };
