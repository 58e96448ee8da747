import { type Certainty, type Done, isClean, lastOf, overlap } from "./certainty.ts";
import type { Deed, Sent } from "./history.ts";
import { IDLE, TOUCH, type User } from "./program.ts";

/** The promises about how long a session lives, and who may end it. */
export function* endings(certainty: Certainty): Generator<string> {
  yield* ends(certainty);
  yield* retiredIds(certainty);
  yield* logoutsWithOldIds(certainty);
  yield* rotations(certainty);
  yield* reuses(certainty);
  yield* lifetimes(certainty);
  yield* logins(certainty);
}

/** README.md: "A slow request cannot bring back a session that another request has ended." docs/user-sessions.md: `revoke`, `revokeAll`, `revokeBy`. */
function* ends(certainty: Certainty): Generator<string> {
  for (const { reader, found } of certainty.readers) {
    for (const each of certainty.done) {
      if (!certainty.mustSee(reader, each) || !doesEnd(certainty, each, found.life)) continue;
      // docs/user-sessions.md: where the store does not compare, a list can lose an entry. A logout needs no list.
      if (!certainty.isComparing && each.by.act.does !== "log out" && each.by.act.does !== "start over") continue;
      yield `the request ${reader.who} finds the session ${found.life} after ${each.by.who} has ended it`;
    }
  }
}

/** Whether something ends a life for certain. */
function doesEnd(certainty: Certainty, { deed }: Done, life: number): boolean {
  switch (deed.does) {
    case "end":
      return deed.life === life;
    case "end the handle":
      return certainty.readers.some(({ reader, found }) => reader.handle === deed.handle && found.life === life);
    case "end all":
      return (
        !certainty.sessionOf(life).includes(deed.spares ?? 0) && certainty.livesOf(deed.user, deed.begunAt).has(life)
      );
    default:
      return false;
  }
}

/** docs/login.md: "`regenerate()` without `grace`: the old id never opens the session again." With a grace, it does so "until the grace ends". */
function* retiredIds(certainty: Certainty): Generator<string> {
  for (const each of certainty.all("renew")) {
    const { by, deed } = each;
    const { act } = by;
    if (by.outcome !== "answered" || by.presented === null) continue;
    // docs/login.md: of two requests, "the second one keeps the id that the first one has given". "The grace of the first one counts."
    if (deed.hasGrace && !by.events.some(({ type }) => type === "regenerated")) continue;
    const grace = deed.hasGrace && (act.does === "renew" || act.does === "log in") ? act.grace + certainty.skew : 0;
    for (const { reader } of certainty.readers)
      if (
        reader.presented === by.presented &&
        certainty.mustSee(reader, each) &&
        (grace === 0 || reader.begunTime > by.endedTime + grace * 1000)
      )
        yield `the request ${reader.who} opens a session with the id that ${by.who} has retired`;
  }
}

/** docs/login.md: "A logout with the old id or the new one ends the session for both." That holds for ten more minutes by the clock of each server. */
function* logoutsWithOldIds(certainty: Certainty): Generator<string> {
  if (!certainty.isComparing) return;
  for (const { by, deed } of certainty.all("end the old id")) {
    const renewal = certainty
      .all("renew")
      .find(
        (each) =>
          each.by.presented === by.presented &&
          each.by.outcome === "answered" &&
          each.by.endedAt < by.begunAt &&
          by.endedTime < each.by.endedTime + 590_000,
      );
    if (renewal === undefined || renewal.by.told === null || deed.ackedAt === undefined) continue;
    for (const { reader } of certainty.readers)
      if (reader.presented === renewal.by.told && reader.begunAt > deed.ackedAt)
        yield `the request ${reader.who} finds the session that ${by.who} has ended with an old id`;
  }
}

