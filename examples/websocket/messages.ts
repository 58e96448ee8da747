import { SessionError, type SessionManager } from "with-session";

export interface Data {
  likes?: number;
  user?: string;
}

/** Answers a message on a connection that was opened with the session of this id. Returns undefined if that session has ended. */
export async function answer(sessions: SessionManager<Data>, id: string, message: string): Promise<string | undefined> {
  // A message has no request, so the session is opened by its id, again for each message.
  const session = sessions.open(id);
  try {
    if ((await session.id()) === null) return undefined;
    if (message === "like") return `Likes ${await session.update("likes", (n = 0) => n + 1)}`;
    return `You are ${await session.get("user", "nobody")}`;
  } catch (error) {
    // Nobody awaits the listener of a message, so an error that it does not catch ends the process.
    if (error instanceof SessionError && error.code === "ERR_SESSION_GONE") return undefined;
    console.error(error);
    return "Please try again";
  }
}

/** The close code for a visitor who has signed out. Codes from 4000 to 4999 are for programs (RFC 6455, 7.4.2). */
export const SIGNED_OUT = 4401;
