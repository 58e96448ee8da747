import handler, { createServerEntry } from "@tanstack/react-start/server-entry";
import { withSession } from "with-session";
import { type Data, sessions } from "./sessions";

// `sessions.start(request)` in a route gives this same session, which is stored here.
export default createServerEntry({ fetch: withSession<Data>((request) => handler.fetch(request), sessions) });
