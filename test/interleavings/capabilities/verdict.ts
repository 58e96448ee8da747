/**
 * What the requests of a program may see, with one function for each promise. `verdict_of_ends.ts` has those about ends: logouts, revocation, retired ids,
 * rotation by age, idle timeouts, and logins that must stay. `verdict_of_users.ts` has those about credentials, lists, handles and limits, and
 * `verdict_of_outages.ts` those of `onStoreError` and `persist`. A request is judged only if its result is certain: not
 * after a failed call that may or may not have been done, and not by a list where the store does not compare.
 *
 * `../sealed` judges `cookieSessions`, `../proofs` judges `deviceBound`, `dpop` and `csrfToken`, and `../exclusive.test.ts` judges `exclusive`.
 *
 * Not judged: flash values, `setTimeouts`, header clients without `dpop`, nested handlers, calls after the response, absolute timeouts, and what clients that
 * do not send the cookie of `readYourWrites` see where the store is eventually consistent.
 *
 * @module
 */
import { SessionError } from "../../../mod.ts";
import { Certainty, isClean, lastOf, overlap } from "./certainty.ts";
import { HANDLERS_COOKIE } from "./handler.ts";
import type { History, Sent } from "./history.ts";
import { ownName } from "./servers.ts";
import { outages, promptness } from "./verdict_of_outages.ts";
import { endings } from "./verdict_of_ends.ts";
import { ofUsers } from "./verdict_of_users.ts";

/** The promises that a program broke, in words. */
export function violationsIn(history: History): string[] {
  return [...new Set(everything(new Certainty(history)))];
}

function* everything(certainty: Certainty): Generator<string> {
  const { complaints, stuck } = certainty.history;
  yield* complaints;
  for (const who of stuck) yield `the request ${who} never ends`;
  yield* errors(certainty);
  yield* rejections(certainty);
  yield* forgeries(certainty);
  yield* headers(certainty);
  yield* owners(certainty);
  yield* updates(certainty);
  yield* repetitions(certainty);
  yield* values(certainty);
  yield* takenBack(certainty);
  yield* outages(certainty);
  yield* promptness(certainty);
  yield* endings(certainty);
  yield* ofUsers(certainty);
}

/** docs/errors.md: a request fails only if the store fails, if another request ends its session, or if the user has too many sessions. */
function* errors(certainty: Certainty): Generator<string> {
  for (const each of certainty.history.sent) {
    if (each.outcome === "under way") yield `the request ${each.who} is still under way`;
    if (each.outcome !== "failed" && !each.isRefused) continue;
    const code = each.isRefused ? "ERR_SESSION_LIMIT" : each.error instanceof SessionError ? each.error.code : null;
    if (code === null || !mayFail(certainty, each, code))
      yield `the request ${each.who} throws ${code ?? String(each.error)}`;
  }
}

function mayFail(certainty: Certainty, each: Sent, code: string): boolean {
  const { sent, program } = certainty.history;
  const { users, store } = program.setting;
  switch (code) {
    case "ERR_STORE":
      // docs/read-your-writes.md: a session "that neither the store nor the cookie has in full, fails with `ERR_STORE`".
      return each.faults > 0 || store === "eventual";
    case "ERR_STORE_TIMEOUT":
    case "ERR_CONFLICT":
      return each.faults > 0;
    case "ERR_SESSION_GONE":
      return each.faults > 0 || store === "eventual" || sent.some((other) => overlap(each, other));
    case "ERR_SESSION_LIMIT": {
      const { act } = each;
      const user = act.does === "log in" ? act.user : act.does === "change the password" ? each.found?.user : undefined;
      if (user === undefined || users === null || users.limit === null || users.onLimit !== "refuse") return false;
      const others = certainty.all("begin").filter(({ by, deed }) => deed.user === user && by.begunAt < each.endedAt);
      return others.filter(({ by }) => by !== each).length >= users.limit;
    }
    default:
      return false;
  }
}

/** docs/signed-ids.md, docs/encryption.md: what servers of one program have made is neither forged nor corrupt. */
function* rejections({ history }: Certainty): Generator<string> {
  const { rounds, setting } = history.program;
  const { users, sweeping } = setting;
  const never = new Set(["malformed", "forged", "corrupt", "misplaced", "newer", "schema", "ambiguous", "proof"]);
  if (users?.hasVersions !== true) never.add("credentials");
  // After a migration, an engine that removes nothing still has the markers of sessions that ended in it, until `prune()`.
  if (sweeping === "never" && rounds.some(({ phase }) => phase === "end")) never.delete("corrupt");
  for (const { who, events, presents } of history.sent) {
    if (presents === "forged copy") continue;
    for (const { type, reason = "" } of events)
      if (type === "ambiguous" || never.has(reason)) yield `the session of the request ${who} is rejected: ${reason}`;
  }
}

