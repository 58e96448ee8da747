import { SessionError } from "../../mod.ts";
import { idIn } from "../setup/sessions.ts";
import { BEGINNING, type Call, callsOf, type Contents, type Effect, IDLE } from "./programs.ts";
import { failsOnPurpose, HANDLERS_COOKIE, type Visited, type Wanted } from "./visit.ts";

/** A session that can be reached after both requests. */
export interface Live {
  readonly id: string;
  readonly contents: Contents;
  readonly lastSeenAt: number;
}

/** A request, and the clock of its server. */
export interface Guest {
  readonly visited: Visited;
  /** In epoch milliseconds. */
  readonly now: number;
  /** Whether the last use of the session is so long ago, by this clock, that the request must touch it. */
  readonly isTouchDue: boolean;
}

/** What can be found after two requests have met. */
export interface Aftermath {
  readonly guests: readonly [Guest, Guest];
  /** The id that both presented. */
  readonly firstId: string;
  /** Every session that any generated id gives. */
  readonly live: readonly Live[];
  /** The number of records under all these ids. */
  readonly records: number;
  /** The id of the session that the first id gives now, and the one that it gives after every grace; null for none. */
  readonly reached: string | null;
  readonly reachedAfterGrace: string | null;
  readonly lastSeenAt: number;
}

/** How old "last seen" may be at the end, in milliseconds, if a request had to touch the session. */
const OLDEST = 600_000;
/** For how long a retired id counts as just retired, in milliseconds. */
const UNDER_WAY = 60_000;

/** The promises that were broken when two requests met, in words. */
export function* violations(aftermath: Aftermath): Generator<string> {
  const { guests, firstId, reached, live } = aftermath;
  const [one, other] = guests;
  const both = [one.visited, other.visited];
  const begun = both.flatMap((visited) => begunBy(visited, aftermath));
  const heirs = live.filter(({ id }) => !begun.some((each) => each.id === id));
  const [heir] = heirs;

  yield* conduct(one, other, aftermath, heir);
  yield* conduct(other, one, aftermath, heir);
  yield* begun.flatMap(({ wrong }) => wrong);

  if (heirs.length > 1) yield `${heirs.length} sessions live on in place of one`;
  if (both.some((each) => ends(each) && isAnswered(each) && isLogout(each))) {
    if (heir !== undefined) yield "a session lives on after a logout";
    if (reached !== null) yield "the id still leads to a session after a logout";
    if (!both.some(rotates) && aftermath.records > live.length) yield "a record is left after a logout";
    return;
  }
  if (heir === undefined) {
    if (!both.some(ends)) yield "the session is lost";
    return;
  }

  const found = textOf(heir.contents);
  const expected = possibleContents(...(both.map(possibleEffects) as [Effect[][], Effect[][]]));
  if (!expected.has(found)) yield `the session holds ${found}, not ${[...expected].join(" or ")}`;
  yield* lastSeen(heir, aftermath);

  const isRotated = both.some(isRenewed);
  // If a request failed, its rotation may have been put back or not.
  const mayBeRotated = isRotated || both.some((each) => rotates(each) && !isAnswered(each) && !failsOnPurpose(each));
  if (isRotated && heir.id === firstId) yield "the session kept its id although it was regenerated";
  if (!mayBeRotated && heir.id !== firstId) yield "the session has another id although nobody regenerated it";
  const isDead = both.filter(isRenewed).some((each) => renewalsOf(each).some(({ does }) => does === "rotate"));
  if (isDead && reached !== null) yield "the old id still leads to a session";
  if (!isDead && (isRotated || !mayBeRotated) && reached !== heir.id) yield "the id does not lead to the session";
  if (isRotated && aftermath.reachedAfterGrace !== null) yield "the old id still leads to a session after the grace";
}

function* lastSeen(heir: Live, { guests, lastSeenAt }: Aftermath): Generator<string> {
  const users = guests.filter(({ visited }) => isAnswered(visited) && wasFound(visited) && !isGone(visited));
  for (const { visited, now, isTouchDue } of users) {
    if (does(visited, "touch") && heir.lastSeenAt < now) yield "a touch is lost";
    if ((isTouchDue || rotates(visited)) && heir.lastSeenAt < now - OLDEST) yield "the session looks older than it is";
  }
  const isTold = guests.every(({ visited }) => isAnswered(visited)) && users.some(({ isTouchDue }) => isTouchDue);
  if (isTold && !users.some(({ visited }) => idIn(ownCookies(visited)) !== null)) {
    yield "no response says that the session goes on";
  }
  const mayMove = guests.some(({ visited, isTouchDue }) => isTouchDue || does(visited, "touch") || rotates(visited));
  if (!mayMove && heir.lastSeenAt !== lastSeenAt) yield "last seen was written although it was not due";
  if (heir.lastSeenAt < lastSeenAt) yield "last seen went back";
}

