import type { LoaderFunctionArgs } from "react-router";
import { session } from "../session.ts";

export const loader = async ({ context }: LoaderFunctionArgs) =>
  new Response(`Message: ${await context.get(session).get("message", "none")}\n`);
