import type { Call } from "./program.ts";
import { ABSOLUTE, IDLE, TOUCH } from "./program.ts";

type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };
type Values = Record<string, Json>;

/** What can be changed in a session. */
interface Contents {
  data: Values;
  flash: Values;
}

interface OwnTimeouts {
  idle?: number;
  absolute?: number;
}

/** A session, as its user thinks of it: contents, times, and the ids that lead to it. */
interface Life extends Contents {
  /** The last one is in force; those before lead on until their grace is over. Instants in milliseconds. */
  ids: { id: string; retiredAt: number; graceUntil: number }[];
  createdAt: number;
  since: number;
  lastSeenAt: number;
  timeouts: OwnTimeouts;
  ended: boolean;
}

type Edit =
  | { edit: "set" | "flash" | "drop flash if"; key: string; value: Json }
  | { edit: "remove" | "drop flash"; key: string }
  | { edit: "count" | "clear" }
  | { edit: "append"; value: Json };

/** What one request knows and wants, since it looked at its session. */
interface View extends Contents {
  readonly presented: string | null;
  /** The ids that were minted for this request, and how many of them it has used. */
  readonly ids: readonly string[];
  minted: number;
  nextId: string | null;
  life: number | null;
  /** The session to which the presented id leads no longer: a logout ends it all the same. */
  refused: number | null;
  heldId: string | null;
  /** The session as it was found. */
  found: Contents & { createdAt: number; since: number; lastSeenAt: number; timeouts: OwnTimeouts };
  edits: Edit[];
  shown: Values;
  consumed: string[];
  ahead: string[];
  keepsAll: boolean;
  rotation: { grace: number; reauthenticated: boolean } | null;
  timeouts: OwnTimeouts | null;
  isStarted: boolean;
  isTouched: boolean;
  isNew: boolean;
  doomed: number[];
  hasEnded: boolean;
  /** Whether the client is to be told the id again; both will do if another request has just changed the same. */
  renewed: "yes" | "no" | "maybe";
}

/** All sessions, and what the requests under way know of them. */
export interface World {
  readonly lives: readonly Life[];
  readonly views: Readonly<Record<string, View>>;
}

export const EMPTY_WORLD: World = { lives: [], views: {} };

/** A call, and what it answered. */
export interface Observed {
  readonly call: Call;
  /** The value that it wrote, if it wrote one of its own. */
  readonly tag: string;
  readonly answer: unknown;
}

/** What a response says about the cookie: an id, that it is over, or nothing. */
export type Told = { readonly id: string } | "over" | null;

/** What is promised. */
export interface Promised {
  /** Whether changes merge; otherwise the last write wins, and with it all that its request had seen. */
  readonly merges: boolean;
}

/** How long a retired id still tells a logout what has become of its session, in milliseconds. */
const POINTER = 600_000;

/**
 * A request looks at its session, at one instant, and then makes calls until it stores.
 *
 * @param times What the clock may have shown
 */
export function look(
  world: World,
  who: string,
  presented: string | null,
  ids: readonly string[],
  times: readonly number[],
  calls: readonly Observed[],
): World[] {
  return times.flatMap((now) => {
    const { life, refused } = resolve(world, presented, now);
    const view: View = {
      presented,
      ids,
      life,
      refused,
      minted: 0,
      nextId: null,
      heldId: null,
      ...NOTHING_WANTED,
      found: NOTHING_FOUND,
      data: {},
      flash: {},
      shown: {},
      consumed: [],
      ahead: [],
      keepsAll: false,
      isNew: life === null,
      hasEnded: false,
      renewed: "no",
    };
    return goOn(settled(world, who, view), who, calls, times);
  });
}

/**
 * A request stores what it wants, at one instant, and then makes calls until it stores again.
 *
 * @param times What the clock may have shown
 */
export function store(
  world: World,
  who: string,
  times: readonly number[],
  promised: Promised,
  outcome: "stored" | "gone",
  calls: readonly Observed[],
): World[] {
  const all = times.flatMap((judged) =>
    times.flatMap((stamped) => [...attempts(world, who, judged, stamped, promised)]),
  );
  return all.filter((each) => each.outcome === outcome).flatMap((each) => goOn(each.world, who, calls, times));
}

