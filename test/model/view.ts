import { type Contents, type Edit, edited, type Json, same } from "./contents.ts";
import type { Call } from "./program.ts";

/** Timeouts of one session, in seconds. */
export interface OwnTimeouts {
  idle?: number;
  absolute?: number;
}

/** A session as a request has found it or stored it. Instants in milliseconds. */
export interface FoundState extends Contents {
  createdAt: number;
  since: number;
  lastSeenAt: number;
  timeouts: OwnTimeouts;
}

/** What one request knows and has changed since it looked at its session. */
export interface View extends Contents {
  readonly presented: string | null;
  /** The ids that were generated for this request, and how many of them it has used. */
  readonly ids: readonly string[];
  minted: number;
  nextId: string | null;
  life: number | null;
  /** The session that the presented id gave before it was rejected. A logout still ends that session. */
  refused: number | null;
  /** Why the presented id gives no session: it ended for good, it was retired some time ago, or it was retired just now. */
  rejected: "final" | "retired" | "replaced" | null;
  isAuthenticated: boolean;
  heldId: string | null;
  /** The process that serves the request. */
  readonly process: string;
  /** The ids to which other requests of this process have followed the held id, while this request was under way. */
  followedTo: readonly string[];
  found: FoundState;
  edits: Edit[];
  /** Lists that the handler has received. It always gets the same object, and a change in place is stored. */
  tracked: Record<string, Json>;
  shown: Record<string, Json>;
  consumed: string[];
  ahead: string[];
  keepsAll: boolean;
  rotation: { grace: number; reauthenticated: boolean } | null;
  timeouts: OwnTimeouts | null;
  isStarted: boolean;
  isTouched: boolean;
  isNew: boolean;
  /** The sessions that the request has destroyed, each with the id from which on it ends. */
  doomed: { life: number; from: string }[];
  hasDestroyed: boolean;
  hasEnded: boolean;
  /** Whether the response must send the cookie again. "maybe": both are correct, because another request has made the same change. */
  renewed: "yes" | "no" | "maybe";
  /** The session before this request has retired its id without grace. */
  retired: { readonly id: string; readonly state: FoundState } | null;
}

/** A call, and its result. */
export interface Observed {
  readonly call: Call;
  /** The unique value that it wrote, if it wrote one. */
  readonly tag: string;
  /** Whether it was made before the session was loaded. */
  readonly isEarly: boolean;
  readonly answer: unknown;
}

export const NOTHING_FOUND: FoundState = { data: {}, flash: {}, createdAt: 0, since: 0, lastSeenAt: 0, timeouts: {} };

export const NOTHING_WANTED: Pick<View, "edits" | "rotation" | "timeouts" | "isStarted" | "isTouched" | "doomed"> = {
  edits: [],
  rotation: null,
  timeouts: null,
  isStarted: false,
  isTouched: false,
  doomed: [],
};

