/**
 * What the requests of a program may see, with one function for each promise. `verdict_of_ends.ts` has those about ends.
 *
 * Not judged: `update` among requests, which is not atomic here, `load: "eager"`, calls after the response, header clients, and stores for the revocation
 * that do not compare.
 *
 * @module
 */
import { isDeepStrictEqual } from "node:util";
import { SessionError } from "../../../mod.ts";
import { Evidence } from "./evidence.ts";
import type { History, Sent } from "./history.ts";
import { endings } from "./verdict_of_ends.ts";

/** The promises that a program broke, in words. */
export function violationsIn(history: History): string[] {
  return [...new Set(everything(new Evidence(history)))];
}

function* everything(evidence: Evidence): Generator<string> {
  for (const who of evidence.history.stuck) yield `the request ${who} never ends`;
  yield* errors(evidence);
  yield* rejections(evidence);
  yield* contents(evidence);
  yield* cookies(evidence);
  yield* outages(evidence);
  yield* endings(evidence);
}

/** docs/errors.md: a request fails only if the store fails, if another request ends its session, or if the session is too large for the cookie. */
function* errors({ history, hasRevocation }: Evidence): Generator<string> {
  for (const each of history.sent) {
    if (each.outcome === "under way") yield `the request ${each.who} is still under way`;
    if (each.outcome !== "failed") continue;
    const code = each.error instanceof SessionError ? each.error.code : null;
    const mayFail =
      code === "ERR_COOKIE_TOO_LARGE"
        ? !READS.has(each.act.does) && (each.act.does === "fill" || (each.found?.text?.length ?? 0) > 2000)
        : code === "ERR_SESSION_GONE"
          ? hasRevocation
          : code !== null && /^ERR_(STORE|STORE_TIMEOUT|CONFLICT)$/.test(code) && each.faults > 0;
    if (!mayFail) yield `the request ${each.who} throws ${code ?? String(each.error)}`;
  }
}

/** What makes no session larger. */
const READS: ReadonlySet<string> = new Set(["read", "touch", "log out", "pull"]);

/** docs/deploying.md, of a new secret and of a new name: these sequences "sign nobody out". What servers of one program have made is neither forged nor corrupt. */
function* rejections({ history, hasRevocation }: Evidence): Generator<string> {
  const never = new Set(["malformed", "forged", "corrupt", "misplaced", "newer", "schema", "unknown", "credentials"]);
  if (!hasRevocation) for (const each of ["revoked", "retired", "reuse"]) never.add(each);
  for (const { who, events } of history.sent) {
    for (const { type, reason = "" } of events)
      if (type === "ambiguous" || never.has(reason)) yield `the session of the request ${who} is rejected: ${reason}`;
  }
}

/** docs/cookie-sessions.md: "the later response wins with its whole session". So a cookie holds what its request has left, and nothing else. */
function* contents(evidence: Evidence): Generator<string> {
  for (const reader of evidence.history.sent) {
    if (!reader.found) continue;
    const teller = evidence.tellerOf(reader);
    if (teller === undefined) {
      yield `the request ${reader.who} finds a session without a cookie`;
      continue;
    }
    const states = evidence.statesOf(teller).map(({ data }) => data);
    if (!states.some((data) => isDeepStrictEqual({ ...data }, { ...reader.found })))
      yield `the request ${reader.who} finds ${JSON.stringify(reader.found)}, but ${teller.who} has left ${JSON.stringify(states)}`;
    if (reader.found.browser !== reader.browser) yield `the request ${reader.who} finds the session of another browser`;
  }
}

/** README.md: "The cookie arrives", "also on redirects". docs/session.md: a response sets the cookie of a changed session. */
function* cookies(evidence: Evidence): Generator<string> {
  for (const each of evidence.history.sent) {
    const { who, headers, told, act, faults, events } = each;
    if (headers === undefined) continue;
    const names = headers.getSetCookie().map((line) => line.slice(0, line.indexOf("=")));
    if (new Set(names).size < names.length) yield `the response to ${who} sets a cookie twice: ${names.join(", ")}`;
    if (act.does !== "redirect" && !names.includes("app")) yield `the response to ${who} lacks the handler's cookie`;
    if (told !== null && !(headers.get("Cache-Control") ?? "").includes("no-store"))
      yield `the response to ${who} sets the session cookie and may be cached`;
    const isGone = events.some(({ type }) => type === "gone");
    if (isGone || faults > 0) continue;
    const [first, last] = [each.left.at(0), each.left.at(-1)];
    const isChanged = !isDeepStrictEqual(first, last) || each.found?.notice !== undefined;
    if (last && isChanged && (told === null || told === "over")) yield `the change of ${who} is dropped in silence`;
    if (told !== null && told !== "over" && !last) yield `the response to ${who} sets a cookie without a session`;
  }
}

/** README.md: "A failing store never erases a cookie". docs/options.md: with `"anonymous"`, "its changes are dropped, the cookie is left alone". */
function* outages(evidence: Evidence): Generator<string> {
  for (const each of evidence.history.sent) {
    const { who, told, losesCookie, events } = each;
    const isFailed = events.some(({ type }) => type === "failed");
    const isEnded = events.some(({ type }) => type === "destroyed");
    if (isFailed && told === "over" && !isEnded && !isRejected(each))
      yield `the failure of the store in ${who} erases the cookie`;
    if (losesCookie && !mayLose(each)) yield `the response to ${who} takes the cookie away`;
  }
}

/** docs/why-signed-out.md: after these reasons "the response also expires the client's cookie". */
const OVER: ReadonlySet<string> = new Set(["malformed", "unknown", "expired", "revoked", "credentials"]);

function isRejected({ events }: Sent): boolean {
  return events.some(({ reason }) => reason !== undefined && OVER.has(reason));
}

function mayLose(each: Sent): boolean {
  return each.act.does === "log out" || each.act.does === "start over" || isRejected(each);
}
