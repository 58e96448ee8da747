/**
 * What the requests of a program may see and do, with one function for each promise of docs/device-bound.md, docs/dpop.md and docs/csrf.md.
 *
 * The clocks of the servers are known, so each lifetime is judged exactly, by the clock of the server that has made a proof and that of the server that
 * accepts it.
 *
 * @module
 */
import { SessionError } from "../../../mod.ts";
import { type History, isClean, type Sent } from "./history.ts";
import { type Known, knownFrom } from "./known.ts";
import { areClocksRight, BROWSERS, LIFETIME, NONCE_LIFETIME } from "./program.ts";
import { claimsOf } from "./thief.ts";

/** In milliseconds: docs/device-bound.md, "can be sent again within a minute". */
const TOLERANCE = 60_000;
/** In milliseconds: docs/dpop.md, "seconds for which a nonce is accepted, and 300 more for servers whose clocks differ". */
const NONCE_AT_MOST = (NONCE_LIFETIME + 300) * 1000;

/** The promises that a program broke, in words. */
export function violationsIn(history: History): string[] {
  return [...new Set(everything(history, knownFrom(history)))];
}

function* everything(history: History, known: Known): Generator<string> {
  for (const who of history.stuck) yield `the visit ${who} never ends`;
  yield* errors(history);
  yield* lockedOut(history);
  yield* registrations(history);
  yield* owners(history, known);
  yield* secondCookies(history, known);
  yield* dbscProofs(history, known);
  yield* dpopProofs(history, known);
  yield* repeatedDpop(history);
  yield* forms(history);
  yield* updates(history);
}

/** docs/errors.md: a request fails only if the store fails, or if another request ends its session. */
function* errors({ sent }: History): Generator<string> {
  for (const each of sent) {
    if (each.outcome === "under way") yield `the request ${each.who} is still under way`;
    if (each.outcome !== "failed") continue;
    const code = each.error instanceof SessionError ? each.error.code : null;
    const overlaps = sent.some(
      (other) => other !== each && other.begunAt < each.endedAt && each.begunAt < other.endedAt,
    );
    const isExcused =
      code === "ERR_SESSION_GONE"
        ? each.faults > 0 || overlaps
        : (code === "ERR_STORE" || code === "ERR_STORE_TIMEOUT" || code === "ERR_CONFLICT") && each.faults > 0;
    if (!isExcused) yield `the request ${each.who} throws ${code ?? String(each.error)}`;
  }
}

/** docs/device-bound.md: "A failing store is no logout", and "the browser keeps its key and tries again". docs/dpop.md: "a client in use is never refused". */
function* lockedOut({ audits }: History): Generator<string> {
  for (const { owner, expected, found, who } of audits)
    if (found !== expected)
      yield `the owner ${owner} finds ${found ?? "no login"} with ${who}, and not the login ${expected}`;
}

/** docs/device-bound.md: "The browser makes a key pair and sends the public key, signed, to `/dbsc/start`. From then on the session is bound." */
function* registrations({ sent, program }: History): Generator<string> {
  for (const each of sent) {
    const { path, owner, id, status, who } = each;
    if (path !== "/dbsc/start" || owner === null || !isClean(each) || !areClocksRight(program.setting)) continue;
    // Another request may have signed in, signed out or replaced the id since the offer.
    const [offer] = sent.filter(
      (other) => other.toldId === id && other.begins !== undefined && other.endedAt < each.begunAt,
    );
    const isAlone = sent.every(
      (other) =>
        other === each ||
        other === offer ||
        other.owner !== owner ||
        other.endedAt < (offer?.begunAt ?? 0) ||
        other.begunAt > each.endedAt,
    );
    const meetsThief = sent.some((other) => other.owner === null && other.id === id && other.begunAt < each.endedAt);
    if (isAlone && !meetsThief && status !== 200) yield `the registration ${who} is answered with ${status}`;
  }
}

