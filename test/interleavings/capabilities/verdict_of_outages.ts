import { SessionError } from "../../../mod.ts";
import type { Certainty } from "./certainty.ts";
import type { Deed } from "./history.ts";
import type { Act } from "./program.ts";

/** docs/why-signed-out.md: after these reasons "the response also expires the client's cookie". */
const FINAL: ReadonlySet<string> = new Set(["malformed", "unknown", "expired", "revoked", "credentials"]);

/** What handlers do without awaiting what the store says: an error of the store reaches only the end of the request. */
const UNAWAITED: ReadonlySet<Act["does"]> = new Set(["read", "set", "renew", "begin", "log out"]);

/**
 * README.md: "A failing store never erases a cookie". docs/options.md, of `onStoreError: "anonymous"`: "when the store fails, the request goes on without a
 * session. Its changes are dropped, the cookie is left alone".
 */
export function* outages(certainty: Certainty): Generator<string> {
  const { sent, program } = certainty.history;
  const { onStoreError, users } = program.setting;
  for (const each of sent) {
    const { who, presented, told, found, outcome, act, error, events } = each;
    const isFailed = events.some(({ type }) => type === "failed");
    if (!isFailed) continue;
    const isEnded = events.some(({ type, reason }) => type === "destroyed" || FINAL.has(reason ?? ""));
    if (told === "over" && !isEnded) yield `the failure of the store in ${who} erases the cookie`;
    if (onStoreError !== "anonymous") continue;
    const isUnavailable = found === null && !events.some(({ type }) => type === "loaded" || type === "rejected");
    // A session that was stored before the store failed reaches a client that had none.
    const isStored = presented === null && events.some(({ type }) => type === "created");
    if (isUnavailable && !isStored && told !== null && told !== "over")
      yield `the request ${who} begins a session although the store fails`;
    const isUnawaited = UNAWAITED.has(act.does) && !(act.does === "set" && act.saves) && users === null;
    if (outcome === "failed" && isUnawaited && error instanceof SessionError && error.code.startsWith("ERR_STORE"))
      yield `the request ${who} fails with the store`;
  }
}

/** What docs/streaming.md names: "a session that is new, renewed or ended". */
const AWAITED: ReadonlySet<Deed["does"]> = new Set(["begin", "end", "end the old id", "renew"]);

/** docs/streaming.md: "These changes are stored before the response nevertheless". */
export function* promptness({ history }: Certainty): Generator<string> {
  const { readYourWrites, ownPlugins, persist } = history.program.setting;
  for (const each of history.sent) {
    if (each.storedAt === undefined) continue;
    if (persist !== "after-response" || readYourWrites || ownPlugins > 0)
      yield `the request ${each.who} stores something after its response`;
    const [deed] = each.deeds.filter(({ does }) => AWAITED.has(does));
    if (deed !== undefined) yield `the request ${each.who} stores a ${deed.does} after its response`;
    if (each.redirects === true) yield `the redirect of ${each.who} does not wait for the store`;
    // "Other timeouts, and "last seen", because the cookie is sent again with them."
    if (each.told !== null) yield `the request ${each.who} sends a cookie, and stores something after that`;
  }
}
