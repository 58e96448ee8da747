import { error, json, redirect } from "@sveltejs/kit";
import { users } from "../../users";

export const GET = async ({ locals: { session } }) => {
  const user = await session.get("user");
  if (user === undefined) error(401, "Sign in first");
  const own = await users.handle(session);
  const devices = await users.list(user);
  return json(devices.map(({ handle, metadata: { name } }) => ({ handle, name, isThisOne: handle === own })));
};

export const POST = async ({ request, locals: { session } }) => {
  const user = await session.get("user");
  if (user === undefined) error(401, "Sign in first");
  const handle = (await request.formData()).get("handle");
  if (handle === null) await users.revokeAll(user, { except: session });
  // A form can contain any handle, so the handler checks that it is one of the user's own.
  else if ((await users.list(user)).some((device) => device.handle === handle)) await users.revoke(String(handle));
  redirect(303, "/devices");
};
