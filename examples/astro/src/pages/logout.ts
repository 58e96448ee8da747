import type { APIRoute } from "astro";

export const POST: APIRoute = async ({ locals: { visitor }, redirect }) => {
  await visitor.destroy();
  return redirect("/", 303);
};
