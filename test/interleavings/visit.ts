import { type Session, SessionError, type SessionEvent, type SessionManager, withSession } from "../../mod.ts";
import { SHOP } from "../setup/sessions.ts";
import { callsOf, type Effect, ON_PURPOSE, type ProgramName, type Visitor } from "./programs.ts";

/** A cookie that every handler sets itself. */
export const HANDLERS_COOKIE = "other=1";

/** An effect of a request, and what became of it. */
export interface Wanted {
  readonly effect: Effect;
  /** Whether it is for the session that the request began after ending another. */
  readonly isAfterEnd: boolean;
  isStored: boolean;
  /** Whether it was stored under a new id, which is taken back if no response tells it. */
  isUnderNewId: boolean;
}

/** What one request came to. */
export interface Visited {
  readonly program: ProgramName;
  readonly name: string;
  readonly events: SessionEvent["type"][];
  /** Why what it presented was not its session. */
  reason: string | undefined;
  readonly wanted: Wanted[];
  /** What `save()` did, each time. */
  readonly saves: ("stored" | SessionError["code"])[];
  /** How many renewals of the id it had asked for when each was stored. */
  readonly renewals: number[];
  hasSavedBeforeEnd: boolean;
  /** Whether a call said that another request has ended the session. */
  isToldGone: boolean;
  /** Whether a write of its was sent twice: it may have been done although the request hears that it was not. */
  isRepeated: boolean;
  /** What the client got, unless the request failed. */
  response: Response | undefined;
  error: unknown;
}

/** Begins to note what a request comes to, for `onEvent` to find it. */
export function expectVisit(program: ProgramName, name: string): Visited {
  return {
    program,
    name,
    events: [],
    reason: undefined,
    wanted: [],
    saves: [],
    renewals: [],
    hasSavedBeforeEnd: false,
    isToldGone: false,
    isRepeated: false,
    response: undefined,
    error: undefined,
  };
}

/** Notes an event of a request. */
export function hear(visited: Visited, event: SessionEvent): void {
  visited.events.push(event.type);
  if (event.type === "rejected") visited.reason = event.reason;
}

/** Sends one request, whose handler makes the calls of a program. */
export async function visit(request: Request, visited: Visited, sessions: SessionManager): Promise<void> {
  const visitor: Visitor = { name: visited.name };
  let asked = 0;
  let hasEnded = false;
  let isStored = false;

  const store = (wanted: readonly Wanted[]): void => {
    const isRenewed = visited.events.includes("regenerated");
    for (const each of wanted) {
      each.isUnderNewId ||= isRenewed && !each.isStored;
      each.isStored = true;
    }
    // In the order in which they were stored.
    visited.wanted.sort((left, right) => Number(right.isStored) - Number(left.isStored));
    if (visited.events.filter((type) => type === "regenerated").length > visited.renewals.length)
      visited.renewals.push(asked);
  };
  const run = async (session: Session): Promise<void> => {
    for (const { act, effect, does } of callsOf(visited.program)) {
      if (does === "rotate" || does === "rotate with grace") asked++;
      const wish: Wanted | undefined = effect && {
        effect: (contents) => effect(contents, visitor),
        isAfterEnd: hasEnded,
        isStored: false,
        isUnderNewId: false,
      };
      if (does === "commit" && wish !== undefined) visited.wanted.push(wish);
      if (does === "save") {
        try {
          await act(session, visitor);
        } catch (error) {
          if (!(error instanceof SessionError)) throw error;
          visited.saves.push(error.code);
          continue;
        }
        visited.saves.push("stored");
        isStored = true;
        store(visited.wanted);
        continue;
      }
      await act(session, visitor);
      if (does === "commit" && wish !== undefined) {
        // Beside a new id everything is stored, otherwise this alone; in a session that begins, nothing yet.
        const isRenewing = asked > visited.renewals.length && visited.events.includes("regenerated");
        if (isRenewing) store(visited.wanted);
        else if (visited.events.includes("loaded") && !hasEnded) store([wish]);
        continue;
      }
      if (does === "end") {
        visited.hasSavedBeforeEnd = isStored;
        hasEnded = true;
        const kept = visited.wanted.filter((each) => each.isStored);
        visited.wanted.splice(0, Infinity, ...kept);
      }
      if (wish !== undefined) visited.wanted.push(wish);
    }
  };
  const handle = withSession(async (_request, session) => {
    try {
      await run(session);
    } catch (error) {
      // Another request has ended the session: there is nothing more to do.
      if (!(error instanceof SessionError && error.code === "ERR_SESSION_GONE")) throw error;
      visited.isToldGone = true;
    }
    return new Response("done", { status: 202, headers: { "Set-Cookie": HANDLERS_COOKIE } });
  }, sessions);
  try {
    visited.response = await handle(request);
    if (!visited.events.includes("gone") && !visited.isToldGone) store(visited.wanted);
  } catch (thrown) {
    visited.error = thrown;
  }
}

/** A request that presents an id. */
export function requestWith(id: string): Request {
  return new Request(SHOP, { headers: { Cookie: `__Host-session=${id}` } });
}

/** Whether a handler has failed on purpose. */
export function failsOnPurpose({ error }: Visited): boolean {
  return error instanceof Error && error.message === ON_PURPOSE;
}
