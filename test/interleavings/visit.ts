import { type Session, SessionError, type SessionEvent, type SessionManager, withSession } from "../../mod.ts";
import { SHOP } from "../setup/sessions.ts";
import { callsOf, type Effect, ON_PURPOSE, type ProgramName, type Visitor } from "./programs.ts";

/** A cookie that every handler sets itself. */
export const HANDLERS_COOKIE = "other=1";

/** An effect that a request should have, and whether it was stored. */
export interface Wanted {
  readonly effect: Effect;
  /** Whether the call was made after the request had ended its session. */
  readonly isAfterEnd: boolean;
  isStored: boolean;
  /** Whether it was stored under a new id. The library takes that id back if no response carries it. */
  isUnderNewId: boolean;
}

/** The result of one request. */
export interface Visited {
  readonly program: ProgramName;
  readonly name: string;
  readonly events: SessionEvent["type"][];
  /** Why the presented id was rejected. */
  reason: string | undefined;
  readonly wanted: Wanted[];
  /** The result of each `save()`. */
  readonly saves: ("stored" | SessionError["code"])[];
  /** For each stored rotation, how many rotations the handler had asked for by then. */
  readonly renewals: number[];
  hasSavedBeforeEnd: boolean;
  /** Whether a call threw because another request has ended the session. */
  isToldGone: boolean;
  /** Whether one of its writes was sent twice. The second answer may say that it was not done although the first one was. */
  isRepeated: boolean;
  /** The response, unless the request failed. */
  response: Response | undefined;
  error: unknown;
}

/** Makes the record of a request, which `onEvent` fills too. */
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

/** Records an event of a request. */
export function hear(visited: Visited, event: SessionEvent): void {
  visited.events.push(event.type);
  if (event.type === "rejected") visited.reason = event.reason;
}

/** Sends one request. Its handler makes the calls of a program. */
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
    // Sorts the effects into the order in which they were stored.
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
        // With a new id, all changes are stored. Otherwise only this update is; in a session that begins, not even that.
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
      // Another request has ended the session, so there is nothing left to do.
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

/** Whether the handler has thrown on purpose. */
export function failsOnPurpose({ error }: Visited): boolean {
  return error instanceof Error && error.message === ON_PURPOSE;
}