/** The request is answered: what it tells the client must be what has become of its session. */
export function answer(world: World, who: string, told: Told, outcome: "stored" | "gone"): World[] {
  const { [who]: view, ...views } = world.views;
  if (view === undefined) throw new Error(`${who} has not looked`);
  const said = JSON.stringify(told);
  return expectedCookies(view, outcome).some((each) => JSON.stringify(each) === said) ? [{ ...world, views }] : [];
}

/** What somebody sees who presents an id and changes nothing. */
export function inspect(
  world: World,
  id: string,
  now: number,
): { id: string; contents: Values; lastSeenAt: number } | null {
  const { life } = resolve(world, id, now);
  const found = life === null ? undefined : world.lives[life];
  if (found === undefined) return null;
  return { id: currentId(found), contents: { ...found.data, ...found.flash }, lastSeenAt: found.lastSeenAt };
}

function expectedCookies(view: View, outcome: "stored" | "gone"): Told[] {
  if (outcome === "gone") return [null];
  if (view.life === null) return [view.hasEnded ? "over" : null];
  const told = { id: view.heldId ?? "" };
  if (view.renewed === "yes" || view.heldId !== view.presented) return [told];
  return view.renewed === "maybe" ? [told, null] : [null];
}

function resolve(world: World, presented: string | null, now: number): Pick<View, "life" | "refused"> {
  const life = world.lives.findIndex(({ ids }) => ids.some(({ id }) => id === presented));
  const found = world.lives[life];
  if (found === undefined) return { life: null, refused: null };
  const after = found.ids.slice(found.ids.findIndex(({ id }) => id === presented));
  const leadsOn = after.slice(0, -1).every(({ graceUntil }) => graceUntil > now);
  return found.ended || isExpired(found, now) || !leadsOn ? { life: null, refused: life } : { life, refused: null };
}

function isExpired({ lastSeenAt, since, timeouts }: Life, now: number): boolean {
  const { idle = IDLE, absolute = ABSOLUTE } = timeouts;
  return now >= Math.min(lastSeenAt + idle * 1000, since + absolute * 1000);
}

function currentId(life: Life): string {
  return life.ids.at(-1)?.id ?? "";
}

/** Each way in which storing may go. */
function* attempts(
  world: World,
  who: string,
  judged: number,
  stamped: number,
  promised: Promised,
): Generator<{ outcome: "stored" | "gone"; world: World }> {
  const view = viewOf(world, who);
  for (const key of view.consumed) {
    const value = view.shown[key];
    if (value !== undefined && !view.ahead.includes(key)) record(view, { edit: "drop flash if", key, value });
  }
  view.consumed = [];
  for (const before of ended(world, view.doomed, judged)) {
    if (view.doomed.length > 0) view.hasEnded = true;
    const life = before.lives[view.life ?? -1];
    const then = (next: Life, changed: Partial<View> = {}): World => {
      const lives = before.lives.with(view.life ?? -1, next);
      return settled({ ...before, lives }, who, { ...view, ...changed, ...NOTHING_WANTED });
    };
    if (life === undefined) {
      yield { outcome: "stored", world: begun(before, who, view, stamped) };
      continue;
    }
    const isInForce = !life.ended && currentId(life) === view.heldId;
    const gone = { outcome: "gone", world: before } as const;
    // A session that ran out while the request was under way may be found missing, or kept by its write.
    if (!isInForce || isExpired(life, judged) || isExpired(life, stamped)) {
      if (view.rotation !== null || changes(view) || isTouchDue(view, judged)) yield gone;
    }
    if (view.rotation !== null) {
      if (isInForce) yield* rotated(life, view, judged, stamped, then);
    } else if (changes(view) || (promised.merges && isTouchDue(view, judged))) {
      // Where the store compares, a touch that comes late is a change like any other, of what it then finds.
      if (isInForce) yield { outcome: "stored", world: changed(life, view, judged, stamped, promised, then) };
    } else if (isTouchDue(view, judged)) {
      // Nothing is changed, and so nothing read anew.
      const still = {
        ...view,
        ...NOTHING_WANTED,
        found: { ...view.found, lastSeenAt: stamped },
        renewed: "yes" as const,
      };
      const { data, flash } = view.found;
      const views = { ...before.views, [who]: { ...still, data, flash } };
      const lives = before.lives.with(view.life ?? -1, { ...life, lastSeenAt: stamped });
      if (isInForce) yield { outcome: "stored", world: { lives, views } };
    } else {
      yield {
        outcome: "stored",
        world: { ...before, views: { ...before.views, [who]: { ...view, ...NOTHING_WANTED } } },
      };
    }
  }
}

