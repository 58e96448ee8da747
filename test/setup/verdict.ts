import { SessionError } from "../../mod.ts";
import { BEGINNING, type Call, callsOf, type Contents, type Effect } from "./programs.ts";
import { HANDLERS_COOKIE, IDLE, type Visited, type Wanted } from "./programs.ts";
import { idIn } from "./sessions.ts";

/** A session that can be reached after all is done. */
export interface Live {
  readonly id: string;
  readonly contents: Contents;
  readonly lastSeenAt: number;
}

/** What can be found after two requests have met. */
export interface Aftermath {
  readonly visits: readonly [Visited, Visited];
  /** The id that both presented. */
  readonly firstId: string;
  /** Every session that any id which was ever made leads to. */
  readonly live: readonly Live[];
  /** How many records there are, under any such id. */
  readonly records: number;
  /** The session that the first id leads to, and after every grace, or null. */
  readonly reached: string | null;
  readonly reachedAfterGrace: string | null;
  /** Whether the session was last used so long ago that every request is to touch it. */
  readonly isTouchDue: boolean;
  readonly lastSeenAt: number;
  readonly now: number;
}

/** What two requests that met have done wrong, in words. */
export function* violations(aftermath: Aftermath): Generator<string> {
  const {
    visits: [one, other],
    firstId,
  } = aftermath;
  const begun = [one, other].flatMap((visited) => begunBy(visited, aftermath));
  const heirs = aftermath.live.filter(({ id }) => !begun.some((each) => each.id === id));
  const [heir] = heirs;

  yield* conduct(one, other, aftermath, heir);
  yield* conduct(other, one, aftermath, heir);
  yield* begun.flatMap(({ wrong }) => wrong);

  if (heirs.length > 1) yield `${heirs.length} sessions live on in place of one`;
  const ended = [one, other].filter(ends);
  if (ended.some((each) => isAnswered(each) && isLogout(each))) {
    if (heir !== undefined) yield "a session lives on after a logout";
    if (aftermath.reached !== null) yield "the id still leads to a session after a logout";
    const mayLeavePointer = [one, other].some(rotates);
    if (!mayLeavePointer && aftermath.records > aftermath.live.length) yield "a record is left after a logout";
    return;
  }
  if (heir === undefined) {
    if (ended.length === 0) yield "the session is lost";
    return;
  }

  const found = textOf(heir.contents);
  const expected = possibleContents(one, other);
  if (!expected.has(found)) yield `the session holds ${found}, not ${[...expected].join(" or ")}`;
  const users = [one, other].filter((each) => isAnswered(each) && wasFound(each) && !isGone(each));
  const mustMove = users.some((each) => aftermath.isTouchDue || does(each, "touch"));
  if (mustMove && heir.lastSeenAt !== aftermath.now) yield "a touch is lost";
  if (aftermath.isTouchDue && users.length > 0) {
    if (!users.some(({ response }) => idIn(ownCookies(response)) !== null))
      yield "no response says that the session goes on";
  }
  const mayMove = aftermath.isTouchDue || [one, other].some((each) => does(each, "touch") || rotates(each));
  if (!mayMove && heir.lastSeenAt !== aftermath.lastSeenAt) yield "last seen was written although it was not due";

  const isRotated = [one, other].some((each) => each.events.includes("regenerated"));
  const mayBeRotated = isRotated || [one, other].some((each) => rotates(each) && !isAnswered(each));
  if (isRotated && heir.id === firstId) yield "the session kept its id although it was regenerated";
  if (!mayBeRotated && heir.id !== firstId) yield "the session has another id although nobody regenerated it";
  const rotators = [one, other].filter((each) => each.events.includes("regenerated"));
  const isDead = rotators.some(({ program, events }) => {
    const rotations = callsOf(program).filter(({ does }) => does?.startsWith("rotate"));
    return rotations
      .slice(0, events.filter((type) => type === "regenerated").length)
      .some(({ does }) => does === "rotate");
  });
  if (isDead && aftermath.reached !== null) yield "the old id still leads to a session";
  if (!isDead && (isRotated || !mayBeRotated) && aftermath.reached !== heir.id)
    yield "the id does not lead to the session";
  if (isRotated && aftermath.reachedAfterGrace !== null) yield "the old id still leads to a session after the grace";
}

