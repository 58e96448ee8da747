/**
 * "Remember me": a user who ticks the box stays signed in for weeks. For other users, the browser deletes the cookie
 * when it closes, and the session ends after an hour without a request.
 *
 * @module
 */
import { withSession } from "with-session";

const HOUR = 3600;
const DAY = 24 * HOUR;

const fetch = withSession<{ user?: string }>(
  async (request, session) => {
    if (request.method === "GET") {
      const { expiresAt } = await session.info();
      return Response.json({ user: await session.get("user", null), expiresAt });
    }
    const form = await request.formData();
    await session.regenerate({ reauthenticated: true });
    session.set("user", String(form.get("user")));
    session.setTimeouts(
      form.has("remember")
        ? { idle: 30 * DAY, absolute: 365 * DAY, cookie: 30 * DAY }
        : { idle: HOUR, absolute: DAY, cookie: null },
    );
    return new Response(null, { status: 303, headers: { Location: "/" } });
  },
  { idleTimeout: HOUR, absoluteTimeout: DAY, cookie: { maxAge: null } },
);

export default { fetch };
