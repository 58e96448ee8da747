import { edited, type Contents, type Edit, type Json, keyOfEdit, same, textOf } from "./contents.ts";
import { ABSOLUTE, type Call, IDLE, TOUCH } from "./program.ts";
import {
  dropStale,
  exists,
  fits,
  type FoundState,
  mayBegin,
  mint,
  NOTHING_FOUND,
  NOTHING_WANTED,
  type Observed,
  record,
  settleFlash,
  type View,
} from "./view.ts";

/** An id of a session. Instants in milliseconds. */
interface SessionId {
  readonly id: string;
  readonly retiredAt: number;
  readonly graceUntil: number | null;
  /** Whether a logout has ended it, so late that its successors live on. */
  readonly isGone?: true;
}

/** A session as its user sees it: contents, times, and its ids. Instants in milliseconds. */
interface Life extends FoundState {
  /** The last one is in force. An earlier one stands for its successor until its grace ends; null for no grace. */
  ids: SessionId[];
  /** The index of the id from which on the session has ended. Earlier ids still count as retired. */
  endedFrom: number;
}

/** All sessions, and what the running requests know of them. */
export interface World {
  readonly lives: readonly Life[];
  readonly views: Readonly<Record<string, View>>;
}

export const EMPTY_WORLD: World = { lives: [], views: {} };

/** What a response does to the cookie: it sets an id, expires the cookie ("over"), or nothing. */
export type Told = { readonly id: string } | "over" | null;

/** The result of a call that stores. */
export type Outcome = "stored" | "gone";

/** The promises of a store. */
export interface Promised {
  /** Whether changes merge. If not, the last write wins, and it also writes back everything that its request has read. */
  readonly merges: boolean;
}

/** How long an expired session is kept for a running request, in milliseconds. */
const MARGIN = 600_000;
/** How long a logout with a retired id also ends the successor, in milliseconds, without the margin for clocks. */
const FOLLOWED = 600_000;
/** For how long a retired id counts as just retired, in milliseconds. */
const UNDER_WAY = 60_000;

/**
 * A request looks at its session at one instant, and then makes calls until it stores.
 *
 * @param process The process that serves the request
 * @param times The times that the clock of its server may have shown
 */
export function look(
  world: World,
  { who, process }: { readonly who: string; readonly process: string },
  presented: string | null,
  ids: readonly string[],
  times: readonly number[],
  calls: readonly Observed[],
): World[] {
  return times.flatMap((now) => {
    const resolved = resolve(world, presented, now);
    const view: View = {
      presented,
      ids,
      ...resolved,
      minted: 0,
      nextId: null,
      isAuthenticated: false,
      heldId: null,
      process,
      followedTo: [],
      ...NOTHING_WANTED,
      found: NOTHING_FOUND,
      data: {},
      flash: {},
      tracked: {},
      shown: {},
      consumed: [],
      ahead: [],
      keepsAll: false,
      isNew: resolved.life === null,
      hasDestroyed: false,
      hasEnded: false,
      renewed: "no",
      retired: null,
    };
    return goOn(settled(world, who, view), who, calls, times);
  });
}

/** A request stores all its changes at one instant, and then makes calls until it stores again. */
export function store(
  world: World,
  who: string,
  times: readonly number[],
  promised: Promised,
  outcome: Outcome,
  calls: readonly Observed[],
): World[] {
  const view = viewOf(world, who);
  settleFlash(view);
  return pairsOf(times)
    .flatMap(([judged, stamped]) => [...attempts(world, who, view, judged, stamped, promised)])
    .filter((each) => each.outcome === outcome)
    .flatMap((each) => {
      const after = viewOf(each.world, who);
      dropStale(after);
      return goOn(withView(each.world, who, after), who, calls, times);
    });
}

