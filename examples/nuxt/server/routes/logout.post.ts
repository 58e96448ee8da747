export default defineEventHandler(async (event) => {
  const { session } = event.node.req;
  await session.destroy();
  return await sendRedirect(event, "/", 303);
});