/** After a logout. One that comes long after the id was retired may end the session, or may not. */
function ended(world: World, doomed: readonly number[], now: number): World[] {
  const certainly = world.lives.map((life, index) => (doomed.includes(index) ? { ...life, ended: true } : life));
  const all = [{ ...world, lives: certainly }];
  const isLongAgo = doomed.some((each) => world.lives[each]?.ids.some(({ retiredAt }) => retiredAt + POINTER <= now));
  return isLongAgo ? [...all, world] : all;
}

function begun(world: World, who: string, view: View, now: number): World {
  const { data, flash } = view;
  const isEmpty = Object.keys(data).length + Object.keys(flash).length === 0;
  if (isEmpty && !view.isStarted) {
    const waiting = { ...view, ...NOTHING_WANTED, timeouts: view.timeouts };
    return { ...world, views: { ...world.views, [who]: waiting } };
  }
  const id = { id: mint(view), retiredAt: Infinity, graceUntil: Infinity };
  const times = { createdAt: now, since: now, lastSeenAt: now };
  const life: Life = { ids: [id], data, flash, ...times, timeouts: { ...view.timeouts }, ended: false };
  const begun = { ...view, ...NOTHING_WANTED, life: world.lives.length, nextId: null };
  return settled({ ...world, lives: [...world.lives, life] }, who, begun);
}

function* rotated(
  life: Life,
  view: View,
  judged: number,
  stamped: number,
  then: (next: Life, changed: Partial<View>) => World,
): Generator<{ outcome: "stored"; world: World }> {
  const { grace = 0, reauthenticated = false } = view.rotation ?? {};
  for (const now of new Set([judged, stamped])) {
    const ids = life.ids
      .slice(0, -1)
      .concat(
        { id: currentId(life), retiredAt: now, graceUntil: now + grace * 1000 },
        { id: mint({ ...view }), retiredAt: Infinity, graceUntil: Infinity },
      );
    const since = reauthenticated ? judged : life.since;
    const next = { ...life, ...edited(life, view.edits), ids, since, lastSeenAt: stamped };
    const minted = { ...view };
    mint(minted);
    yield {
      outcome: "stored",
      world: then(
        { ...next, timeouts: { ...life.timeouts, ...view.timeouts } },
        { minted: minted.minted, nextId: null },
      ),
    };
  }
}

function changed(
  life: Life,
  view: View,
  judged: number,
  stamped: number,
  promised: Promised,
  then: (next: Life, changed: Partial<View>) => World,
): World {
  const ground = promised.merges ? life : { ...life, ...view.found };
  const isTouched = isTouchDue({ ...view, found: ground }, judged);
  const lastSeenAt = isTouched ? Math.max(stamped, ground.lastSeenAt) : ground.lastSeenAt;
  const timeouts = { ...ground.timeouts, ...view.timeouts };
  const isRenewed = isTouched || !same(timeouts, ground.timeouts);
  const isOthers = !isRenewed && !same(timeouts, view.found.timeouts);
  const renewed = isRenewed ? "yes" : isOthers && view.renewed === "no" ? "maybe" : view.renewed;
  return then({ ...life, ...edited(ground, view.edits), lastSeenAt, timeouts }, { renewed });
}

/** Whether there is a difference to what the request saw: an equal value is no change. */
function changes(view: View): boolean {
  return (
    !same(view.data, view.found.data) ||
    !same(view.flash, view.found.flash) ||
    !same({ ...view.found.timeouts, ...view.timeouts }, view.found.timeouts)
  );
}

function isTouchDue(view: View, now: number): boolean {
  const { idle } = { ...view.found.timeouts, ...view.timeouts };
  const interval = idle === undefined ? TOUCH : idle / 10;
  return view.isTouched || now - view.found.lastSeenAt >= interval * 1000;
}

