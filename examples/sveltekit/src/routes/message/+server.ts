import { text } from "@sveltejs/kit";

export const GET = async ({ locals: { session } }) => text(`Message: ${await session.get("message", "none")}\n`);
