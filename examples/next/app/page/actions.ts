"use server";

import { notFound, redirect } from "next/navigation";
import { sessions } from "../../lib/sessions";

export const login = sessions.action(async (session, form: FormData) => {
  const user = String(form.get("user"));
  await session.regenerate({ reauthenticated: true });
  session.set("user", user);
  session.flash("message", `Welcome, ${user}`);
  redirect("/page");
});

export const logout = sessions.action(async (session) => {
  await session.destroy();
  redirect("/page");
});

export const like = sessions.action(async (session) => {
  await session.update("likes", (n = 0) => n + 1);
});

export const leave = sessions.action(async (session) => {
  session.set("user", "somebody who left");
  notFound();
});

export const fail = sessions.action(async (session) => {
  session.set("user", "Eve");
  throw new Error("failed");
});