/** Makes a call that stores nothing, and returns the result that it must have. */
export function perform(view: View, { call, tag, isEarly }: Observed): unknown {
  switch (call.call) {
    case "get":
      return read(view, call.key) ?? null;
    case "pull": {
      const value = read(view, call.key) ?? null;
      remove(view, call.key, isEarly);
      return value;
    }
    case "has":
      return visibleFlash(view, call.key) !== undefined || call.key in view.data;
    case "keys":
      return visibleKeys(view);
    case "all":
      return Object.fromEntries(visibleKeys(view).map((key) => [key, show(view, key) ?? view.data[key] ?? null]));
    case "set": {
      const value = call.isOwn ? tag : "common";
      yieldTo(view, call.key, isEarly);
      return record(view, { edit: "set", key: call.key, value });
    }
    case "delete":
      return remove(view, call.key, isEarly);
    case "clear":
      Object.assign(view, { shown: {}, consumed: [], ahead: [], tracked: {} });
      return record(view, { edit: "clear" });
    case "mutate": {
      const box = read(view, "box");
      const value = [...(Array.isArray(box) ? box : []), tag];
      record(view, { edit: "set", key: "box", value });
      view.tracked = { ...view.tracked, box: value };
      return value;
    }
    case "flash":
      view.ahead.push(call.key);
      return record(view, { edit: "flash", key: call.key, value: tag });
    case "keepFlash":
      return keep(view);
    case "create":
      if (view.life === null) view.isStarted = true;
      return idOf(view);
    case "id":
      return idOf(view);
    case "destroy":
      return end(view);
    case "regenerate":
      view.isAuthenticated = true;
      if (view.life === null) return null;
      view.rotation = {
        // If it is called several times, the shortest grace counts.
        grace: Math.min(call.grace, view.rotation?.grace ?? Infinity),
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

/** Whether a call may have had this result. The result of `info()` on a new session depends on the clock. */
export function fits(view: View, observed: Observed, times: readonly number[]): boolean {
  const { call, answer } = observed;
  if (call.call !== "info") return same(answer, perform(view, observed));
  const { isNew } = view;
  if (!exists(view)) return same(answer, { isNew, createdAt: null, lastSeenAt: null });
  if (view.life === null) return times.some((now) => same(answer, { isNew, createdAt: now, lastSeenAt: now }));
  return same(answer, { isNew, createdAt: view.found.createdAt, lastSeenAt: view.found.lastSeenAt });
}

/** Whether the session exists, or will exist after the request. */
export function exists(view: View): boolean {
  return view.life !== null || view.isStarted || Object.keys({ ...view.data, ...view.flash }).length > 0;
}

/** Whether the request may begin a session. It may not replace a session that was regenerated during the request. */
export function mayBegin({ rejected, isAuthenticated, hasDestroyed }: View): boolean {
  return rejected !== "replaced" || isAuthenticated || hasDestroyed;
}

/** The next id of this request. */
export function mint(view: View): string {
  const id = view.nextId ?? view.ids[view.minted++] ?? "";
  view.nextId = null;
  return id;
}

/** Records the removal of the flash values that were shown, unless they have changed since. */
export function settleFlash(view: View): void {
  for (const key of view.consumed) {
    const value = view.shown[key];
    if (value !== undefined && !view.ahead.includes(key)) record(view, { edit: "drop flash if", key, value });
  }
  view.consumed = [];
}

/** Forgets the lists that another request has replaced in the store. */
export function dropStale(view: View): void {
  const kept = Object.entries(view.tracked).filter(([key, value]) => {
    const stored = view.data[key];
    return stored === undefined || same(stored, value);
  });
  view.tracked = Object.fromEntries(kept);
}

export function record(view: View, edit: Edit): null {
  view.edits = [...view.edits, edit];
  Object.assign(view, edited(view, [edit]));
  return null;
}

function idOf(view: View): string | null {
  if (view.life !== null && view.rotation === null) return view.heldId;
  if (!exists(view)) return null;
  if (view.life === null && !mayBegin(view)) return "gone";
  // A session whose id was told begins, even if nothing is left in it.
  if (view.life === null) view.isStarted = true;
  return (view.nextId ??= view.ids[view.minted++] ?? "");
}

function end(view: View): null {
  const doomed = view.life ?? view.refused;
  const from = view.life === null ? view.presented : view.heldId;
  if (doomed !== null && from !== null && view.doomed.length === 0) view.doomed = [{ life: doomed, from }];
  if (view.presented !== null || view.life !== null) view.hasDestroyed = true;
  Object.assign(view, {
    ...NOTHING_WANTED,
    doomed: view.doomed,
    life: null,
    refused: null,
    heldId: null,
    found: NOTHING_FOUND,
    data: {},
    flash: {},
    isNew: true,
    nextId: null,
    tracked: {},
    shown: {},
    consumed: [],
    ahead: [],
    renewed: "no",
    retired: null,
  });
  return null;
}

function remove(view: View, key: string, isEarly: boolean): null {
  view.ahead = view.ahead.filter((each) => each !== key);
  yieldTo(view, key, isEarly);
  const { [key]: _, ...tracked } = view.tracked;
  view.tracked = tracked;
  return record(view, { edit: "remove", key });
}

/** A write under the key of a visible flash value removes that value. */
function yieldTo(view: View, key: string, isEarly: boolean): void {
  delete view.shown[key];
  view.consumed = view.consumed.filter((each) => each !== key);
  if (!view.ahead.includes(key) && (isEarly || key in view.flash)) record(view, { edit: "drop flash", key });
}

function visibleFlash(view: View, key: string): Json | undefined {
  return view.shown[key] ?? (view.ahead.includes(key) ? undefined : view.flash[key]);
}

function visibleKeys(view: View): string[] {
  const all = [...Object.keys(view.data), ...Object.keys(view.shown), ...Object.keys(view.flash)];
  return [...new Set(all)].filter((key) => key in view.data || visibleFlash(view, key) !== undefined).sort();
}

function show(view: View, key: string): Json | undefined {
  const flash = visibleFlash(view, key);
  if (flash === undefined) return undefined;
  if (!(key in view.shown) && !view.keepsAll) view.consumed.push(key);
  view.shown[key] = flash;
  return flash;
}

function read(view: View, key: string): Json | undefined {
  const flash = show(view, key);
  if (flash !== undefined) return flash;
  const value = view.tracked[key] ?? view.data[key];
  if (Array.isArray(value)) view.tracked = { ...view.tracked, [key]: value };
  return value;
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