/** A request updates one key at one instant. On a session that exists, only this key is stored. */
export function update(
  world: World,
  who: string,
  times: readonly number[],
  promised: Promised,
  { edit, answer }: { readonly edit: Edit; readonly answer: unknown },
  calls: readonly Observed[],
): World[] {
  const view = viewOf(world, who);
  const key = keyOfEdit(edit) ?? "";
  const isGone = answer === "gone";
  const possible: World[] = [];
  if (view.life === null) {
    if (!mayBegin(view)) return isGone ? [world] : [];
    record(view, edit);
    possible.push(withView(world, who, view));
  } else if (view.rotation !== null) {
    record(view, edit);
    for (const [judged, stamped] of pairsOf(times)) {
      const all = [...attempts(world, who, view, judged, stamped, promised)];
      possible.push(...all.filter(({ outcome }) => (outcome === "gone") === isGone).map((each) => each.world));
    }
  } else {
    // Earlier changes that affect all keys must be stored first.
    const takesAll = view.edits.some((each) => keyOfEdit(each) === undefined);
    const taken = view.edits.filter((each) => takesAll || keyOfEdit(each) === key);
    const left = takesAll ? [] : view.edits.filter((each) => keyOfEdit(each) !== key);
    const alone: View = { ...view, edits: [...taken, edit], timeouts: null, isTouched: false, doomed: [] };
    const { timeouts, isTouched, doomed } = view;
    for (const [judged, stamped] of pairsOf(times)) {
      for (const each of changedLife(world, who, alone, judged, stamped, promised)) {
        if ((each.outcome === "gone") !== isGone) continue;
        const after = viewOf(each.world, who);
        Object.assign(after, { edits: left, timeouts, isTouched, doomed, ...edited(after, left) });
        possible.push(withView(each.world, who, after));
      }
    }
  }
  if (isGone) return possible.map((each) => ({ ...each }));
  return possible.flatMap((each) => {
    const after = viewOf(each, who);
    if (!same(after.data[key], answer)) return [];
    if (Array.isArray(answer)) after.tracked = { ...after.tracked, [key]: answer as Json };
    return goOn(withView(each, who, after), who, calls, times);
  });
}

/** The response of a request: what it tells the client must agree with the state of the session. */
export function answer(world: World, who: string, told: Told, outcome: Outcome): World[] {
  const { [who]: view, ...views } = world.views;
  if (view === undefined) throw new Error(`${who} has not looked`);
  return expectedCookies(view, outcome).some((each) => same(each, told)) ? [{ ...world, views }] : [];
}

/** The handler has failed: its unsaved changes are dropped, and a new id that the client did not receive is taken back. */
export function fail(world: World, who: string): World[] {
  const { [who]: view, ...views } = world.views;
  if (view === undefined) throw new Error(`${who} has not looked`);
  const life = world.lives[view.life ?? -1];
  const { retired } = view;
  if (retired === null || life === undefined || isEnded(life)) return [{ ...world, views }];
  const at = life.ids.findIndex(({ id }) => id === retired.id);
  const ids = [...life.ids.slice(0, at), { id: retired.id, retiredAt: Infinity, graceUntil: null }];
  const lives = world.lives.with(view.life ?? -1, { ...retired.state, ids, endedFrom: life.endedFrom });
  return [{ lives, views }];
}

/** What a reader finds that presents an id and changes nothing. */
export function inspect(
  world: World,
  id: string,
  now: number,
): { id: string; contents: Contents["data"]; lastSeenAt: number } | null {
  const { life } = resolve(world, id, now);
  const found = life === null ? undefined : world.lives[life];
  if (found === undefined) return null;
  return { id: currentId(found), contents: { ...found.data, ...found.flash }, lastSeenAt: found.lastSeenAt };
}

function expectedCookies(view: View, outcome: Outcome): Told[] {
  if (outcome === "gone") return [null];
  if (view.life === null) return [view.hasEnded || view.rejected === "final" ? "over" : null];
  const told = { id: view.heldId ?? "" };
  if (view.renewed === "yes" || view.heldId !== view.presented) return [told];
  return view.renewed === "maybe" ? [told, null] : [null];
}

