import type { Handle, RequestEvent } from "@sveltejs/kit";
import { withSession } from "with-session";
import type { Data } from "./data";
import { users } from "./users";

type Resolve = Parameters<Handle>[0]["resolve"];

const sessions = withSession<Data, [RequestEvent, Resolve]>(
  async (_request, session, event, resolve) => {
    event.locals.session = session;
    return await resolve(event);
  },
  { plugins: [users] },
);

export const handle: Handle = ({ event, resolve }) => sessions(event.request, event, resolve);
