import { type NextSession, nextSession } from "with-session/next";
import { userSessions } from "with-session/user-sessions";

export interface Data {
  visits?: number;
  likes?: number;
  seen?: number;
  user?: string;
  message?: string;
}

/** Lists the sessions of a user, for the page "Your devices". */
export const users = userSessions<{ name: string }>();
export const sessions: NextSession<Data> = nextSession<Data>({ plugins: [users] });