/** The session that an id gives by one clock, or why it gives none. */
function resolve(world: World, presented: string | null, now: number): Pick<View, "life" | "refused" | "rejected"> {
  const index = world.lives.findIndex(({ ids }) => ids.some(({ id }) => id === presented));
  const life = world.lives[index];
  if (life === undefined) return { life: null, refused: null, rejected: presented === null ? null : "final" };
  const from = life.ids.findIndex(({ id }) => id === presented);
  const refuse = (rejected: View["rejected"]) => ({ life: null, refused: index, rejected });
  for (const [at, { retiredAt, graceUntil }] of life.ids.entries()) {
    if (at < from) continue;
    if (at >= life.endedFrom || life.ids[at]?.isGone === true) return refuse("final");
    if (at === life.ids.length - 1) break;
    if (graceUntil === null || graceUntil <= now) return refuse(now < retiredAt + UNDER_WAY ? "replaced" : "retired");
  }
  return endOf(life) <= now ? refuse("final") : { life: index, refused: null, rejected: null };
}

function endOf({ lastSeenAt, since, timeouts }: FoundState): number {
  const { idle = IDLE, absolute = ABSOLUTE } = timeouts;
  return Math.min(lastSeenAt + idle * 1000, since + absolute * 1000);
}

const currentId = ({ ids }: Life): string => ids.at(-1)?.id ?? "";
const isEnded = ({ ids, endedFrom }: Life): boolean => endedFrom < ids.length;

interface Attempt {
  readonly outcome: Outcome;
  readonly world: World;
}

/** Each possible result of storing all changes. */
function* attempts(
  world: World,
  who: string,
  wanted: View,
  judged: number,
  stamped: number,
  promised: Promised,
): Generator<Attempt> {
  const view = structuredClone(wanted);
  const before = ended(world, view, stamped);
  if (view.hasDestroyed) view.hasEnded = true;
  view.doomed = [];
  const life = before.lives[view.life ?? -1];
  if (life === undefined) {
    yield* begun(before, who, view, stamped);
  } else if (view.rotation !== null) {
    yield* rotated(before, who, life, view, judged, stamped, promised);
  } else {
    yield* changedLife(before, who, view, judged, stamped, promised);
  }
}

/** The world after a logout, which ends the session of its id and all successors that the id still leads to. */
function ended(world: World, { doomed }: View, now: number): World {
  const lives = world.lives.map((life, index) => {
    const end = doomed.find((each) => each.life === index);
    const from = end === undefined ? -1 : life.ids.findIndex(({ id }) => id === end.from);
    if (from < 0) return life;
    const to = life.ids.findIndex((id, at) => at >= from && !(now < followedUntil(id)));
    if (to < 0) return { ...life, endedFrom: Math.min(life.endedFrom, from) };
    const gone = (id: SessionId, at: number): SessionId => (at >= from && at <= to ? { ...id, isGone: true } : id);
    return { ...life, ids: life.ids.map(gone) };
  });
  return { ...world, lives };
}

/** The instant until which a logout with an id also ends its successor. */
function followedUntil({ retiredAt, graceUntil }: SessionId): number {
  return Math.max(retiredAt + FOLLOWED, graceUntil ?? 0) + MARGIN;
}

function* begun(world: World, who: string, view: View, now: number): Generator<Attempt> {
  const { data, flash, timeouts } = view;
  if (!exists(view)) {
    // Timeouts and a touch are kept until a session begins.
    const waiting = { ...view, ...NOTHING_WANTED, timeouts, isTouched: view.isTouched };
    return yield { outcome: "stored", world: withView(world, who, waiting) };
  }
  if (!mayBegin(view)) return yield { outcome: "gone", world };
  const id = { id: mint(view), retiredAt: Infinity, graceUntil: null };
  const times = { createdAt: now, since: now, lastSeenAt: now };
  const life: Life = { ids: [id], data, flash, ...times, timeouts: { ...timeouts }, endedFrom: Infinity };
  const after = { ...view, ...NOTHING_WANTED, life: world.lives.length };
  yield { outcome: "stored", world: settled({ ...world, lives: [...world.lives, life] }, who, after) };
}

