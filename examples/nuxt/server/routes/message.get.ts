export default defineEventHandler(async (event) => {
  const { session } = event.node.req;
  return `Message: ${await session.get("message", "none")}\n`;
});
