export const load = async ({ locals: { session } }) => ({
  visits: await session.update("visits", (n = 0) => n + 1),
  user: await session.get("user", "nobody"),
});