/** Whether the id that a request holds gives the session in force, by one clock. */
function leadsOn(life: Life, id: string | null, now: number): boolean {
  const from = life.ids.findIndex((each) => each.id === id);
  if (from < 0 || isEnded(life)) return false;
  return life.ids.slice(from, -1).every(({ graceUntil }) => graceUntil !== null && graceUntil > now);
}

function* rotated(
  world: World,
  who: string,
  life: Life,
  view: View,
  judged: number,
  now: number,
  promised: Promised,
): Generator<Attempt> {
  const leads = leadsOn(life, view.heldId, now);
  if (!leads || endOf(life) + MARGIN <= now) return yield { outcome: "gone", world };
  const { grace = 0, reauthenticated = false } = view.rotation ?? {};
  const at = life.ids.findIndex(({ id }) => id === view.heldId);
  const overtaken = life.ids.length - 1 - at;
  if (overtaken > 0 && grace > 0 && !reauthenticated && view.nextId === null) {
    // The request keeps the id that another request has given. Its own id is not used.
    mint(view);
    return yield* changedLife(world, who, { ...view, rotation: null }, judged, now, promised);
  }
  if (overtaken === 0 || view.nextId !== null) return yield* renewed(world, who, life, view, now);
  // The ids are not used that the request has made before it found out that another request was first. It has made none
  // if it read the session before, because that had ended long ago by its clock.
  yield* renewed(world, who, life, structuredClone(view), now);
  for (let unused = 1; unused <= overtaken; unused++) {
    mint(view);
    yield* renewed(world, who, life, structuredClone(view), now);
  }
}

function* renewed(world: World, who: string, life: Life, view: View, now: number): Generator<Attempt> {
  const { grace = 0, reauthenticated = false } = view.rotation ?? {};
  const graceUntil = grace > 0 ? now + grace * 1000 : null;
  const old = { id: currentId(life), retiredAt: now, graceUntil };
  const ids = [...life.ids.slice(0, -1), old, { id: mint(view), retiredAt: Infinity, graceUntil: null }];
  const next: Life = {
    ...life,
    ...edited(life, view.edits),
    ids,
    since: reauthenticated ? now : life.since,
    lastSeenAt: Math.max(now, life.lastSeenAt),
    timeouts: { ...life.timeouts, ...view.timeouts },
  };
  const retired = view.retired ?? (grace > 0 ? null : { id: old.id, state: stateOf(life) });
  yield { outcome: "stored", world: then(world, who, view, next, { retired }) };
}

function* changedLife(
  world: World,
  who: string,
  view: View,
  judged: number,
  stamped: number,
  promised: Promised,
): Generator<Attempt> {
  const life = world.lives[view.life ?? -1];
  if (life === undefined) return;
  const isAlive = leadsOn(life, view.heldId, stamped);
  const hasRunOut = (state: FoundState): boolean => endOf(state) + MARGIN <= stamped;
  if (!isAlive || hasRunOut(life)) yield { outcome: "gone", world };
  const isDue = isTouchDue(view, view.found, judged);
  if (!changes(view) && !isDue) {
    // A request that stores nothing does not read the session again, unless it waits for other requests of its process.
    const still = { ...view, ...edited(view.found, view.edits), ...NOTHING_WANTED };
    yield { outcome: "stored", world: withView(world, who, still) };
  }
  // Before a request changes a session that has run out, as far as the request knows, it reads the session again.
  const readsAgain = promised.merges || hasRunOut(view.found);
  // Requests of one process store their changes together. If the grace has ended since another one of them has followed the held
  // id, this request may get the new id with the other one.
  const isLed = isAlive || view.followedTo.some((id) => leadsOn(life, id, stamped));
  if (!isLed || (readsAgain && hasRunOut(life))) return;
  const ground = readsAgain ? life : { ...life, ...view.found };
  const isTouched = isTouchDue(view, ground, judged);
  const lastSeenAt = isTouched ? Math.max(stamped, ground.lastSeenAt) : ground.lastSeenAt;
  const timeouts = { ...ground.timeouts, ...view.timeouts };
  const isRenewed = isTouched || !same(timeouts, ground.timeouts);
  // If another request has made the same change meanwhile, that request's response tells the client.
  const isOthers = !isRenewed && (isDue || !same({ ...view.found.timeouts, ...view.timeouts }, view.found.timeouts));
  const renewed = isRenewed ? "yes" : isOthers && view.renewed === "no" ? "maybe" : view.renewed;
  const next = { ...life, ...edited(ground, view.edits), lastSeenAt, timeouts };
  yield { outcome: "stored", world: then(followed(world, who, view, currentId(life)), who, view, next, { renewed }) };
}

