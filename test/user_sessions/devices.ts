import { SessionManager, type Session, type SessionOptions, type StoredRecord, type UntypedData } from "../../mod.ts";
import { type UserSessions, userSessions, type UserSessionsOptions } from "../../src/user_sessions.ts";
import { PATIENCE, type Visitor, visitor } from "../setup/sessions.ts";

export const ADA = "user-1815";

export interface Devices {
  readonly users: UserSessions;
  readonly sessions: SessionManager<UntypedData>;
  /** A browser without a session. */
  readonly browser: () => Visitor<UntypedData>;
  /** A browser in which a user has logged in. */
  readonly logIn: (metadata?: unknown, user?: string) => Promise<Visitor<UntypedData>>;
}

/** Browsers of users, and the manager that they share. */
export function devices(options: SessionOptions<UntypedData> = {}, about: UserSessionsOptions = {}): Devices {
  const users = userSessions(about);
  const sessions = new SessionManager<UntypedData>({
    storeTimeout: PATIENCE,
    ...options,
    plugins: [...(options.plugins ?? []), users],
  });
  const browser = (): Visitor<UntypedData> => visitor(sessions);
  return {
    users,
    sessions,
    browser,
    async logIn(metadata, user = ADA) {
      const visit = browser();
      await visit((session) => logInOn(users, session, metadata, user));
      return visit;
    },
  };
}

/** The calls of a handler when a user has logged in. */
export async function logInOn(
  users: UserSessions,
  session: Session<UntypedData>,
  metadata?: unknown,
  user = ADA,
): Promise<void> {
  await session.regenerate();
  session.set("user", user);
  await users.bind(session, user, metadata);
}

/** The user that a browser's session belongs to. */
export async function userOn(visit: Visitor<UntypedData>): Promise<unknown> {
  return (await visit((session) => session.get("user"))).result;
}

/** The handle of a browser's session. */
export async function handleOn(users: UserSessions, visit: Visitor<UntypedData>): Promise<string> {
  return (await visit(async (session) => (await users.handle(session)) ?? "none")).result;
}

/** Whether a record is a page of a list. */
export function isPage({ fields }: Pick<StoredRecord, "fields">): boolean {
  return fields.get("@")?.startsWith("list ") === true;
}

/** The number of entries of each page. */
export function entriesOf(records: ReadonlyMap<string, StoredRecord>): number[] {
  return [...records.values()].filter(isPage).map(({ fields }) => fields.size - 1);
}

/** Removes all pages, like an engine that evicts records. */
export function losePages(records: Map<string, StoredRecord>): number {
  const pages = [...records].filter(([, record]) => isPage(record));
  for (const [key] of pages) records.delete(key);
  return pages.length;
}