/** docs/login.md: `rotateEvery` "renews the id with the first request that uses the session after" that time. "The old id works until a minute after the client first used the new one". */
function* rotations(certainty: Certainty): Generator<string> {
  const { rotateEvery } = certainty.history.program.setting;
  // Where the store is eventually consistent, a place may not show yet that the new id was used.
  if (rotateEvery === null || !certainty.isComparing) return;
  const { sent } = certainty.history;
  for (const teller of sent) {
    const { told } = teller;
    if (told === null || told === "over") continue;
    const uses = sent.filter((each) => each.presented === told && each.found && isClean(each));
    // The first use only ends the grace of the old id.
    for (const use of uses.slice(1)) {
      if (
        use.begunTime > teller.endedTime + (rotateEvery.seconds + certainty.skew) * 1000 &&
        (use.told === null || use.told === told) &&
        ["read", "add", "set"].includes(use.act.does) &&
        !sent.some((each) => overlap(each, use))
      )
        yield `the request ${use.who} does not renew the id that ${teller.who} has told`;
    }
    const [first] = uses;
    if (first === undefined || told === teller.presented) continue;
    if (teller.deeds.some(({ does }) => does === "renew")) continue;
    for (const each of sent) {
      if (each.presented === null || each.presented !== teller.presented || !each.found) continue;
      if (certainty.mayReturn(each, teller)) continue;
      if (each.begunTime > first.endedTime + (60 + certainty.skew) * 1000)
        yield `the request ${each.who} opens a session with the id that ${teller.who} has renewed`;
    }
  }
}

/** docs/login.md: "If the old id is presented after that minute", "the session ends for both" with `onReuse: "destroy"`. */
function* reuses(certainty: Certainty): Generator<string> {
  if (!certainty.isComparing || certainty.history.program.setting.rotateEvery?.onReuse !== "destroy") return;
  for (const each of certainty.history.sent) {
    if (each.outcome !== "answered" || each.faults > 0 || !each.events.some(({ reason }) => reason === "reuse"))
      continue;
    const owner = certainty.readers.findLast(
      ({ reader }) => reader.presented === each.presented && reader.endedAt < each.begunAt,
    );
    for (const { reader, found } of certainty.readers)
      if (found.life === owner?.found.life && reader.begunAt > each.endedAt)
        yield `the request ${reader.who} finds the session ${found.life} after ${each.who} has used an old id again`;
  }
}

/** docs/options.md: a session ends when nobody has used it for `idleTimeout`, by any clock. */
function* lifetimes(certainty: Certainty): Generator<string> {
  for (const { reader, found } of certainty.readers) {
    const uses = certainty.history.sent.filter(
      (each) =>
        each !== reader &&
        each.begunAt < reader.endedAt &&
        (each.found?.life === found.life ||
          each.deeds.some((deed) => deed.does === "begin" && deed.life === found.life)),
    );
    const last = Math.max(...uses.map(({ begunTime, endedTime }) => Math.max(begunTime, endedTime)));
    if (reader.begunTime - last > (IDLE + certainty.skew) * 1000)
      yield `the request ${reader.who} finds the session ${found.life}, which nobody has used for ${(reader.begunTime - last) / 1000} s`;
  }
}

/** README.md: "An outage is no logout." No browser loses a login without a reason. */
function* logins(certainty: Certainty): Generator<string> {
  for (const audit of certainty.history.sent) {
    if (!audit.isAudit) continue;
    const login = certainty
      .all("begin")
      .findLast(({ by }) => by.browser === audit.browser && by.begunAt < audit.begunAt);
    if (login === undefined || !isKept(certainty, login, audit)) continue;
    if (audit.found?.life !== login.deed.life)
      yield `the request ${audit.who} does not find the session ${login.deed.life} that ${login.by.who} began`;
  }
}

/** What can give the browser another id, or none. */
const CHANGES_IDS: ReadonlySet<Deed["does"]> = new Set(["begin", "renew", "end"]);

