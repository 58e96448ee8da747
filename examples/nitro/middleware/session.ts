import { defineMiddleware } from "nitro/h3";
import { sessions } from "../utils/sessions.ts";

export default defineMiddleware(async (event, next) => {
  const session = sessions.start(event.req);
  try {
    const body = await next();
    for (const [name, value] of await sessions.commit(session)) event.res.headers.append(name, value);
    return body;
  } catch (error) {
    await sessions.discard(session);
    throw error;
  }
});
