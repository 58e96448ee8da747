import type { Deed, History, Sent, State } from "./history.ts";
import { skewOf, type User } from "./program.ts";

const WRITES: ReadonlySet<string> = new Set(["created", "changed", "touched", "regenerated", "destroyed"]);

/** A request and one thing that it did. */
export interface Done<Each extends Deed = Deed> {
  readonly by: Sent;
  readonly deed: Each;
}

/** What all requests of a program did, and which of it a reader must see. */
export class Certainty {
  readonly history: History;
  readonly isComparing: boolean;
  /** How far the clocks of the servers can be apart, in seconds. */
  readonly skew: number;
  /** Whether a client must see its own writes. */
  readonly seesOwn: boolean;
  readonly done: readonly Done[];

  constructor(history: History) {
    const { store, readYourWrites } = history.program.setting;
    this.history = history;
    this.skew = skewOf(history.program.setting);
    this.isComparing = store !== "eventual";
    this.seesOwn = this.isComparing || readYourWrites;
    this.done = history.sent.flatMap((by) => by.deeds.map((deed) => ({ by, deed })));
  }

  /** The requests that found a session. */
  get readers(): { readonly reader: Sent; readonly found: State }[] {
    return this.history.sent.flatMap((reader) => (reader.found ? [{ reader, found: reader.found }] : []));
  }

  all<Does extends Deed["does"]>(does: Does): Done<Deed & { does: Does }>[] {
    return this.done.filter((each): each is Done<Deed & { does: Does }> => each.deed.does === does);
  }

  /** Whether a request must see what another one did. */
  mustSee(reader: Sent, { by, deed }: Done): boolean {
    if (deed.ackedAt === undefined) return false;
    if (this.isComparing) return deed.ackedAt < reader.begunAt && !this.mayReturn(reader, by);
    // docs/read-your-writes.md: "It helps the client that wrote." The client does not know what a request has stored that failed, whose response was
    // lost, or that somebody else sent. Such a write counts as the later one for as long as the clocks differ and it is under way to other places.
    const hasCopied = (each: Sent): boolean =>
      each.presents !== "cookies" && each.events.some(({ type }) => WRITES.has(type));
    const isUnknown = (each: Sent): boolean => !isClean(each) || hasCopied(each);
    const all = this.history.sent.filter((each) => each.browser === by.browser);
    const doubt = (this.skew + 130) * 1000;
    const isUnclear = all.some(
      (each) => isUnknown(each) && each.begunTime > by.begunTime - doubt && each.begunAt < reader.begunAt,
    );
    // Such a write under an old id brings the old session back for good, if its place did not show the renewal yet.
    if (reader.presents !== "cookies" && all.some((each) => hasCopied(each) && each.begunAt < reader.begunAt))
      return false;
    // Of requests at once, the client may be the only one that knows all changes, for two minutes.
    const isKept = reader.begunTime < by.endedTime + 110_000 || !all.some((each) => overlap(each, by));
    return this.seesOwn && by.browser === reader.browser && by.heardAt < reader.begunAt && !isUnclear && isKept;
  }

  /**
   * Whether a request may find an older state than another one has left. The documentation of `migratingStore` has that: if a process crashed or an engine hung
   * in the middle of a move, the older state "is found again", "about twenty minutes later". By the clocks, these are ten minutes or more.
   */
  mayReturn(reader: Sent, { endedTime }: Sent): boolean {
    const { program, faults, crashes } = this.history;
    return program.setting.store === "moving" && faults + crashes > 0 && reader.begunTime > endedTime + 590_000;
  }

  /** The requests of the same browser that present its cookies. */
  own({ browser }: Sent): Sent[] {
    return this.history.sent.filter((each) => each.browser === browser && each.presents === "cookies");
  }

  /** How a life began. */
  beginningOf(life: number): Done<Deed & { does: "begin" }> | undefined {
    return this.all("begin").find(({ deed }) => deed.life === life);
  }

  /** A life, and the earlier lives of the same session. */
  sessionOf(life: number): number[] {
    const before = this.beginningOf(life)?.deed.before ?? null;
    return before === null ? [life] : [life, ...this.sessionOf(before)];
  }

  /** What was done to a life, and to earlier ones before it took over their contents. */
  doneTo<Does extends "add" | "set">(does: Does, life: number): Done<Deed & { does: Does }>[] {
    const beginning = this.beginningOf(life);
    const own = this.all(does).filter(({ deed }) => (deed as { life: number }).life === life);
    const before = beginning?.deed.keeps === true ? beginning.deed.before : null;
    if (beginning === undefined || before === null) return own;
    // A login at the same time may have cleared the session.
    const { by } = beginning;
    if (this.all("begin").some((each) => each.by.browser === by.browser && overlap(each.by, by))) return own;
    return [...this.doneTo(does, before).filter((each) => this.mustSee(beginning.by, each)), ...own];
  }

  /** The user's sessions that a server has answered with before an instant. */
  livesOf(user: User, before: number): Set<number> {
    const found = this.readers.filter(({ reader, found }) => found.user === user && reader.endedAt < before);
    const begun = this.all("begin").filter(
      ({ by, deed }) => deed.user === user && by.outcome === "answered" && !by.isRefused && by.endedAt < before,
    );
    return new Set([...found.map((each) => each.found.life), ...begun.map(({ deed }) => deed.life)]);
  }
}

/** Whether a request was answered, and neither the store, the server nor the network failed. */
export function isClean({ outcome, faults, heardAt }: Sent): boolean {
  return outcome === "not sent" || (outcome === "answered" && faults === 0 && heardAt < Infinity);
}

/** Whether two requests were under way at the same time. */
export function overlap(one: Sent, other: Sent): boolean {
  return one !== other && one.begunAt <= lastOf(other) && other.begunAt <= lastOf(one);
}

/** When a browser or a server had last to do with a request. The command of a crashed server may arrive at any time. */
export function lastOf({ heardAt, storedAt, endedAt, outcome, faults }: Sent): number {
  if (storedAt !== undefined) return Math.max(storedAt, heardAt < Infinity ? heardAt : endedAt);
  if (heardAt < Infinity) return heardAt;
  return outcome === "crashed" || faults > 0 ? Infinity : endedAt;
}
