/**
 * A simple model of one client that sends one request after the other. It knows nothing about storage. If the store fails, several outcomes are
 * correct. The model follows all of them, and each observation of the test removes those that do not fit.
 */

/** The contents of a session. */
export interface Contents {
  readonly data: Readonly<Record<string, number>>;
  /** The flash value. The model uses one flash key. */
  readonly flash: number | undefined;
}

/** One call of a handler. Values are numbers. The schema rejects negative ones. */
export type Step =
  | { readonly call: "set"; readonly key: string; readonly value: number }
  | { readonly call: "delete" | "get" | "pull"; readonly key: string }
  | { readonly call: "update"; readonly isBad: boolean }
  | { readonly call: "flash"; readonly value: number }
  | { readonly call: "regenerate"; readonly grace: number }
  | { readonly call: "clear" | "getFlash" | "save" | "destroy" | "create" | "id" | "touch" | "setTimeouts" };

/** The result of a call: its value, or the code of its error. */
export type Outcome = { readonly value: unknown } | { readonly code: string };

/** The faults of the store during a call. */
export type Faults = readonly string[];

/** A change that is not yet stored. */
interface Pending {
  /** Undefined if the change affects all keys. */
  readonly key: string | undefined;
  readonly run: (contents: Contents) => Contents;
}

/** What the model keeps for an id: a session, or the id that replaced it. */
type Place =
  | { readonly contents: Contents }
  | { readonly next: string; readonly retiredAt: number; readonly until: number | null };

/** One possible state of all sessions and of the client's knowledge. */
export interface World {
  /** By label. A label names an id even before the client has received it. */
  readonly places: ReadonlyMap<string, Place>;
  /** By label, the ids that the client has received. */
  readonly tokens: ReadonlyMap<string, string>;
  readonly labels: number;
}

/** The changes of one request, and what the request knows. */
export interface Visit {
  readonly world: World;
  readonly now: number;
  readonly presented: string | null;
  /** The label of the session; null if there is no session, undefined before it was loaded. */
  readonly base: string | null | undefined;
  readonly isReplaced: boolean;
  readonly isDead: boolean;
  readonly isAuthenticated: boolean;
  readonly pending: readonly Pending[];
  readonly begins: boolean;
  /** Whether `touch` or `setTimeouts` was called. They change no contents, and are stored with the other changes. */
  readonly touches: boolean;
  readonly rotation: number | undefined;
  /** Whether a creation got no answer from the store, so that the session may exist. */
  readonly isInDoubt: boolean;
  /** Whether something may be stored of which the library has no confirmation yet. */
  readonly isUnconfirmed: boolean;
  /** Whether the store failed while the session got a new id. */
  readonly isRotationInDoubt: boolean;
  /** A token that `id()` or `create()` returned before its session was stored. */
  readonly disclosed: string | undefined;
  /** The label of the session that `destroy` has to end. */
  readonly ends: string | undefined;
  readonly isEnded: boolean;
  readonly isGone: boolean;
  readonly isRefused: boolean;
  /** The session that this request has regenerated without grace, with its contents before that. */
  readonly retired: { readonly label: string; readonly contents: Contents } | undefined;
  readonly shown: number | undefined;
  readonly isConsumed: boolean;
  readonly isAhead: boolean;
}

export const EMPTY: Contents = { data: {}, flash: undefined };
/** In milliseconds. For this long after an id was retired, a request with that id counts as one that was already running. */
const UNDER_WAY = 60_000;

export const NEW_WORLD: World = { places: new Map(), tokens: new Map(), labels: 0 };

/** The session that an id gives, or why it gives none. */
export function follow(
  world: World,
  label: string | undefined,
  now: number,
): { readonly live: string } | "replaced" | "retired" | "dead" {
  const place = label === undefined ? undefined : world.places.get(label);
  if (label === undefined || place === undefined) return "dead";
  if ("contents" in place) return { live: label };
  if (place.until !== null && now < place.until) return follow(world, place.next, now);
  return now < place.retiredAt + UNDER_WAY ? "replaced" : "retired";
}

export function contentsOf(world: World, label: string): Contents {
  const place = world.places.get(label);
  return place !== undefined && "contents" in place ? place.contents : EMPTY;
}

function placed(world: World, changes: readonly (readonly [string, Place | undefined])[]): World {
  const places = new Map(world.places);
  for (const [label, place] of changes) {
    if (place === undefined) places.delete(label);
    else places.set(label, place);
  }
  return { ...world, places };
}

