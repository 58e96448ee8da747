import { userSessions } from "with-session/user-sessions";

/** Lists the sessions of a user, for the page "Your devices". */
export const users = userSessions<{ name: string }>();