/** The promises that one request broke, as its client sees it. */
function* conduct(
  guest: Guest,
  { visited: other, now }: Guest,
  aftermath: Aftermath,
  heir: Live | undefined,
): Generator<string> {
  const { visited } = guest;
  const { error, events, saves, program } = visited;
  const whose = `the request "${program}"`;
  const isOutage = error instanceof SessionError && error.code === "ERR_STORE" && events.includes("failed");
  if (error !== undefined && !isOutage && !failsOnPurpose(visited)) yield `${whose} throws ${String(error)}`;
  if (!events.includes("failed") && failsOnPurpose(visited) !== (does(visited, "fail") && !visited.isToldGone))
    yield `${whose} ends with ${String(error)}`;
  if (saves.includes("ERR_SESSION_GONE") && !isGone(visited)) yield `${whose} does not hear gone`;
  if (saves.some((each) => each !== "stored" && each !== "ERR_SESSION_GONE" && !events.includes("failed"))) {
    yield `save() of ${whose} throws ${saves.join(", ")}`;
  }
  if (events.filter((type) => type === "gone").length > 1) yield `${whose} hears gone twice`;
  const isCause =
    ends(other) ||
    other.events.includes("regenerated") ||
    (rotates(other) && !isAnswered(other) && heir?.id !== aftermath.firstId);
  if (isGone(visited) && !isCause) yield `${whose} hears gone, but nobody ended or regenerated the session`;
  // If the id was retired during the request, the request must not begin another session: its cookie would replace the one
  // with the new id.
  const isBeacon = visited.reason === "retired" && !rotates(visited) && !ends(visited) && guest.now < now + UNDER_WAY;
  if (isBeacon && startedAnew(visited)) yield `${whose} begins a session in place of the one that was regenerated`;
  yield* cookies(guest, other, aftermath, heir, whose);
}

function* cookies(
  { visited, isTouchDue }: Guest,
  other: Visited,
  aftermath: Aftermath,
  heir: Live | undefined,
  whose: string,
): Generator<string> {
  const { response, events, program, reason } = visited;
  if (response === undefined) return;
  if (response.status !== 202) yield `${whose} is answered with ${response.status}`;
  if (!response.headers.getSetCookie().includes(HANDLERS_COOKIE)) yield `${whose} loses a cookie of the handler's`;
  const lines = ownCookies(visited);
  if (lines.length > 1) yield `${whose} sets ${lines.length} cookies`;
  const id = idIn(lines);
  const isExpired = lines.length === 1 && /Max-Age=0/.test(lines[0] ?? "");
  if (startedAnew(visited)) return;
  if (ends(visited)) {
    if (!isExpired && !isGone(visited)) yield `${whose} does not expire the cookie`;
    return;
  }
  if (isGone(visited)) {
    if (lines.length > 0) yield `${whose} touches the cookie although its session is gone`;
    return;
  }
  // An unknown id is expired. The cookie with a retired id stays, because another response may be carrying the new id.
  if (isExpired !== (reason === "unknown"))
    yield `${whose}, ${reason ?? "found"}, ${isExpired ? "expires" : "keeps"} the cookie`;
  const isRotated = events.includes("regenerated");
  const isMoved = isRotated || (does(other, "rotate with grace") && other.events.includes("regenerated"));
  const isRenewing = does(visited, "touch") || /setTimeouts/.test(program);
  const isDue = wasFound(visited) && (isTouchDue || isRenewing);
  if (isRotated && (id === null || id === aftermath.firstId)) yield `${whose} does not tell the new id`;
  if (id === null && (events.includes("touched") || (isDue && does(visited, "touch"))))
    yield `${whose} does not send the cookie`;
  if (id !== null && !isDue && !isMoved) yield `${whose} sends a cookie for no reason`;
  if (id !== null && id !== heir?.id && !ends(other) && !other.events.includes("regenerated")) {
    yield `${whose} tells an id that leads to no session`;
  }
}

