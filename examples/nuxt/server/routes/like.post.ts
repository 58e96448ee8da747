export default defineEventHandler(async (event) => {
  const { session } = event.node.req;
  return `Likes ${await session.update("likes", (n = 0) => n + 1)}\n`;
});
