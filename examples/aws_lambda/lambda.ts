import { handle } from "hono/aws-lambda";
import { app } from "../hono/app.ts";

// Each copy of a function has its own memory. In production, give the sessions a shared store such as `dynamoDbStore`.
export const handler = handle(app);