function isKept(
  certainty: Certainty,
  { by, deed: { life, user, ackedAt } }: Done<Deed & { does: "begin" }>,
  audit: Sent,
): boolean {
  const { program, sent } = certainty.history;
  const { users, rotateEvery } = program.setting;
  if (!certainty.seesOwn || ackedAt === undefined || !isClean(by) || by.overtakes) return false;
  const since = sent.filter((each) => each !== by && lastOf(each) > by.begunAt && each.begunAt < audit.begunAt);
  const own = since.filter((each) => each.browser === by.browser);
  for (const each of own) {
    const changesIds = each.deeds.some(({ does }) => CHANGES_IDS.has(does));
    const isRenewal = each.act.does === "renew" || isHarmlessFailure(certainty, each);
    // A logout, another login, or a request whose response did not bring the new id.
    if (changesIds && (!isRenewal || overlap(each, by) || own.some((other) => overlap(each, other)))) return false;
    if (changesIds && !isClean(each) && !isHarmlessFailure(certainty, each)) return false;
    // The older of two new ids arrived last.
    if (each.overtakes) return false;
    // docs/read-your-writes.md: a request that fails can leave the client with less.
    if (!certainty.isComparing && !isClean(each)) return false;
    // Somebody else has ended the session, got its new id, or was taken for a thief.
    if (each.presents === "copy" && (each.told !== null || rotateEvery?.onReuse === "destroy")) return false;
    if (each.deeds.some(({ does }) => does === "end the old id")) return false;
    // SECURITY.md: if the clocks are more than a minute apart, `onReuse: "destroy"` can end the session of a client whose requests overlap.
    if (rotateEvery?.onReuse === "destroy" && (overlap(each, by) || own.some((other) => overlap(each, other))))
      return false;
  }
  const isEnded = since.some((each) =>
    each.deeds.some(
      (deed) =>
        (deed.does === "end all" && deed.user === user && deed.spares !== life) ||
        (deed.does === "end the handle" && user !== null) ||
        (deed.does === "end" && deed.life === life) ||
        (deed.does === "change the password" &&
          deed.user === user &&
          deed.life !== life &&
          users?.hasVersions === true),
    ),
  );
  // Of more logins than the limit, the oldest ends. A list of an eventually consistent store is not exact.
  const limit = users?.onLimit === "revoke-oldest" ? (users.limit ?? Infinity) : Infinity;
  const first = firstOfUser(certainty, life, user);
  const others = sent.filter(
    (each) =>
      each.browser !== by.browser &&
      lastOf(each) > first.begunAt &&
      each.begunAt < audit.begunAt &&
      each.deeds.some((deed) => deed.does === "begin" && deed.user === user),
  );
  const isPushedOut = others.length >= (certainty.isComparing ? limit : Math.min(limit, 1));
  // After a failed request that has prolonged the session but not the cookie, the next one may not prolong the cookie either.
  const told = own.findLast((each) => each.told !== null && isClean(each)) ?? by;
  if (!own.every(isClean) && audit.begunTime - told.begunTime >= IDLE * 1000) return false;
  const uses = [by, ...since.filter((each) => each.found?.life === life && isClean(each) && !isGone(each)), audit];
  const hasPaused = uses.some(
    ({ begunTime }, at) => begunTime - (uses[at - 1] ?? by).begunTime >= (IDLE - TOUCH - certainty.skew) * 1000,
  );
  return !isEnded && !(limit < Infinity && isPushedOut) && !hasPaused;
}

/** The login with which a session became one of its user. A later login of the same user leaves it in its place among the user's sessions. */
function firstOfUser(certainty: Certainty, life: number, user: User | null): Sent | { readonly begunAt: number } {
  const beginning = certainty.beginningOf(life);
  if (beginning === undefined) return { begunAt: 0 };
  const { before } = beginning.deed;
  const isSame = before !== null && certainty.beginningOf(before)?.deed.user === user;
  return isSame ? firstOfUser(certainty, before, user) : beginning.by;
}

/** A handler that fails on purpose loses nothing: the session is put back under the id that the client has. */
function isHarmlessFailure({ isComparing }: Certainty, { outcome, faults }: Sent): boolean {
  return isComparing && outcome === "failed on purpose" && faults === 0;
}

const isGone = ({ events }: Sent): boolean => events.some(({ type }) => type === "gone");
