import { type NextSession, nextSession } from "with-session/next";

export interface Data {
  visits?: number;
  likes?: number;
  user?: string;
  message?: string;
}

export const sessions: NextSession<Data> = nextSession<Data>();