/** A request has followed its id to the one in force. The requests of its process that hold the same id may get the new one as well. */
function followed(world: World, who: string, { process, life, heldId }: View, id: string): World {
  if (heldId === id) return world;
  const views = Object.entries(world.views).map(([name, view]): [string, View] => {
    const isBeside = name !== who && view.process === process && view.life === life && view.heldId === heldId;
    return [name, isBeside ? { ...view, followedTo: [...view.followedTo, id] } : view];
  });
  return { ...world, views: Object.fromEntries(views) };
}

/** The request continues with what it has stored. */
function then(world: World, who: string, view: View, next: Life, changed: Partial<View>): World {
  const lives = world.lives.with(view.life ?? -1, next);
  return settled({ ...world, lives }, who, { ...view, ...changed, ...NOTHING_WANTED });
}

/** Whether anything differs from what the request has read. Writing an equal value is no change. */
function changes(view: View): boolean {
  const { data, flash } = edited(view.found, view.edits);
  return (
    !same(data, view.found.data) ||
    !same(flash, view.found.flash) ||
    !same({ ...view.found.timeouts, ...view.timeouts }, view.found.timeouts)
  );
}

function isTouchDue({ isTouched, timeouts }: View, ground: FoundState, now: number): boolean {
  const { idle } = { ...ground.timeouts, ...timeouts };
  const interval = idle === undefined ? TOUCH : idle / 10;
  return isTouched || now - ground.lastSeenAt >= interval * 1000;
}

/** Makes the next calls. Returns no world if a result does not fit. */
function goOn(world: World, who: string, calls: readonly Observed[], times: readonly number[]): World[] {
  if (calls.length === 0) return [world];
  const view = viewOf(world, who);
  return calls.every((each) => fits(view, each, times)) ? [withView(world, who, view)] : [];
}

/** The request continues with the session as it is now. */
function settled(world: World, who: string, view: View): World {
  const life = world.lives[view.life ?? -1];
  if (life === undefined) return withView(world, who, view);
  const found = stateOf(life);
  return withView(world, who, {
    ...view,
    heldId: currentId(life),
    followedTo: [],
    found,
    data: found.data,
    flash: found.flash,
  });
}

function stateOf({ data, flash, createdAt, since, lastSeenAt, timeouts }: Life): FoundState {
  return { data, flash, createdAt, since, lastSeenAt, timeouts };
}

/** A copy of what a request knows, for changing. */
function viewOf(world: World, who: string): View {
  const view = world.views[who];
  if (view === undefined) throw new Error(`${who} has not looked`);
  return structuredClone(view);
}

function withView(world: World, who: string, view: View): World {
  return { ...world, views: { ...world.views, [who]: view } };
}

/** The library may read the clock at different instants, once to decide whether a touch is due and once for the record. */
function pairsOf(times: readonly number[]): (readonly [number, number])[] {
  return times.flatMap((judged) => times.map((stamped) => [judged, stamped] as const));
}

/** The change that an update makes to a session. */
export function editOf({ call }: Call, tag: string): Edit {
  return call === "append" ? { edit: "append", value: tag } : { edit: "count" };
}

export { textOf };
