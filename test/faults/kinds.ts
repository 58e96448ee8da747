import type { Kind } from "./scene.ts";

type Handle = Kind["handle"];

const count: Handle = (session) => session.update("n", (n = 0) => n + 1);
const read: Handle = (session) => session.get("n");
const begin: Handle = async (session) => {
  session.set({ n: 1, name: "ada" });
};
const create: Handle = async (session) => {
  await session.create();
};
const set: Handle = async (session) => {
  session.set("color", "red");
};
const renew: Handle = async (session) => {
  await session.regenerate({ reauthenticated: true });
  session.set("color", "red");
};
const logIn: Handle = async (session, users) => {
  await renew(session, users);
  await users.bind(session, "the user");
};
const renewWithGrace: Handle = (session) => session.regenerate({ grace: 3600 });
const end: Handle = (session) => session.destroy();
const revoke: Handle = async (session, users) => {
  await users.revokeAll("the user", { except: session });
};

/** A handler that ignores a failure of `save()`, so that the end of the request stores the remaining changes. */
function caught(handle: Handle): Handle {
  return async (session, users) => {
    const seen = await handle(session, users);
    await session.save().catch(() => {});
    return seen;
  };
}

/** The kinds of request in these tests, by name. */
export const kinds: Readonly<Record<string, Kind>> = {
  "reading": { does: "read", handle: read },
  "reading when a touch is due": { does: "read", later: 20_000, handle: read },
  "setting": { does: "set", handle: set },
  "setting, a failed save() being caught": { does: "set", handle: caught(set) },
  "updating": { does: "count", handle: count },
  "leaving a flash value": {
    does: "flash",
    handle: async (session) => {
      session.flash("note", "news");
    },
  },
  "reading a flash value": { does: "consume", handle: (session) => session.get("note") },
  "touching": {
    does: "touch",
    handle: async (session) => {
      session.touch();
    },
  },
  "beginning with create()": { does: "begin", isNew: true, handle: create },
  "beginning with set()": { does: "begin", isNew: true, handle: begin },
  "beginning, a failed save() being caught": { does: "begin", isNew: true, handle: caught(begin) },
  "regenerating": { does: "regenerate", handle: renew },
  "regenerating, a failed save() being caught": { does: "regenerate", handle: caught(renew) },
  "regenerating with a grace": { does: "keep", handle: renewWithGrace },
  "regenerating a bound session with a grace": { does: "keep", isBound: true, handle: renewWithGrace },
  "destroying": { does: "destroy", handle: end },
  "destroying, a failed save() being caught": { does: "destroy", handle: caught(end) },
  "destroying a bound session": { does: "destroy", isBound: true, handle: end },
  "binding to a user": {
    does: "bind",
    isBound: true,
    handle: (session, users) => users.bind(session, "the user"),
  },
  "logging in": { does: "regenerate", isBound: true, handle: logIn },
  "revoking all other sessions of the user": { does: "revoke", isBound: true, handle: revoke },
};
