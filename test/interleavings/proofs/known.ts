import type { History, Sent } from "./history.ts";
import { claimsOf } from "./thief.ts";

/** How a login began. */
interface Login {
  readonly login: number;
  /** Null for the thief. */
  readonly owner: number | null;
  readonly grace: number;
  /** The server's clock at the end of the login. */
  readonly clock: number;
  /** When its response was ready. */
  readonly endedAt: number;
  /** When a server answered the first registration of a key. Infinity if it never did. */
  boundAt: number;
}

/** What the responses of a program have told. */
export interface Known {
  readonly logins: ReadonlyMap<number, Login>;
  /** The logins that each id belonged to. */
  readonly ids: ReadonlyMap<string, ReadonlySet<number>>;
  /** When each id was told first. */
  readonly toldAt: ReadonlyMap<string, number>;
  /** When each second cookie and each nonce was made at the latest, by the clock of the server that made it. */
  readonly seconds: ReadonlyMap<string, number>;
  readonly nonces: ReadonlyMap<string, number>;
  /** Whether a proof of DBSC answers an older challenge than one of the proofs before it. */
  isOutdated(proof: Sent, before: readonly Sent[]): boolean;
}

export function knownFrom({ sent }: History): Known {
  const logins = new Map<number, Login>();
  const ids = new Map<string, Set<number>>();
  /** The same, without the logins that happened at the same time as what told the id. */
  const own = new Map<string, number[]>();
  const toldAt = new Map<string, number>();
  const seconds = new Map<string, number>();
  const nonces = new Map<string, number>();
  const loginOf = ({ id, found, begins, begunAt }: Sent): number | undefined => {
    if (begins !== undefined || found !== undefined || id === null) return begins?.login ?? found?.login;
    return own.get(id)?.findLast((login) => (logins.get(login)?.endedAt ?? Infinity) < begunAt);
  };
  for (const each of sent) {
    const { begins, owner, endedAt, endedClock, toldId, toldSecond, toldNonce } = each;
    if (begins !== undefined)
      logins.set(begins.login, { ...begins, owner, clock: endedClock, endedAt, boundAt: Infinity });
    const login = loginOf(each);
    if (typeof toldId === "string") {
      const of = ids.get(toldId) ?? new Set();
      if (login !== undefined) {
        of.add(login);
        own.set(toldId, [...(own.get(toldId) ?? []), login]);
      }
      // The session may have become that of a login at the same time.
      for (const other of sent)
        if (other.begins !== undefined && overlap(each, other) && other.owner === owner) of.add(other.begins.login);
      ids.set(toldId, of);
      toldAt.set(toldId, Math.min(toldAt.get(toldId) ?? Infinity, endedAt));
    }
    if (typeof toldSecond === "string") seconds.set(toldSecond, Math.max(seconds.get(toldSecond) ?? 0, endedClock));
    if (toldNonce !== undefined) nonces.set(toldNonce, Math.max(nonces.get(toldNonce) ?? 0, endedClock));
  }
  for (const each of sent) {
    const login = each.path === "/dbsc/start" && each.status === 200 ? loginOf(each) : undefined;
    const begun = login === undefined ? undefined : logins.get(login);
    if (begun !== undefined) begun.boundAt = Math.min(begun.boundAt, each.endedAt);
  }
  // A challenge is the number of proofs that the browser has given, with a signature.
  const challengeOf = ({ dbsc }: Sent): number => Number.parseInt(String(claimsOf(dbsc ?? "")["jti"]), 36);
  return {
    logins,
    ids,
    toldAt,
    seconds,
    nonces,
    // With another id, a proof may be of another login, and each login counts anew.
    isOutdated: (proof, before) =>
      before.some((each) => each.id === proof.id && challengeOf(each) > challengeOf(proof)),
  };
}

function overlap(one: Sent, other: Sent): boolean {
  return one.begunAt < other.endedAt && other.begunAt < one.endedAt;
}
