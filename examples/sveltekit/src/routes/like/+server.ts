import { text } from "@sveltejs/kit";

export const POST = async ({ locals: { session } }) =>
  text(`Likes ${await session.update("likes", (n = 0) => n + 1)}\n`);
