import type { ActionFunctionArgs } from "react-router";
import { session } from "../session.ts";

export const action = async ({ context }: ActionFunctionArgs) =>
  new Response(`Likes ${await context.get(session).update("likes", (n = 0) => n + 1)}\n`);