/** The world after a session and all its successors have ended. */
function ended(world: World, label: string | undefined): World {
  const place = label === undefined ? undefined : world.places.get(label);
  if (label === undefined || place === undefined) return world;
  const rest = placed(world, [[label, undefined]]);
  return "next" in place ? ended(rest, place.next) : rest;
}

export function beginVisit(world: World, presented: string | null, now: number): Visit {
  return {
    world,
    now,
    presented,
    base: undefined,
    isReplaced: false,
    isDead: false,
    isAuthenticated: false,
    pending: [],
    begins: false,
    touches: false,
    rotation: undefined,
    isInDoubt: false,
    isUnconfirmed: false,
    isRotationInDoubt: false,
    disclosed: undefined,
    ends: undefined,
    isEnded: false,
    isGone: false,
    isRefused: false,
    retired: undefined,
    shown: undefined,
    isConsumed: false,
    isAhead: false,
  };
}

export function labelOf({ tokens }: World, token: string | null): string | undefined {
  return [...tokens].find(([, each]) => each === token)?.[0];
}

function loaded(visit: Visit): Visit {
  if (visit.base !== undefined) return visit;
  if (visit.presented === null) return { ...visit, base: null };
  const found = follow(visit.world, labelOf(visit.world, visit.presented), visit.now);
  if (typeof found === "object") return { ...visit, base: found.live };
  return { ...visit, base: null, isReplaced: found === "replaced", isDead: found === "dead" };
}

function seen(visit: Visit): Contents {
  const stored = visit.base ? contentsOf(visit.world, visit.base) : EMPTY;
  return visit.pending.reduce((contents, { run }) => run(contents), stored);
}

function recorded(visit: Visit, key: string | undefined, run: Pending["run"]): Visit {
  return { ...visit, pending: [...visit.pending, { key, run }], isRefused: false };
}

const put =
  (key: string, value: number | undefined): Pending["run"] =>
  ({ data, flash }) => {
    const { [key]: _, ...rest } = data;
    return { data: value === undefined ? rest : { ...rest, [key]: value }, flash };
  };

const isValid = ({ data }: Contents): boolean => Object.values(data).every((value) => value >= 0);
const isPending = (visit: Visit): boolean =>
  visit.pending.length > 0 || visit.begins || visit.touches || visit.rotation !== undefined;
const mayBegin = (visit: Visit): boolean =>
  !visit.isReplaced || visit.isAuthenticated || visit.ends !== undefined || visit.isEnded;

/** The result of a commit of all changes on a store without faults. */
function commit(before: Visit): { readonly visit: Visit; readonly code?: string } {
  let visit = loaded(before);
  if (visit.isGone) return { visit, code: "ERR_SESSION_GONE" };
  if (visit.ends !== undefined) {
    const { ends, ...others } = visit;
    visit = { ...others, ends: undefined, isEnded: true, world: ended(visit.world, ends) };
  }
  const after = seen(visit);
  const done: Visit = {
    ...visit,
    pending: [],
    begins: false,
    touches: false,
    rotation: undefined,
    isInDoubt: false,
    isUnconfirmed: false,
  };
  if (!visit.base) {
    const isNothing = Object.keys(after.data).length === 0 && after.flash === undefined;
    if (!visit.begins && isNothing) return { visit };
    if (!mayBegin(visit))
      return { visit: { ...visit, pending: [], begins: false, isGone: true }, code: "ERR_SESSION_GONE" };
    if (!isValid(after)) return { visit: { ...visit, isRefused: true }, code: "ERR_SCHEMA" };
    return { visit: stored(done, after) };
  }
  if (!isPending(visit)) return { visit: done };
  if (!isValid(after))
    return { visit: { ...visit, isRefused: true, isInDoubt: false, isUnconfirmed: false }, code: "ERR_SCHEMA" };
  if (visit.rotation === undefined)
    return { visit: { ...done, world: placed(visit.world, [[visit.base, { contents: after }]]) } };
  const [label, grace] = [visit.base, visit.rotation];
  const next = stored(done, after);
  const until = grace > 0 ? visit.now + grace * 1000 : null;
  const place: Place = { next: next.base ?? "", retiredAt: visit.now, until };
  const retired =
    until === null ? (visit.retired ?? { label, contents: contentsOf(visit.world, label) }) : visit.retired;
  return { visit: { ...next, world: placed(next.world, [[label, place]]), retired } };
}

/** The session, stored under a new id. */
function stored(visit: Visit, contents: Contents): Visit {
  const label = `session ${visit.world.labels}`;
  const world = placed({ ...visit.world, labels: visit.world.labels + 1 }, [[label, { contents }]]);
  const tokens = visit.disclosed === undefined ? world.tokens : new Map([...world.tokens, [label, visit.disclosed]]);
  return { ...visit, base: label, disclosed: undefined, world: { ...world, tokens } };
}