/** docs/signed-ids.md: a token whose signature is wrong is rejected with the reason `forged`. Without signed ids, no session has such an id. */
function* forgeries({ history }: Certainty): Generator<string> {
  for (const { who, presents, found, outcome, events } of history.sent) {
    if (presents !== "forged copy" || outcome !== "answered") continue;
    if (found) yield `the request ${who} opens a session`;
    const isForged = events.some(({ reason }) => reason === "forged");
    if (isForged !== history.program.setting.signedIds)
      yield `the request ${who} is ${isForged ? "" : "not "}rejected as forged`;
  }
}

/** README.md: "The cookie arrives". docs/plugins.md: `respond` is "called for each request whose session was used". */
function* headers({ history }: Certainty): Generator<string> {
  const { ownPlugins } = history.program.setting;
  for (const { who, headers: all, isRefused, told, events, faults } of history.sent) {
    if (all === undefined) continue;
    const names = all.getSetCookie().map((line) => line.slice(0, line.indexOf("=")));
    if (new Set(names).size < names.length) yield `the response to ${who} sets a cookie twice: ${names.join(", ")}`;
    if (!isRefused && !all.getSetCookie().includes(HANDLERS_COOKIE))
      yield `the response to ${who} lacks the handler's cookie`;
    if (told !== null && !(all.get("Cache-Control") ?? "").includes("no-store"))
      yield `the response to ${who} sets the session cookie and may be cached`;
    const isGone = events.some(({ type }) => type === "gone");
    for (let own = 0; own < ownPlugins; own++)
      if (!all.has(ownName(own)) && !isGone && faults === 0)
        yield `the response to ${who} lacks the header of ${ownName(own)}`;
  }
}

/** docs/sessions.md: a session belongs to the client that began it. */
function* owners(certainty: Certainty): Generator<string> {
  for (const { reader, found } of certainty.readers)
    if (found.browser !== reader.browser)
      yield `the request ${reader.who} finds the session of browser ${found.browser}`;
}

/** README.md: "Two that `update` one key both count". docs/read-your-writes.md: "A client sees its own writes in every place". */
function* updates(certainty: Certainty): Generator<string> {
  for (const { reader, found } of certainty.readers) {
    for (const each of certainty.doneTo("add", found.life)) {
      if (certainty.mustSee(reader, each) && !found.added.includes(each.by.number))
        yield `the request ${reader.who} does not see what ${each.by.who} added`;
    }
  }
}

/** README.md: each update "gets the value that was stored", so it is stored once. */
function* repetitions(certainty: Certainty): Generator<string> {
  for (const { reader, found } of certainty.readers) {
    const twice = found.added.filter((number, at) => found.added.indexOf(number) < at);
    for (const number of twice) {
      const by = certainty.history.sent.find((each) => each.number === number);
      if (certainty.isComparing || (by !== undefined && isClean(by)))
        yield `the request ${reader.who} sees twice what ${by?.who} added`;
    }
  }
}

/** README.md: "Two requests that change different keys both win". docs/read-your-writes.md: "The last change of each key counts." */
function* values(certainty: Certainty): Generator<string> {
  for (const { reader, found } of certainty.readers) {
    for (const key of ["left", "right"] as const) {
      const seen = certainty.history.sent.find(({ number }) => number === reader.values[key]);
      for (const each of certainty.doneTo("set", found.life)) {
        if (each.deed.key !== key || each.by === seen || !certainty.mustSee(reader, each)) continue;
        if (seen === undefined) yield `the request ${reader.who} does not see the ${key} that ${each.by.who} set`;
        else if (lastOf(seen) < each.by.begunAt)
          yield `the request ${reader.who} sees the ${key} of ${seen.who}, which ${each.by.who} has replaced`;
      }
    }
  }
}

/** docs/login.md: no response tells the new id if "the handler threw after `save()`. Without a grace, the old session is then put back." */
function* takenBack({ history, isComparing }: Certainty): Generator<string> {
  for (const {
    who,
    values: { doomed },
  } of history.sent) {
    const by = history.sent.find(({ number }) => number === doomed);
    if (by !== undefined && isComparing && by.outcome === "failed on purpose" && by.faults === 0)
      yield `the request ${who} sees a change of ${by.who}, which failed`;
  }
}
