import { text } from "@sveltejs/kit";

export const GET = async ({ locals: { session } }) => text(`You are ${await session.get("user", "nobody")}\n`);