/** Makes the calls that follow, if they can have answered what they did. */
function goOn(world: World, who: string, calls: readonly Observed[], times: readonly number[]): World[] {
  const view = viewOf(world, who);
  for (const { call, tag, answer } of calls) {
    const expected = perform(view, call, tag);
    if (call.call === "info" ? !fits(answer, view, times) : !same(answer, expected)) return [];
  }
  return [{ ...world, views: { ...world.views, [who]: view } }];
}

/** Makes a call, and tells what it must answer. */
function perform(view: View, call: Call, tag: string): unknown {
  switch (call.call) {
    case "get":
      return read(view, call.key) ?? null;
    case "pull": {
      const value = read(view, call.key) ?? null;
      remove(view, call.key);
      return value;
    }
    case "has":
      return visibleFlash(view, call.key) !== undefined || call.key in view.data;
    case "keys":
      return visibleKeys(view);
    case "all":
      return Object.fromEntries(visibleKeys(view).map((key) => [key, read(view, key) ?? null]));
    case "set":
      return put(view, { edit: "set", key: call.key, value: call.isOwn ? tag : "common" });
    case "delete":
      return remove(view, call.key);
    case "clear":
      Object.assign(view, { shown: {}, consumed: [], ahead: [] });
      return record(view, { edit: "clear" });
    case "count":
      record(view, { edit: "count" });
      return view.data["n"];
    case "count twice":
      record(view, { edit: "count" });
      record(view, { edit: "count" });
      return [Number(view.data["n"]) - 1, view.data["n"]];
    case "append":
      record(view, { edit: "append", value: tag });
      return view.data["list"];
    case "mutate": {
      const box = view.data["box"];
      const value = [...(Array.isArray(box) ? box : []), tag];
      put(view, { edit: "set", key: "box", value });
      return value;
    }
    case "flash":
      view.ahead.push(call.key);
      return record(view, { edit: "flash", key: call.key, value: tag });
    case "keepFlash":
      return keep(view);
    case "start":
      if (view.life === null) view.isStarted = true;
      return idOf(view);
    case "id":
      return idOf(view);
    case "destroy":
      return end(view);
    case "regenerate":
      if (view.life === null) return null;
      view.rotation = {
        grace: call.grace,
        reauthenticated: call.reauthenticated || view.rotation?.reauthenticated === true,
      };
      return null;
    case "touch":
      view.isTouched = true;
      return null;
    case "setTimeouts": {
      const { call: _, ...timeouts } = call;
      view.timeouts = { ...view.timeouts, ...timeouts };
      return null;
    }
    default:
      return null;
  }
}

/** Whether `info()` may have answered this. */
function fits(answer: unknown, view: View, times: readonly number[]): boolean {
  const isNew = view.isNew;
  const exists = view.life !== null || view.isStarted || Object.keys({ ...view.data, ...view.flash }).length > 0;
  if (!exists) return same(answer, { isNew, createdAt: null, lastSeenAt: null });
  if (view.life === null) return times.some((now) => same(answer, { isNew, createdAt: now, lastSeenAt: now }));
  return same(answer, { isNew, createdAt: view.found.createdAt, lastSeenAt: view.found.lastSeenAt });
}

function idOf(view: View): string | null {
  if (view.life !== null && view.rotation === null) return view.heldId;
  const exists = view.life !== null || view.isStarted || Object.keys({ ...view.data, ...view.flash }).length > 0;
  if (!exists) return null;
  return (view.nextId ??= view.ids[view.minted++] ?? "");
}

function mint(view: View): string {
  return view.nextId ?? view.ids[view.minted++] ?? "";
}

function end(view: View): null {
  const doomed = view.life ?? view.refused;
  if (doomed !== null) view.doomed.push(doomed);
  if (view.presented !== null || view.life !== null) view.hasEnded = true;
  Object.assign(view, {
    life: null,
    refused: null,
    heldId: null,
    found: NOTHING_FOUND,
    data: {},
    flash: {},
    isNew: true,
    nextId: null,
    shown: {},
    consumed: [],
    ahead: [],
    edits: [],
    rotation: null,
    timeouts: null,
    isStarted: false,
    isTouched: false,
  });
  return null;
}

