import { type Session, SessionManager, withSession } from "with-session";
import type { SessionEnv } from "with-session/hono";

interface ProjectData {
  user: { name: string };
  visits: number;
}

declare module "with-session" {
  interface Register {
    data: ProjectData;
  }
}

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
declare function same<A, B>(proof: Same<A, B>): void;

/** Declared once for a project, so that every session has these data. */
withSession(async (_request, session) => {
  const user = await session.get("user");
  same<typeof user, { name: string } | undefined>(true);
  // @ts-expect-error there is no such key
  session.set("usr", "ada");
  // @ts-expect-error visits are a number
  session.set("visits", "1");
  return new Response(user?.name);
});

export async function visits(session: Session): Promise<number | undefined> {
  return await session.get("visits");
}

export async function visitsOfHono(session: SessionEnv["Variables"]["session"]): Promise<number | undefined> {
  return await session.get("visits");
}

export const opened: Promise<{ name: string } | undefined> = new SessionManager().open("id").get("user");
