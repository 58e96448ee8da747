import { handle } from "hono/aws-lambda";
import { app } from "../hono/app.ts";

// Each copy of a function keeps its own memory: give the sessions a store, such as `dynamoDbStore`, before it runs in the world.
export const handler = handle(app);