/** The visit after a failure of the store. */
function doubted(visit: Visit): Visit {
  return visit.rotation === undefined ? visit : { ...visit, isRotationInDoubt: true };
}

/** The possible results of a commit during which the store failed: all of it was done, a part of it, or nothing. */
function partlyDone(before: Visit, faults: Faults): Visit[] {
  const visit = { ...doubted(loaded(before)), isInDoubt: before.isInDoubt || !loaded(before).base };
  const outcomes = [doubted(before), visit];
  // An earlier creation without an answer may have been found before the store failed.
  if (before.isInDoubt && visit.base) outcomes.push({ ...visit, isInDoubt: false });
  // The successors of a retired session end before the session itself does.
  for (
    let place = visit.world.places.get(visit.ends ?? "");
    place !== undefined && "next" in place;
    place = visit.world.places.get(place.next)
  ) {
    outcomes.push({ ...visit, world: ended(visit.world, place.next) });
  }
  // A stored successor may still replace the old session.
  if (visit.base && visit.rotation !== undefined && !visit.isGone)
    outcomes.push({ ...commit(visit).visit, isUnconfirmed: true });
  if (!mayBeDone(faults)) {
    // A session that was ended before a write failed stays ended.
    if (visit.ends !== undefined)
      outcomes.push({ ...visit, ends: undefined, isEnded: true, world: ended(visit.world, visit.ends) });
    return outcomes;
  }
  if (visit.ends !== undefined) {
    const world = ended(visit.world, visit.ends);
    outcomes.push({ ...visit, world }, { ...visit, ends: undefined, isEnded: true, world });
  }
  if (!visit.isGone) outcomes.push({ ...commit(visit).visit, isInDoubt: !visit.base, isUnconfirmed: true });
  return outcomes;
}

function committed(visit: Visit, outcome: Outcome, faults: Faults): Visit[] {
  const { visit: after, code } = commit(visit);
  if (!("code" in outcome)) return code === undefined ? [after] : [];
  if (outcome.code === code) return [after];
  return isOutage(outcome, faults) ? partlyDone(visit, faults) : [];
}

/** Whether a call may have been done although it returned an error. */
const mayBeDone = (faults: Faults): boolean => faults.some((fault) => fault !== "rejects");

export function isOutage(outcome: Outcome, faults: Faults): boolean {
  return "code" in outcome && outcome.code === "ERR_STORE" && faults.length > 0;
}

function updated(before: Visit, isBad: boolean, outcome: Outcome, faults: Faults): Visit[] {
  const isOut = isOutage(outcome, faults);
  const visit = isOut ? doubted(loaded(before)) : loaded(before);
  const next = (contents: Contents): Contents => put("n", isBad ? -1 : (contents.data["n"] ?? 0) + 1)(contents);
  const is = (value: unknown): boolean => "value" in outcome && outcome.value === value;
  const isRefused = "code" in outcome && outcome.code === "ERR_SCHEMA";
  if (isOut) {
    const outcomes = [doubted(before), visit];
    if (visit.base && visit.rotation === undefined && mayBeDone(faults))
      for (const done of updatedAtOnce(visit, next).visits) outcomes.push({ ...done, isUnconfirmed: true });
    // The update may be stored in the successor, which may still replace the old session.
    if (visit.base && visit.rotation !== undefined)
      outcomes.push({ ...commit(recorded(visit, "n", next)).visit, isUnconfirmed: true });
    return outcomes;
  }
  if (visit.isGone && visit.base) return "code" in outcome && outcome.code === "ERR_SESSION_GONE" ? [visit] : [];
  // If the creation of the session got no answer, the request still treats it as a session that begins.
  if (visit.base && visit.rotation === undefined && !visit.isInDoubt) {
    const { visits, value, isFine } = updatedAtOnce(visit, next);
    // After a rotation without an answer, everything is stored, and all of it may be refused.
    const whole = visit.isUnconfirmed ? commit(recorded(visit, "n", next)) : undefined;
    if (isRefused) return [...(isFine ? [] : [visit]), ...(whole?.code === "ERR_SCHEMA" ? refused(visit) : [])];
    if (!isFine) return [];
    return is(value) ? [...visits, ...(whole !== undefined && whole.code === undefined ? [whole.visit] : [])] : [];
  }
  if (!visit.base && !mayBegin(visit)) return "code" in outcome && outcome.code === "ERR_SESSION_GONE" ? [visit] : [];
  const noted = recorded(visit, "n", next);
  const value = seen(noted).data["n"];
  if (visit.rotation === undefined) return is(value) ? [noted] : [];
  // A session that gets a new id is stored as a whole. An update that the schema rejects stores nothing.
  const { visit: after, code } = commit(noted);
  if (code !== undefined) return isRefused ? refused(visit) : [];
  return is(value) ? [after] : [];
}