/** docs/login.md: without a grace, an old id opens nothing. With one, it opens the new session for so long. */
function* owners({ sent }: History, known: Known): Generator<string> {
  for (const each of sent) {
    if (each.found === undefined) continue;
    const { login } = each.found;
    const told = each.id === null ? undefined : known.ids.get(each.id);
    if (told === undefined) yield `the request ${each.who} finds a login with an id that no response told`;
    else if (!told.has(login) && !isWithinGrace(each, known))
      yield `the request ${each.who} finds the login ${login} with an id of before that login`;
  }
}

/** docs/device-bound.md: with `regenerate({ grace })` at a login, requests with the old id "are accepted without a proof, during the grace and for at most a minute". */
function isWithinGrace({ found, id, begunClock }: Sent, known: Known): boolean {
  const begun = found && known.logins.get(found.login);
  if (begun === undefined || id === null || (known.toldAt.get(id) ?? Infinity) >= begun.endedAt) return false;
  return begunClock < begun.clock + Math.min(begun.grace, 60) * 1000;
}

/** docs/device-bound.md: `lifetime` is the "seconds for which a proof is valid. A copied cookie is rejected afterwards". */
function* secondCookies({ sent, program }: History, known: Known): Generator<string> {
  const { browsers, clients } = program.setting;
  for (const each of sent) {
    const begun = each.found && known.logins.get(each.found.login);
    if (begun === undefined || begun.owner === null || begun.owner === BROWSERS) continue;
    const isBound = begun.boundAt < each.begunAt;
    if (each.isInHeader && (isBound || clients === "require"))
      yield `the request ${each.who} finds the login of a browser with an id in the header`;
    if ((!isBound && browsers === "offer") || isWithinGrace(each, known)) continue;
    const given = each.second === null ? undefined : known.seconds.get(each.second);
    if (given === undefined) yield `the request ${each.who} finds a bound session without a second cookie`;
    else if (each.begunClock >= given + LIFETIME * 1000)
      yield `the request ${each.who} finds a bound session with a proof that has ended ${(each.begunClock - given) / 1000 - LIFETIME} s ago`;
  }
}

/** docs/device-bound.md: a second cookie is given for a login, for the first registration, and for a proof that is new or was given within a minute. */
function* dbscProofs({ sent, forged }: History, known: Known): Generator<string> {
  for (const each of sent) {
    const { path, toldSecond, dbsc, begunAt, begunClock, owner } = each;
    if (typeof toldSecond !== "string" || path === "/login") continue;
    if (dbsc === null || !path.startsWith("/dbsc/")) {
      // A login without a second cookie may be offered a key again when its id is renewed.
      if (path !== "/renew" && owner === null) yield `the thief gets a second cookie without a proof: ${each.who}`;
      continue;
    }
    // A thief may bind a session of the thief's own, and one that no browser has bound yet.
    if (forged.has(dbsc) && path === "/dbsc/refresh") yield `the thief's key refreshes a session: ${each.who}`;
    const earlier = sent.filter((other) => isAccepted(other) && other.endedAt < begunAt && other.path === path);
    // A browser that gets no answer may sign the same challenge again.
    const [first] = earlier.filter((other) => challengeOf(other) === challengeOf(each));
    if (first !== undefined && path === "/dbsc/start")
      yield `the request ${each.who} gets a second cookie for a registration that is repeated`;
    if (first !== undefined && begunClock >= first.endedClock + TOLERANCE)
      yield `the request ${each.who} repeats a proof after ${(begunClock - first.endedClock) / 1000} s`;
    if (first === undefined && path === "/dbsc/refresh" && known.isOutdated(each, earlier))
      yield `the request ${each.who} gives a proof that is older than the browser's last one`;
  }
}

