import type { APIRoute } from "astro";

export const GET: APIRoute = async ({ locals }) =>
  new Response(`Message: ${await locals.visitor.get("message", "none")}\n`);
