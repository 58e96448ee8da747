import { NextResponse } from "next/server";
import { sessions } from "./lib/sessions";

// Whoever has not signed in is sent away before the page is rendered.
export const proxy = sessions.proxy(async (request, session) => {
  if ((await session.get("user")) === undefined) return NextResponse.redirect(new URL("/", request.url));
  return NextResponse.next();
});

export const config = { matcher: "/members" };
