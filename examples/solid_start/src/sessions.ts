import { getRequestEvent } from "solid-js/web";
import { type Session, SessionManager } from "with-session";

export interface Data {
  visits?: number;
  likes?: number;
  user?: string;
  message?: string;
}

export const sessions = new SessionManager<Data>();

/** The session of the request that is being answered, for server functions. */
export function currentSession(): Session<Data> {
  const event = getRequestEvent();
  if (event === undefined) throw new Error("There is no request");
  // Not `event.request`: that is another one while Solid loads the data of the page to which an action redirects.
  return sessions.start(event.nativeEvent.req);
}
