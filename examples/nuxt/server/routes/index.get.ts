export default defineEventHandler(async (event) => {
  const { session } = event.node.req;
  const visits = await session.update("visits", (n = 0) => n + 1);
  return `Visit ${visits} of ${await session.get("user", "nobody")}\n`;
});