function put(view: View, edit: Edit & { key: string }): null {
  yieldTo(view, edit.key);
  return record(view, edit);
}

function remove(view: View, key: string): null {
  view.ahead = view.ahead.filter((each) => each !== key);
  return put(view, { edit: "remove", key });
}

/** A flash value that may be seen makes room for what is written under its key. */
function yieldTo(view: View, key: string): void {
  delete view.shown[key];
  view.consumed = view.consumed.filter((each) => each !== key);
  if (!view.ahead.includes(key)) record(view, { edit: "drop flash", key });
}

function visibleFlash(view: View, key: string): Json | undefined {
  return view.shown[key] ?? (view.ahead.includes(key) ? undefined : view.flash[key]);
}

function visibleKeys(view: View): string[] {
  const all = [...Object.keys(view.data), ...Object.keys(view.shown), ...Object.keys(view.flash)];
  return [...new Set(all)].filter((key) => key in view.data || visibleFlash(view, key) !== undefined).sort();
}

function read(view: View, key: string): Json | undefined {
  const flash = visibleFlash(view, key);
  if (flash === undefined) return view.data[key];
  if (!(key in view.shown) && !view.keepsAll) view.consumed.push(key);
  view.shown[key] = flash;
  return flash;
}

function keep(view: View): null {
  view.keepsAll = true;
  for (const [key, value] of Object.entries(view.shown)) {
    if (view.ahead.includes(key)) continue;
    const isStored = !view.consumed.includes(key);
    view.consumed = view.consumed.filter((each) => each !== key);
    if (isStored) record(view, { edit: "flash", key, value });
  }
  return null;
}

function record(view: View, edit: Edit): null {
  view.edits.push(edit);
  Object.assign(view, edited(view, [edit]));
  return null;
}

function edited(contents: Contents, edits: readonly Edit[]): Contents {
  const data = { ...contents.data };
  const flash = { ...contents.flash };
  for (const edit of edits) {
    switch (edit.edit) {
      case "set":
        data[edit.key] = edit.value;
        break;
      case "remove":
        delete data[edit.key];
        break;
      case "flash":
        flash[edit.key] = edit.value;
        break;
      case "drop flash":
        delete flash[edit.key];
        break;
      case "drop flash if":
        if (flash[edit.key] === edit.value) delete flash[edit.key];
        break;
      case "count":
        data["n"] = Number(data["n"] ?? 0) + 1;
        break;
      case "append":
        data["list"] = [...(Array.isArray(data["list"]) ? data["list"] : []), edit.value];
        break;
      case "clear":
        return edited({ data: {}, flash: {} }, edits.slice(edits.indexOf(edit) + 1));
    }
  }
  return { data, flash };
}

/** The request goes on from its session as it is now. */
function settled(world: World, who: string, view: View): World {
  const life = world.lives[view.life ?? -1];
  if (life === undefined) return { ...world, views: { ...world.views, [who]: view } };
  const { data, flash, createdAt, since, lastSeenAt, timeouts } = life;
  const found = { data, flash, createdAt, since, lastSeenAt, timeouts };
  return { ...world, views: { ...world.views, [who]: { ...view, heldId: currentId(life), found, data, flash } } };
}

/** A copy of what a request knows, which may be changed. */
function viewOf(world: World, who: string): View {
  const view = world.views[who];
  if (view === undefined) throw new Error(`${who} has not looked`);
  return structuredClone(view);
}

/** Whether two values are equal, whatever the order of their keys. */
function same(left: unknown, right: unknown): boolean {
  return JSON.stringify(left, sortedKeys) === JSON.stringify(right, sortedKeys);
}

function sortedKeys(_key: string, value: unknown): unknown {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).sort(([left], [right]) => (left < right ? -1 : 1)));
}

const NOTHING_FOUND: View["found"] = { data: {}, flash: {}, createdAt: 0, since: 0, lastSeenAt: 0, timeouts: {} };
const NOTHING_WANTED: Pick<View, "edits" | "rotation" | "timeouts" | "isStarted" | "isTouched" | "doomed"> = {
  edits: [],
  rotation: null,
  timeouts: null,
  isStarted: false,
  isTouched: false,
  doomed: [],
};