/** The visit after the schema has refused an update together with other changes, which may be tried again or not. */
function refused(visit: Visit): Visit[] {
  return [
    { ...visit, isRefused: true },
    { ...visit, isRefused: false },
  ];
}

/** An update on a session that exists: stores one key, or everything if a pending change affects all keys. */
function updatedAtOnce(visit: Visit, next: Pending["run"]): { visits: Visit[]; value: unknown; isFine: boolean } {
  const bearsOnAll = visit.pending.some(({ key }) => key === undefined);
  const isTaken = ({ key }: Pending): boolean => bearsOnAll || key === "n";
  const taken = visit.pending.filter(isTaken);
  const label = visit.base ?? "";
  const contents = next(taken.reduce((before, { run }) => run(before), contentsOf(visit.world, label)));
  const pending = visit.pending.filter((each) => !isTaken(each));
  return {
    visits: [{ ...visit, pending, world: placed(visit.world, [[label, { contents }]]) }],
    value: contents.data["n"],
    isFine: isValid(contents),
  };
}

function token(visit: Visit, outcome: Outcome): Visit[] {
  const willExist = visit.begins || Object.keys(seen(visit).data).length > 0 || seen(visit).flash !== undefined;
  if (!visit.base && willExist && !mayBegin(visit))
    return "code" in outcome && outcome.code === "ERR_SESSION_GONE" ? [visit] : [];
  if (!("value" in outcome)) return [];
  const { value } = outcome;
  if (visit.isInDoubt && value === null) return [visit];
  if (visit.base && visit.rotation === undefined) return known(visit, visit.base, value);
  if (!visit.base && !willExist) return value === null ? [visit] : [];
  if (typeof value !== "string") return [];
  // A session whose id was told begins, even if nothing is left in it.
  const begins = visit.begins || !visit.base;
  return visit.disclosed === undefined || visit.disclosed === value ? [{ ...visit, disclosed: value, begins }] : [];
}

/** The visit with this token for a label, or none if the label has another token. */
function known(visit: Visit, label: string, value: unknown): Visit[] {
  if (typeof value !== "string") return [];
  const before = visit.world.tokens.get(label);
  if (before !== undefined) return before === value ? [visit] : [];
  return [{ ...visit, world: { ...visit.world, tokens: new Map([...visit.world.tokens, [label, value]]) } }];
}

/** The visits that agree with the result of a call. If there is none, the library has made a mistake. */
export function stepped(visit: Visit, step: Step, outcome: Outcome, faults: Faults): Visit[] {
  const isDone = "value" in outcome;
  const reads = ["get", "pull", "getFlash", "create", "id", "destroy", "regenerate"].includes(step.call);
  if (reads && !isDone && isOutage(outcome, faults)) return [visit];
  const now = reads ? loaded(visit) : visit;
  // After a session was lost, the model does not check what the handler still reads.
  if (now.isGone && ["get", "pull", "getFlash", "id"].includes(step.call)) return [now];
  switch (step.call) {
    case "set":
      return isDone ? [recorded(visit, step.key, put(step.key, step.value))] : [];
    case "delete":
      return isDone ? [recorded(visit, step.key, put(step.key, undefined))] : [];
    case "clear":
      return isDone
        ? [{ ...recorded(visit, undefined, () => EMPTY), shown: undefined, isConsumed: false, isAhead: false }]
        : [];
    case "get":
      return isDone && seen(now).data[step.key] === outcome.value ? [now] : [];
    case "pull":
      return isDone && seen(now).data[step.key] === outcome.value
        ? [recorded(now, step.key, put(step.key, undefined))]
        : [];
    case "update":
      return updated(visit, step.isBad, outcome, faults);
    case "flash":
      return isDone
        ? [{ ...recorded(visit, "flash", ({ data }) => ({ data, flash: step.value })), isAhead: true }]
        : [];
    case "getFlash": {
      const value = now.shown ?? (now.isAhead ? undefined : seen(now).flash);
      if (!isDone || outcome.value !== value) return [];
      const isNew = value !== undefined && now.shown === undefined;
      return [isNew ? { ...now, shown: value, isConsumed: true } : now];
    }
    case "touch":
    case "setTimeouts":
      return isDone ? [{ ...visit, touches: true, isRefused: false }] : [];
    case "save":
      return committed(consumed(visit), outcome, faults);
    case "regenerate": {
      if (!isDone) return [];
      if (!now.base || now.isInDoubt) return [{ ...now, isAuthenticated: true }];
      const rotation = Math.min(step.grace, now.rotation ?? Infinity);
      const rotating = { ...now, rotation, isAuthenticated: true, isRefused: false };
      // If an earlier attempt got no answer, its id may be given up, even if the handler has got it.
      return now.isRotationInDoubt ? [rotating, { ...rotating, disclosed: undefined }] : [rotating];
    }
    case "create":
      if (now.base) return token(now, outcome);
      if (!mayBegin(now)) return !isDone && outcome.code === "ERR_SESSION_GONE" ? [now] : [];
      return token(now.begins ? now : { ...now, begins: true, isRefused: false }, outcome);
    case "id":
      return token(now, outcome);
    case "destroy":
      return isDone ? [destroyed(now)] : [];
  }
}

