import { type Evidence, isClean, lastOf } from "./evidence.ts";
import type { Sent, State } from "./history.ts";
import { TOUCH } from "./program.ts";

/** The promises about how long a session lives, and who may end it. */
export function* endings(evidence: Evidence): Generator<string> {
  yield* lifetimes(evidence);
  yield* losses(evidence);
  if (!evidence.hasRevocation) return;
  yield* ends(evidence);
  yield* retiredIds(evidence);
  yield* winners(evidence);
}

/** Requests that found a session, with the request that told their cookie. */
function* readers(
  evidence: Evidence,
): Generator<{ readonly reader: Sent; readonly teller: Sent; readonly life: number }> {
  for (const reader of evidence.history.sent) {
    const teller = evidence.tellerOf(reader);
    if (reader.found?.life !== undefined && teller !== undefined) yield { reader, teller, life: reader.found.life };
  }
}

/** docs/cookie-sessions.md: "The server checks the idle and the absolute timeout by the times inside the cookie, however long a client keeps it." */
function* lifetimes(evidence: Evidence): Generator<string> {
  const { sent } = evidence.history;
  for (const { reader, teller, life } of readers(evidence)) {
    const states = evidence.statesOf(teller);
    const idle = Math.max(...states.map((each) => each.idle));
    const absolute = Math.max(...states.map((each) => each.absolute));
    const pause = (reader.begunTime - teller.endedTime) / 1000;
    if (pause > idle + evidence.skew)
      yield `the request ${reader.who} finds a session that was last used ${pause} s ago`;
    const begun = sent.find(({ number }) => number === life);
    const age = (reader.begunTime - (begun?.endedTime ?? 0)) / 1000;
    if (age > absolute + evidence.skew) yield `the request ${reader.who} finds a session that began ${age} s ago`;
  }
}

/**
 * docs/cookie-sessions.md: the client "can present each copy that it was given until that copy expires". Only an end or a new id can end it earlier, and only
 * with a revocation store.
 */
function* losses(evidence: Evidence): Generator<string> {
  for (const reader of evidence.history.sent) {
    const teller = evidence.tellerOf(reader);
    const isUnknown = reader.faults > 0 && !reader.events.some(({ type }) => type === "rejected");
    if (teller === undefined || reader.found !== null || reader.left.length === 0 || isUnknown) continue;
    const [state] = evidence.statesOf(teller).slice(-1);
    if (state === undefined || mayBeOver(evidence, reader, teller, state)) continue;
    if (!(evidence.hasRevocation && mayBeEnded(evidence, reader, teller)))
      yield `the request ${reader.who} does not find the session in the cookie that ${teller.who} told`;
  }
}

/** Whether a cookie may have expired by some clock. docs/options.md: "between idle − touchInterval and idle after its last use". */
function mayBeOver({ skew, history }: Evidence, reader: Sent, teller: Sent, { idle, absolute, data }: State): boolean {
  const touch = Math.max(TOUCH, idle / 10);
  const begun = history.sent.find(({ number }) => number === data.life);
  const [pause, age] = [teller, begun].map((each) => (reader.begunTime - (each?.begunTime ?? 0)) / 1000);
  return (pause ?? 0) >= idle - touch - skew || (age ?? 0) >= absolute - skew;
}

const ENDS: ReadonlySet<string> = new Set(["log out", "start over", "log in", "renew", "renew, save and fail"]);

/** Whether another request may have ended the session of a cookie, or replaced its id. */
function mayBeEnded(evidence: Evidence, reader: Sent, teller: Sent): boolean {
  const lives = new Set(
    evidence.statesOf(teller).flatMap(({ data: { life } }) => (life === undefined ? [] : evidence.sessionOf(life))),
  );
  return evidence.history.sent.some((each) => {
    if (each === reader || each === teller || each.begunAt > reader.endedAt) return false;
    // A copy that was told during a grace ends with the grace.
    const hasGrace = "grace" in each.act && each.act.grace > 0;
    if (lastOf(each) < teller.begunAt && !hasGrace) return false;
    const other = evidence.tellerOf(each);
    const isSame = other !== undefined && evidence.statesOf(other).some(({ data: { life = 0 } }) => lives.has(life));
    if (!isSame && !lives.has(each.number)) return false;
    const isRenewed = each.events.some(({ type, reason }) => type === "regenerated" || reason === "reuse");
    const mayRenew = evidence.history.program.setting.rotateEvery !== null && !isClean(each);
    // A session that is put back is as it was.
    const isPutBack = each.outcome === "failed on purpose" && each.faults === 0 && each.endedAt < reader.begunAt;
    return !isPutBack && (ENDS.has(each.act.does) || isRenewed || mayRenew);
  });
}

/** docs/cookie-sessions.md: "A session that was ended is rejected as soon as the store shows it, whichever copy the client presents." */
function* ends(evidence: Evidence): Generator<string> {
  for (const each of evidence.history.sent) {
    const { act, outcome, found, events } = each;
    if (outcome !== "answered" || (act.does !== "log out" && act.does !== "start over") || found?.life === undefined)
      continue;
    if (!events.some(({ type }) => type === "destroyed")) continue;
    for (const { reader, life } of readers(evidence))
      if (reader.begunAt > each.endedAt && evidence.sessionOf(found.life).includes(life))
        yield `the request ${reader.who} finds the session ${life} after ${each.who} has ended it`;
  }
}

/** SECURITY.md: with a revocation store, "an id that was regenerated" is rejected. docs/cookie-sessions.md: "During the grace" "the old copy can be read". */
function* retiredIds(evidence: Evidence): Generator<string> {
  for (const { by, id, grace } of evidence.renewals) {
    if (by.outcome !== "answered" || id === null || grace === null) continue;
    // Then the grace may be that of a renewal by age.
    if (grace > 0 && evidence.history.program.setting.rotateEvery !== null) continue;
    for (const { reader } of readers(evidence))
      if (
        evidence.idOf(reader) === id &&
        reader.begunAt > by.endedAt &&
        (grace === 0 || reader.begunTime > by.endedTime + (grace + evidence.skew) * 1000)
      )
        yield `the request ${reader.who} opens a session with an id that ${by.who} has retired`;
  }
}

/** docs/cookie-sessions.md: "Of two requests that regenerate one session, one wins." */
function* winners({ renewals, history }: Evidence): Generator<string> {
  // docs/login.md: after a renewal by age, a login "renews the id once more".
  if (history.program.setting.rotateEvery !== null) return;
  for (const one of renewals)
    for (const other of renewals)
      if (
        one.id !== null &&
        one.id === other.id &&
        one.by.number < other.by.number &&
        isClean(one.by) &&
        isClean(other.by)
      )
        yield `the requests ${one.by.who} and ${other.by.who} both renew one id`;
}
