import { sessions, users } from "../../lib/sessions";

export const GET = sessions.route(async (_request, session) => {
  const user = await session.get("user");
  if (user === undefined) return new Response("Sign in first\n", { status: 401 });
  const own = await users.handle(session);
  const devices = await users.list(user);
  return Response.json(devices.map(({ handle, metadata: { name } }) => ({ handle, name, isThisOne: handle === own })));
});

export const POST = sessions.route(async (request, session) => {
  const user = await session.get("user");
  if (user === undefined) return new Response("Sign in first\n", { status: 401 });
  const handle = (await request.formData()).get("handle");
  if (handle === null) await users.revokeAll(user, { except: session });
  // A form can contain any handle, so the handler checks that it is one of the user's own.
  else if ((await users.list(user)).some((device) => device.handle === handle)) await users.revoke(String(handle));
  return new Response(null, { status: 303, headers: { Location: "/devices" } });
});