/** The session that a request should have begun because it ended the one before, or found none. */
function begunBy(
  visited: Visited,
  { live }: Aftermath,
): { readonly id: string | undefined; readonly wrong: string[] }[] {
  if (!isAnswered(visited)) {
    // The failed request may have left a new session behind, whose id the client did not receive.
    const possible = [visited.wanted.filter(({ isAfterEnd }) => isAfterEnd), wasFound(visited) ? [] : visited.wanted];
    const texts = possible
      .filter((wanted) => wanted.length > 0)
      .map((wanted) => textOf(after(NOTHING, effectsOf(wanted))));
    return live.filter(({ contents }) => texts.includes(textOf(contents))).map(({ id }) => ({ id, wrong: [] }));
  }
  if (!startedAnew(visited)) return [];
  const expected = textOf(contentsOfNew(visited));
  const id = idIn(ownCookies(visited));
  const found = live.find((each) => each.id === id);
  const contents = found && textOf(found.contents);
  const wrong =
    contents === expected ? [] : [`the session begun by "${visited.program}" holds ${contents}, not ${expected}`];
  return [{ id: found?.id, wrong }];
}

function startedAnew(visited: Visited): boolean {
  return isAnswered(visited) && Object.keys(contentsOfNew(visited)).length > 1;
}

function contentsOfNew(visited: Visited): Contents {
  const wanted = visited.wanted.filter(({ isAfterEnd }) => isAfterEnd || (!wasFound(visited) && !ends(visited)));
  return after(NOTHING, effectsOf(wanted.filter(({ isStored }) => isStored)));
}

/** The contents that the session may have: the effects of both requests, in any order of the two. */
function possibleContents(one: readonly Effect[][], other: readonly Effect[][]): Set<string> {
  const possible = new Set<string>();
  for (const left of one) {
    for (const right of other) {
      for (const order of merges(left, right)) possible.add(textOf(after(BEGINNING, order)));
    }
  }
  return possible;
}

/** The effects that must be visible. If the request's store failed, the unacknowledged ones may be missing. */
function possibleEffects(visited: Visited): Effect[][] {
  if (!wasFound(visited)) return [[]];
  const wanted = visited.wanted.filter(({ isAfterEnd }) => !isAfterEnd);
  const stored = wanted.filter(({ isStored, isUnderNewId }) => isStored && (isAnswered(visited) || !isUnderNewId));
  const isSure = isAnswered(visited) && !(isGone(visited) && visited.isRepeated);
  if (isSure || failsOnPurpose(visited)) return [effectsOf(stored)];
  return [effectsOf(stored), effectsOf(wanted)];
}

function effectsOf(wanted: readonly Wanted[]): Effect[] {
  return wanted.map(({ effect }) => effect);
}

function merges(left: readonly Effect[], right: readonly Effect[]): Effect[][] {
  const [first, ...others] = left;
  const [second, ...rest] = right;
  if (first === undefined) return [[...right]];
  if (second === undefined) return [[...left]];
  return [
    ...merges(others, right).map((merged) => [first, ...merged]),
    ...merges(left, rest).map((merged) => [second, ...merged]),
  ];
}

function after(beginning: Contents, effects: readonly Effect[]): Contents {
  const contents = { ...beginning };
  for (const effect of effects) effect(contents);
  return contents;
}

const NOTHING: Contents = { [IDLE]: BEGINNING[IDLE] };

function textOf(contents: Contents): string {
  return JSON.stringify(Object.entries(contents).sort(([left], [right]) => (left < right ? -1 : 1)));
}

/** The cookies of a response, without the one that the handler sets itself. */
function ownCookies({ response }: Visited): string[] {
  return response?.headers.getSetCookie().filter((line) => line !== HANDLERS_COOKIE) ?? [];
}

function does({ program }: Visited, what: Call["does"]): boolean {
  return callsOf(program).some((call) => call.does === what);
}

/** The calls for a new id that took effect. */
function renewalsOf({ program, renewals }: Visited): Call[] {
  const asked = callsOf(program).filter((call) => call.does?.startsWith("rotate"));
  return renewals.flatMap((count) => asked[count - 1] ?? []);
}

/** Whether the request ended the session of the presented id, not one that it had begun itself. */
const isLogout = (visited: Visited): boolean => wasFound(visited) || !visited.hasSavedBeforeEnd;
const ends = (visited: Visited): boolean => does(visited, "end");
const rotates = (visited: Visited): boolean => does(visited, "rotate") || does(visited, "rotate with grace");
const isAnswered = ({ response }: Visited): boolean => response !== undefined;
/** Whether the client received a new id. */
const isRenewed = (visited: Visited): boolean => isAnswered(visited) && visited.events.includes("regenerated");
const isGone = ({ events, isToldGone }: Visited): boolean => isToldGone || events.includes("gone");
const wasFound = ({ events }: Visited): boolean => events.includes("loaded");