function destroyed(visit: Visit): Visit {
  const label = labelOf(visit.world, visit.presented);
  const place = label === undefined ? undefined : visit.world.places.get(label);
  // During a grace an id stands for its successor. If there is no successor, there is no session to end.
  const leadsNowhere =
    visit.isDead && place !== undefined && "next" in place && place.until !== null && visit.now < place.until;
  const presented = leadsNowhere ? undefined : label;
  // A session that may have begun without an answer ends together with the presented one.
  const begun = visit.isInDoubt ? visit.base : null;
  return {
    ...beginVisit(begun ? ended(visit.world, begun) : visit.world, visit.presented, visit.now),
    base: null,
    isReplaced: visit.isReplaced,
    isAuthenticated: visit.isAuthenticated,
    isUnconfirmed: visit.isInDoubt || visit.isUnconfirmed,
    isDead: visit.isDead,
    isEnded: visit.isEnded,
    // The presented id is ended even if it has no record any more, because the client must forget it.
    ends:
      visit.ends ?? (begun ? undefined : visit.base) ?? presented ?? (visit.presented === null ? undefined : "nothing"),
  };
}

/** Removes the flash value that was shown, unless another one was set for later. */
function consumed(visit: Visit): Visit {
  if (!visit.isConsumed) return visit;
  const { shown } = visit;
  const without = { ...visit, isConsumed: false };
  if (visit.isAhead) return without;
  return recorded(without, "flash", (contents) =>
    contents.flash === shown ? { ...contents, flash: undefined } : contents,
  );
}

/** What a response does to the client's cookie: it sets the token of a label, expires the cookie, or nothing. */
export type Told = { readonly label: string } | "forget" | "nothing";

/** The possible ends of a request after its handler; `outcome` is the result of the whole request. */
export function finished(
  before: Visit,
  outcome: Outcome,
  faults: Faults,
): { readonly world: World; readonly told: Told }[] {
  const visit = consumed(before);
  const isIdle =
    (!isPending(visit) && visit.ends === undefined && !visit.isGone) || (visit.isRefused && visit.ends === undefined);
  if (isIdle && visit.isUnconfirmed && isOutage(outcome, faults)) return discarded(visit, faults);
  if (isIdle) return "value" in outcome ? [{ world: visit.world, told: whatIsTold(visit, true) }] : [];
  const { visit: after, code } = commit(visit);
  if ("value" in outcome) {
    if (code === undefined) return [{ world: after.world, told: whatIsTold(after, true) }];
    return code === "ERR_SESSION_GONE" ? [{ world: after.world, told: whatIsTold(after, false) }] : [];
  }
  if (outcome.code === code && code !== "ERR_SESSION_GONE") return discarded(after, faults);
  return isOutage(outcome, faults) ? partlyDone(visit, faults).flatMap((each) => discarded(each, faults)) : [];
}

function whatIsTold(visit: Visit, isStored: boolean): Told {
  if (visit.base) return { label: visit.base };
  return isStored && (visit.isEnded || visit.isDead) ? "forget" : "nothing";
}

/**
 * The state after a failed handler or a failed last commit: a session that the request has regenerated is put back, unless the store fails
 * again.
 */
export function discarded(visit: Visit, faults: Faults): { readonly world: World; readonly told: Told }[] {
  const told = "nothing" as const;
  const { retired, world } = visit;
  if (retired === undefined || !visit.base || visit.base === retired.label) return [{ world, told }];
  const back = placed(ended(world, visit.base), [[retired.label, { contents: retired.contents }]]);
  if (faults.length === 0) return [{ world: back, told }];
  const half = placed(world, [[retired.label, { contents: retired.contents }]]);
  return [back, half, world, ended(world, visit.base)].map((each) => ({ world: each, told }));
}
