/**
 * All contenders take turns: each round times every contender on every case once, so that a drift of the machine
 * affects all alike.
 *
 * @module
 */
import { type Case, CASES, type Contender } from "./contender.ts";

/** Microseconds for a request of one contender in one case, or the reason why there is no figure. */
export interface Cost {
  readonly contender: string;
  readonly over: string;
  readonly case: string;
  readonly microseconds?: number;
  readonly reason?: string;
}

/** One contender in one case, ready to be timed. */
export interface Lane {
  readonly contender: Contender;
  readonly case: Case;
  /** Why it cannot be measured. */
  readonly reason?: string;
  /** Sends this many requests, one after the other. */
  readonly run: (times: number) => Promise<void>;
}

/** Every contender in every case. Each is first checked to do what the case asks; otherwise a wrong answer could look fast. */
export async function lanesOf(contenders: readonly Contender[]): Promise<Lane[]> {
  const lanes: Lane[] = [];
  for (const contender of contenders) for (const each of CASES) lanes.push(await laneOf(contender, each));
  return lanes;
}

async function laneOf(contender: Contender, each: Case): Promise<Lane> {
  const reason = contender.cannot?.[each.name] ?? (await failureOf(contender, each));
  let cookie = each.hasSession && reason === undefined ? await cookieOf(contender) : undefined;
  const follows = each.name === "login";
  const run = async (times: number): Promise<void> => {
    for (let time = 0; time < times; time++) {
      const response = await contender.answer(contender.request(each.path, cookie));
      const seen = contender.seen(response);
      if (seen.status !== 200) throw new Error(`${contender.name} answered ${seen.status}`);
      // After a login, the client has a new id.
      if (follows) cookie = seen.cookie ?? cookie;
    }
  };
  return { contender, case: each, run, ...(reason !== undefined && { reason }) };
}

async function failureOf(contender: Contender, { name, path, hasSession }: Case): Promise<string | undefined> {
  try {
    if (contender.name.startsWith("bare")) return undefined;
    const first = await ask(contender, path, hasSession ? await cookieOf(contender) : undefined);
    if (path === "/idle") return first.text === "/idle" ? undefined : "it does not answer";
    if (name === "create") return first.text === "1" && first.cookie ? undefined : "it begins no session";
    const counted = path === "/write" ? "2" : "1";
    if (first.text !== counted) return `it answers ${first.text} instead of ${counted}`;
    if (path === "/read") return undefined;
    const next = await ask(contender, "/read", first.cookie ?? first.sent);
    if (next.text !== counted) return `afterwards it answers ${next.text} instead of ${counted}`;
    if (path === "/login" && (first.cookie === undefined || first.cookie === first.sent)) return "the id stays";
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message.slice(0, 120) : "it fails";
  }
}

async function ask(
  contender: Contender,
  path: Case["path"],
  cookie: string | undefined,
): Promise<{ text: string; cookie: string | undefined; sent: string | undefined }> {
  const seen = contender.seen(await contender.answer(contender.request(path, cookie)));
  return { text: await seen.text(), cookie: seen.cookie, sent: cookie };
}

async function cookieOf(contender: Contender): Promise<string | undefined> {
  return (await ask(contender, "/write", undefined)).cookie;
}

/**
 * Times requests of a lane, in milliseconds. On a runtime whose clock stands still during a request, the caller measures
 * from outside.
 */
export type Time = (lane: number, times: number) => Promise<number>;

/** How to measure lanes. */
export interface Measure {
  readonly rounds: number;
  /** The approximate number of milliseconds that a lane has in one round, and the maximum number of requests. */
  readonly share: number;
  readonly most: number;
  /**
   * How many milliseconds of warm-up come first. An engine compiles frequently called code in several steps, up to 25 000 requests
   * later.
   */
  readonly warm: number;
}

const WARM_REQUESTS = 30_000;

/** The costs of the lanes: medians of rounds. */
export async function costsOf(
  lanes: readonly Pick<Lane, "contender" | "case" | "reason">[],
  time: Time,
  { rounds, share, most, warm }: Measure,
): Promise<Cost[]> {
  const going = lanes.map((lane, index) => ({ ...lane, index, times: 10, measured: [] as number[] }));
  const able = going.filter(({ reason }) => reason === undefined);
  for (const lane of able) {
    let spent = await time(lane.index, 200);
    for (let done = 200; spent < warm && done < WARM_REQUESTS; done += 500) spent += await time(lane.index, 500);
    const took = Math.max(await time(lane.index, 100), 0.01) / 100;
    lane.times = Math.min(most, Math.max(5, Math.round(share / took)));
  }
  for (let round = -2; round < rounds; round++) {
    for (const lane of shuffled(able)) {
      // Data of the lane before, in caches and on the heap, must not count as a cost of this lane.
      await time(lane.index, Math.ceil(lane.times / 4));
      const took = await time(lane.index, lane.times);
      if (round >= 0) lane.measured.push((took / lane.times) * 1000);
    }
  }
  return going.map(({ contender: { name, over }, case: { name: caseName }, reason, measured }) => {
    const sorted = measured.sort((left, right) => left - right);
    const microseconds = sorted[sorted.length >> 1];
    const figure = microseconds === undefined ? { reason: reason ?? "not measured" } : { microseconds };
    return { contender: name, over, case: caseName, ...figure };
  });
}

/** The order changes each time, so that no lane always follows the same one. */
function shuffled<T>(list: readonly T[]): T[] {
  const keyed = list.map((item) => ({ item, key: Math.random() }));
  return keyed.sort((left, right) => left.key - right.key).map(({ item }) => item);
}
