export default defineEventHandler(async (event) => {
  const { session } = event.node.req;
  const { user } = await readBody<{ user: string }>(event);
  await session.regenerate({ reauthenticated: true });
  session.set("user", user);
  session.flash("message", `Welcome, ${user}`);
  return await sendRedirect(event, "/", 303);
});
