export default defineEventHandler(async (event) => {
  const { session } = event.node.req;
  return `You are ${await session.get("user", "nobody")}\n`;
});