/** docs/dpop.md: "Each request carries a proof, signed with a key that only the client has", and the table "What is checked". */
function* dpopProofs({ sent, program, forged, originals }: History, known: Known): Generator<string> {
  const { clientAhead, clients, ahead } = program.setting;
  // `iat` of the first request "is accepted only if [it] is within five minutes of the server's clock". Otherwise the second proof binds the session.
  const isOpen = ahead.some((server) => Math.abs(server - clientAhead) > 298);
  for (const each of sent) {
    if (each.found === undefined || known.logins.get(each.found.login)?.owner !== BROWSERS) continue;
    const { dpop, begunClock, method, path, id, who } = each;
    const wasProved = sent.some(
      (other) => other.owner === BROWSERS && other.found !== undefined && other.endedAt < each.begunAt,
    );
    if (isOpen && !wasProved && (clients === "offer" || (dpop !== null && forged.has(dpop)))) continue;
    if (isOpen && sent.some((other) => other.dpop !== null && forged.has(other.dpop) && other.found !== undefined))
      continue;
    const original = dpop === null ? undefined : originals.get(dpop);
    if (dpop === null) yield `the request ${who} finds the client's session without a proof`;
    else if (original === undefined) yield `the request ${who} finds the client's session with a proof of another key`;
    else {
      if (original.method !== method) yield `the request ${who} has the proof of a ${original.method}`;
      if (original.path.replace(/\?.*/, "") !== path) yield `the request ${who} has the proof for ${original.path}`;
      if (original.id !== id) yield `the request ${who} has the proof for another id`;
      const made = known.nonces.get(String(claimsOf(dpop)["nonce"]));
      if (made === undefined || begunClock >= made + NONCE_AT_MOST)
        yield `the request ${who} has a proof with an old nonce`;
    }
  }
}

/** docs/dpop.md, 11.1: "the proof was not used before". */
function* repeatedDpop({ sent, program }: History): Generator<string> {
  // SECURITY.md: a clock may be five minutes wrong. Otherwise an engine with a right clock may remove the note that a proof was used.
  if (program.setting.ahead.some((ahead) => Math.abs(ahead) > 300)) return;
  const used = new Map<string, Sent>();
  for (const each of sent) {
    if (each.dpop === null || each.found === undefined) continue;
    const before = used.get(each.dpop);
    if (before !== undefined) yield `the request ${each.who} uses the proof of ${before.who}`;
    used.set(each.dpop, each);
  }
}

/** docs/csrf.md: "Each text is valid until the session ends or is regenerated." */
function* forms({ sent, program }: History): Generator<string> {
  const ids = new Map(sent.flatMap(({ form }) => (form === undefined ? [] : [[form.token, form.id]])));
  for (const { post, who, found } of sent) {
    if (post === undefined) continue;
    const own = ids.get(post.token);
    const isOwn = own !== undefined && own === post.id;
    if (post.isValid && own === undefined) yield `the request ${who} has a token that nobody made, and it is valid`;
    // `rotateEvery` accepts the token of the id that the same request replaces.
    if (post.isValid !== isOwn && program.setting.rotateEvery === null && found !== undefined)
      yield `the token of the request ${who} is ${post.isValid ? "" : "not "}valid`;
  }
}

/** README.md: "Two that `update` one key both count." */
function* updates({ sent }: History): Generator<string> {
  const added = sent.filter((each) => each.adds !== undefined && isClean(each));
  for (const { who, found, begunAt } of sent) {
    for (const each of added) {
      const number = Number(/number=(\d+)/.exec(each.who)?.[1]);
      if (each.adds?.login === found?.login && each.heardAt < begunAt && found?.added.includes(number) === false)
        yield `the request ${who} does not see what ${each.who} added`;
    }
  }
}

function challengeOf({ dbsc }: Sent): unknown {
  return dbsc === null ? undefined : claimsOf(dbsc)["jti"];
}

function isAccepted({ toldSecond, dbsc }: Sent): boolean {
  return typeof toldSecond === "string" && dbsc !== null;
}
