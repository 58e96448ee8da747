import { type Certainty, lastOf, overlap } from "./certainty.ts";
import { IDLE } from "./program.ts";

/** The promises of `userSessions` about credentials, lists, handles and limits. */
export function* ofUsers(certainty: Certainty): Generator<string> {
  yield* credentials(certainty);
  // docs/user-sessions.md: without compare-and-set, a list "can lose an entry", "and the limit is not exact".
  if (!certainty.isComparing) return;
  yield* lists(certainty);
  yield* handles(certainty);
  yield* limits(certainty);
}

/** docs/user-sessions.md: "A session with another version is rejected", also "when a list was lost, and on eventually consistent stores". */
function* credentials(certainty: Certainty): Generator<string> {
  const { users } = certainty.history.program.setting;
  if (users?.hasVersions !== true) return;
  for (const { reader, found } of certainty.readers) {
    const binding = certainty.beginningOf(found.life)?.by;
    for (const { by, deed } of certainty.all("change the password")) {
      if (deed.user !== found.user || deed.life === found.life || deed.begunAt > reader.begunAt) continue;
      if (binding !== undefined && lastOf(binding) < deed.begunAt)
        yield `the request ${reader.who} finds the session ${found.life} although ${by.who} has changed the password`;
    }
  }
}

/** docs/user-sessions.md: `list` shows the sessions of the user. */
function* lists(certainty: Certainty): Generator<string> {
  const { listings, rounds, sent } = certainty.history;
  for (const { at, user, handles: listed } of listings) {
    const since = rounds.findLast((each) => each.at < at)?.at ?? 0;
    for (const { isAudit, begunAt, endedAt, found, handle } of sent) {
      if (!isAudit || !found || handle === undefined || handle === null || begunAt < since || endedAt > at) continue;
      if (found.user === user && !listed.includes(handle)) yield `the session ${found.life} of ${user} is not listed`;
      if (found.user !== user && listed.includes(handle)) yield `the session ${found.life} is listed for ${user}`;
    }
  }
}

/** docs/user-sessions.md: a handle "stays the same when the id changes". A session of a user has one. */
function* handles(certainty: Certainty): Generator<string> {
  const known = new Map<number, string>();
  for (const { reader, found } of certainty.readers) {
    const { handle } = reader;
    if (handle === undefined) continue;
    if ((handle === null) !== (found.user === null))
      yield `the handle of ${reader.who}, session ${found.life}, is ${handle}`;
    if (handle === null) continue;
    if ((known.get(found.life) ?? handle) !== handle) yield `the session ${found.life} has got another handle`;
    known.set(found.life, handle);
  }
}

/** docs/user-sessions.md: `limit` is how many sessions a user may have. */
function* limits(certainty: Certainty): Generator<string> {
  const { listings, program, sent } = certainty.history;
  const limit = program.setting.users?.limit ?? null;
  if (limit === null) return;
  for (const { at, time, user, handles: listed } of listings) {
    const changes = sent.filter(
      ({ deeds, begunAt }) =>
        begunAt < at &&
        deeds.some((deed) => (deed.does === "begin" || deed.does === "change the password") && deed.user === user),
    );
    // A login that failed half-way may not have ended others. docs/user-sessions.md: nor a login while a password changes.
    const isDoubtful = changes.some(
      (each) =>
        each.faults > 0 ||
        each.outcome === "crashed" ||
        (each.act.does === "change the password" && changes.some((other) => overlap(each, other))),
    );
    // By some of the clocks, a session can have expired.
    const mayExpire = changes.some(({ begunTime }) => time - begunTime >= (IDLE - certainty.skew) * 1000);
    if (!isDoubtful && !(certainty.skew > 0 && mayExpire) && listed.length > limit)
      yield `${user} has ${listed.length} sessions, and the limit is ${limit}`;
  }
}
