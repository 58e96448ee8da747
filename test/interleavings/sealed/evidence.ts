import type { History, Sent, State } from "./history.ts";
import type { ClockPlan } from "../../setup/clocks.ts";
import { MAX_CLOCK_ERROR } from "../../setup/clocks.ts";

/** A renewal of the id under which a cookie was sealed. */
export interface Renewal {
  readonly by: Sent;
  /** The id that was replaced. */
  readonly id: number | null;
  /** In seconds; null for a renewal by age. */
  readonly grace: number | null;
}

/** What is known of each cookie of a program. An id is named by the request that made it; null if it is unknown. */
export class Evidence {
  readonly history: History;
  /** How far the clocks of the servers can be apart, in seconds. */
  readonly skew: number;
  readonly hasRevocation: boolean;
  readonly renewals: readonly Renewal[];
  readonly #tellers = new Map<string, Sent>();
  readonly #ids = new Map<string, number | null>();

  constructor(history: History) {
    this.history = history;
    const { clocks, revocation } = history.program.setting;
    this.skew = skewOf(clocks);
    this.hasRevocation = revocation !== null;
    const renewals: Renewal[] = [];
    for (const sent of history.sent.toSorted((one, other) => one.endedAt - other.endedAt)) {
      const id = this.idOf(sent);
      const isRenewed = sent.events.some(({ type }) => type === "regenerated");
      const grace = graceOf(sent);
      if (isRenewed) renewals.push({ by: sent, id, grace });
      if (sent.told === null || sent.told === "over" || this.#tellers.has(sent.told.token)) continue;
      this.#tellers.set(sent.told.token, sent);
      const isNew = isRenewed || sent.events.some(({ type }) => type === "created");
      // After a renewal by age, a change that comes with an older copy gets the new id.
      const mayFollow = renewals.some((each) => each.grace === null && each.id === id);
      this.#ids.set(sent.told.token, isNew ? sent.number : mayFollow ? null : id);
    }
    this.renewals = renewals;
  }

  /** The request whose response gave the cookie that a request presents. */
  tellerOf({ presented }: Sent): Sent | undefined {
    return presented === null ? undefined : this.#tellers.get(presented.token);
  }

  /** The id of the cookie that a request presents. */
  idOf({ presented }: Sent): number | null {
    return presented === null ? null : (this.#ids.get(presented.token) ?? null);
  }

  /** What the cookie that a response has set may hold. */
  statesOf(teller: Sent): readonly State[] {
    const { left, isDone, faults, events } = teller;
    const isSure = isDone && faults === 0 && !events.some(({ type }) => type === "gone");
    const states = isSure ? left.slice(-1) : left;
    return states.filter((each) => each !== null);
  }

  /** A life, and the lives that were signed in over in the same session. */
  sessionOf(life: number): number[] {
    const by = this.history.sent.find(({ number }) => number === life);
    const before = by?.act.does === "log in" ? by.found?.life : undefined;
    return before === undefined ? [life] : [life, ...this.sessionOf(before)];
  }
}

/** How far clocks can be apart, in seconds. */
function skewOf(clocks: readonly ClockPlan[]): number {
  if (clocks.some(({ drift, back }) => drift !== 0 || back !== null)) return 2 * MAX_CLOCK_ERROR;
  const ahead = clocks.map((clock) => clock.ahead);
  return Math.max(...ahead, 0) - Math.min(...ahead, 0);
}

function graceOf({ act }: Sent): number | null {
  if (act.does === "renew" || act.does === "log in") return act.grace;
  return act.does === "renew, save and fail" ? 0 : null;
}

/** Whether a request was answered, and neither the store, the server nor the network failed. */
export function isClean({ outcome, faults, heardAt }: Sent): boolean {
  return outcome === "answered" && faults === 0 && heardAt < Infinity;
}

/** When a browser or a server had last to do with a request. The command of a crashed server may arrive at any time. */
export function lastOf({ heardAt, endedAt, outcome, faults }: Sent): number {
  if (heardAt < Infinity) return heardAt;
  return outcome === "crashed" || faults > 0 ? Infinity : endedAt;
}