/** What one request has done wrong, seen from its client. */
function* conduct(visited: Visited, other: Visited, aftermath: Aftermath, heir: Live | undefined): Generator<string> {
  const { response, error, events, saves, program } = visited;
  const whose = `the request "${program}"`;
  if (
    error !== undefined &&
    !(error instanceof SessionError && error.code === "ERR_STORE" && events.includes("failed"))
  ) {
    yield `${whose} throws ${String(error)}`;
  }
  if (saves.includes("stored, though gone")) yield `save() of ${whose} does not say that the session is gone`;
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
  if (response === undefined) return;

  if (response.status !== 202) yield `${whose} is answered with ${response.status}`;
  const all = response.headers.getSetCookie();
  if (!all.includes(HANDLERS_COOKIE)) yield `${whose} loses a cookie of the handler's`;
  const lines = ownCookies(response);
  if (lines.length > 1) yield `${whose} sets ${lines.length} cookies`;
  const id = idIn(lines);
  const isExpired = lines.length === 1 && /Max-Age=0/.test(lines[0] ?? "");
  if (startedAnew(visited)) return;
  if (ends(visited)) {
    if (!isExpired) yield `${whose} does not expire the cookie`;
    return;
  }
  if (isGone(visited)) {
    if (lines.length > 0) yield `${whose} touches the cookie although its session is gone`;
    return;
  }
  if (isExpired) yield `${whose} expires the cookie`;
  const isRotated = events.includes("regenerated");
  const isMoved = isRotated || (does(other, "rotate with grace") && other.events.includes("regenerated"));
  const isRenewed = does(visited, "touch") || /setTimeouts/.test(program);
  const isDue = wasFound(visited) && (aftermath.isTouchDue || isRenewed);
  if (isRotated && (id === null || id === aftermath.firstId)) yield `${whose} does not say the new id`;
  if (id === null && (events.includes("touched") || (isDue && does(visited, "touch"))))
    yield `${whose} does not send the cookie`;
  if (id !== null && !isDue && !isMoved) yield `${whose} sends a cookie for no reason`;
  if (id !== null && id !== heir?.id && !ends(other) && !other.events.includes("regenerated")) {
    yield `${whose} says an id that leads to no session`;
  }
}

/** The session that a request should have begun, because it ended the one before or found none. */
function begunBy(
  visited: Visited,
  { live }: Aftermath,
): { readonly id: string | undefined; readonly wrong: string[] }[] {
  if (!isAnswered(visited)) {
    // It may have been begun, or not been ended again, and nobody was told its id.
    const possible = [visited.wanted.filter(({ isAfterEnd }) => isAfterEnd), wasFound(visited) ? [] : visited.wanted];
    const texts = possible.map((wanted) => textOf(after(NOTHING, effectsOf(wanted))));
    return live.filter(({ contents }) => texts.includes(textOf(contents))).map(({ id }) => ({ id, wrong: [] }));
  }
  if (!startedAnew(visited)) return [];
  const expected = textOf(contentsOfNew(visited));
  const id = idIn(ownCookies(visited.response));
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

/** What the session may hold: the effects of both requests, in any order of the two. */
function possibleContents(one: Visited, other: Visited): Set<string> {
  const possible = new Set<string>();
  for (const left of possibleEffects(one)) {
    for (const right of possibleEffects(other)) {
      for (const order of merges(left, right)) possible.add(textOf(after(BEGINNING, order)));
    }
  }
  return possible;
}

/** The effects that must be there; of a request that failed, with or without those that were not acknowledged. */
function possibleEffects(visited: Visited): Effect[][] {
  if (!wasFound(visited)) return [[]];
  const wanted = visited.wanted.filter(({ isAfterEnd }) => !isAfterEnd);
  const stored = wanted.filter(({ isStored }) => isStored);
  return isAnswered(visited) ? [effectsOf(stored)] : [effectsOf(stored), effectsOf(wanted)];
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

/** The cookies of a response that are not the handler's own. */
function ownCookies(response: Response | undefined): string[] {
  return response?.headers.getSetCookie().filter((line) => line !== HANDLERS_COOKIE) ?? [];
}

function does({ program }: Visited, what: Call["does"]): boolean {
  return callsOf(program).some((call) => call.does === what);
}

/** Whether what it ended was the session of the id that it presented, not one that it had begun itself. */
const isLogout = (visited: Visited): boolean => wasFound(visited) || !visited.hasSavedBeforeEnd;
const ends = (visited: Visited): boolean => does(visited, "end");
const rotates = (visited: Visited): boolean => does(visited, "rotate") || does(visited, "rotate with grace");
const isAnswered = ({ response }: Visited): boolean => response !== undefined;
const isGone = ({ events }: Visited): boolean => events.includes("gone");
const wasFound = ({ events }: Visited): boolean => events.includes("loaded");
