import { isClean, type Sent } from "./history.ts";
import { areClocksRight, BROWSERS, IDLE, OWNERS, type Setting, type Visit } from "./program.ts";

/** A visit, and the requests that it led to. */
interface Played {
  readonly visit: Visit;
  readonly sent: readonly Sent[];
}

/** In milliseconds: the idle timeout, less what clocks and a late note of the last use can take from it. */
const IDLE_AT_LEAST = (IDLE - 1500) * 1000;
const CHANGES_ID: ReadonlySet<string> = new Set(["log in", "log out", "renew"]);

/**
 * The login that each owner must find, as long as that is certain. It is not certain after a login, a logout or a new id whose response was lost or that
 * met another request of the owner, and after a lost answer to a registration (docs/device-bound.md, Limits).
 */
export class Expectations {
  readonly #setting: Setting;
  readonly #now: () => number;
  readonly #expected: (number | undefined)[] = Array.from({ length: OWNERS }, () => undefined);
  readonly #usedAt: number[] = Array.from({ length: OWNERS }, () => 0);
  /** The logins of which the browser knows that they are bound. */
  readonly #registered = new Set<number>();

  constructor(setting: Setting, now: () => number) {
    this.#setting = setting;
    this.#now = now;
  }

  /** The login that an owner must find; undefined if that is not certain. */
  of(owner: number): number | undefined {
    if (!areClocksRight(this.#setting) || this.#now() - this.#usedAt[owner]! > IDLE_AT_LEAST) return undefined;
    return this.#expected[owner];
  }

  /** Takes what an owner has found for certain, if it was not certain before. */
  correct(owner: number, found: number | undefined): void {
    this.#use(owner, found);
    this.#expected[owner] =
      found !== undefined && (owner === BROWSERS || this.#registered.has(found)) ? found : undefined;
  }

  /** Learns from visits that have met. `held` tells the id that an owner holds now. */
  note(played: readonly Played[], held: (owner: number) => string | null): void {
    for (let owner = 0; owner < OWNERS; owner++) {
      const own = played.filter(({ visit }) => visit.by === "owner" && visit.owner === owner);
      for (const { sent } of own) {
        const begun = sent.find(({ begins }) => begins !== undefined)?.begins?.login;
        const isBound = sent.some((each) => each.path === "/dbsc/start" && each.status === 200 && isClean(each));
        if (begun !== undefined && isBound) this.#registered.add(begun);
        for (const each of sent) if (isClean(each)) this.#use(owner, each.found?.login);
      }
      const changing = own.filter(({ visit }) => visit.by === "owner" && CHANGES_ID.has(visit.act.does));
      const [only] = changing;
      if (only === undefined) continue;
      const areClean = own.every(({ sent }) => sent.every((each) => isClean(each)));
      // The response to an older request may have brought the old id back (docs/login.md).
      const isHeld = own.length === 1 || only.sent.some(({ toldId }) => toldId === held(owner));
      this.#expected[owner] = changing.length === 1 && areClean && isHeld ? this.#after(owner, only) : undefined;
    }
    for (const { visit, sent } of played) if (visit.by === "thief") this.#noteThief(visit, sent);
  }

  #after(owner: number, { visit, sent }: Played): number | undefined {
    if (visit.by !== "owner" || visit.act.does === "log out") return undefined;
    if (visit.act.does === "renew") return this.#expected[owner];
    const begun = sent.findLast(({ begins }) => begins !== undefined)?.begins?.login;
    if (begun !== undefined) this.#usedAt[owner] = this.#now();
    return begun !== undefined && (owner === BROWSERS || this.#registered.has(begun)) ? begun : undefined;
  }

  /** docs/device-bound.md, "The first minutes": a thief whose copies are fresh acts as the owner, and may be told a new id. */
  #noteThief(visit: Visit, sent: readonly Sent[]): void {
    const isRenewing = sent.some(({ path }) => path === "/renew") || this.#setting.rotateEvery !== null;
    for (let owner = 0; owner < OWNERS; owner++) {
      const isIn = sent.some(({ found }) => found !== undefined && found.login === this.#expected[owner]);
      const hasBound = sent.some(({ path, status, dpop, found }) =>
        owner === BROWSERS ? found !== undefined && dpop !== null : path === "/dbsc/start" && status === 200,
      );
      if ((isIn && isRenewing) || hasBound) this.#expected[owner] = undefined;
    }
    if (visit.by === "thief" && visit.deed.does === "plant") this.#expected[visit.deed.owner] = undefined;
  }

  #use(owner: number, found: number | undefined): void {
    if (found !== undefined && found === this.#expected[owner]) this.#usedAt[owner] = this.#now();
  }
}
