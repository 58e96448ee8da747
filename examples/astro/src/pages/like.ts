import type { APIRoute } from "astro";

export const POST: APIRoute = async ({ locals }) =>
  new Response(`Likes ${await locals.visitor.update("likes", (n = 0) => n + 1)}\n`);
