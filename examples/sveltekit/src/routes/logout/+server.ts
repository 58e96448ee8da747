import { redirect } from "@sveltejs/kit";

export const POST = async ({ locals: { session } }) => {
  await session.destroy();
  redirect(303, "/");
};
