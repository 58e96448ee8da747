import handler, { createServerEntry } from "@tanstack/react-start/server-entry";
import { withSession } from "with-session";
import { type Data, sessions } from "./sessions";

// Whoever asks for the session of this request, as `sessions.start(request)`, gets the one that is stored here.
export default createServerEntry({ fetch: withSession<Data>((request) => handler.fetch(request), sessions) });
