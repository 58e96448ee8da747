import type { LoaderFunctionArgs } from "react-router";
import { session } from "../session.ts";

export const loader = async ({ context }: LoaderFunctionArgs) =>
  new Response(`You are ${await context.get(session).get("user", "nobody")}\n`);
