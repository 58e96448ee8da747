import { SessionManager } from "with-session";

interface Data {
  visits?: number;
  likes?: number;
  user?: string;
  message?: string;
}

export const sessions = new SessionManager<Data>();
