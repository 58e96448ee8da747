import { SessionError } from "../../mod.ts";
import { type Audit, type Deed, type History, type Seen, type Sent, USER } from "./history_play.ts";
import { IDLE, TOUCH } from "./history_program.ts";

/** The promises that a history broke, in words. */
export function violationsIn(history: History): string[] {
  return [...new Set(everything(history))];
}

function* everything(history: History): Generator<string> {
  for (const who of history.stuck) yield `the request ${who} never ends`;
  yield* errors(history);
  yield* answers(history);
  yield* reads(history);
  const told = idsTold(history);
  const [last] = history.audits.slice(-1);
  for (const audit of history.audits) {
    yield* contents(history, audit, told);
    yield* ends(history, audit, told);
    yield* lists(audit);
    yield* lifetimes(history, audit);
  }
  if (last !== undefined) yield* logins(history, last);
}

/** Requests that fail although no call failed. */
function* errors({ sent }: History): Generator<string> {
  for (const { who, outcome, error, faults } of sent) {
    if (outcome === "under way") yield `the request ${who} is still under way`;
    if (outcome !== "failed") continue;
    if (!(error instanceof SessionError) || !OUTAGES.has(error.code))
      yield `the request ${who} throws ${String(error)}`;
    else if (faults === 0) yield `the request ${who} throws ${error.code}, and nothing had gone wrong`;
  }
}

const OUTAGES: ReadonlySet<string> = new Set(["ERR_STORE", "ERR_STORE_TIMEOUT", "ERR_CONFLICT"]);

/** Requests that tell a client an id which does not belong to it. */
function* answers({ sent }: History): Generator<string> {
  for (const each of sent) {
    const { who, told, presented, minted, outcome } = each;
    if (outcome !== "answered" || told === null || told === "over" || told === presented || minted.includes(told))
      continue;
    const reached = new Set([presented]);
    for (let size = 0; size < reached.size;) {
      size = reached.size;
      for (const { renewals, minted: made, presented: id } of sent) {
        if (renewals.some(({ from, hasGrace }) => hasGrace && (reached.has(from) || reached.has(id))))
          for (const next of made) reached.add(next);
      }
    }
    if (!reached.has(told))
      yield `the request ${who}, which presents ${presented}, is told ${told}, to which no grace leads`;
  }
}

/** A request must see every change that was acknowledged before the request began. */
function* reads(history: History): Generator<string> {
  for (const { who, reads, begunAt } of history.sent) {
    for (const { birth, list } of reads) {
      for (const deed of acknowledged(history, birth, "append", begunAt)) {
        if (!isPrefix(deed.list ?? [], list))
          yield `the request ${who} reads ${list.join(" ")} after ${deed.value} was answered ${deed.list?.join(" ")}`;
      }
    }
  }
}

/** Checks the contents of the sessions that a client can reach. */
function* contents(history: History, audit: Audit, told: ReadonlySet<string>): Generator<string> {
  const seen = audit.seen.filter(({ presented }) => told.has(presented));
  for (const [birth, all] of Map.groupBy(seen, (each) => each.birth ?? "")) {
    if (birth === "") {
      yield `the id ${all[0]?.presented} leads to a session that nobody has begun`;
      continue;
    }
    if (new Set(all.map(({ id }) => id)).size > 1)
      yield `the session ${birth} lives under several ids: ${all.map(({ id }) => id).join(", ")}`;
    // If several servers see the same, it is judged once.
    const different = new Map(all.map((each) => [`${each.log} ${each.keys} ${each.flag} ${each.handle}`, each]));
    for (const each of different.values()) yield* oneSession(history, audit, birth, each);
  }
}

function* oneSession(
  history: History,
  { at }: Audit,
  birth: string,
  { log, keys, flag, handle, server }: Seen,
): Generator<string> {
  const where = `the session ${birth}, seen by server ${server},`;
  const attempted = new Set(deedsOf(history, birth, "append").map(({ value }) => value));
  if (new Set(log).size < log.length) yield `${where} has counted twice: ${log.join(" ")}`;
  for (const tag of log) if (!attempted.has(tag)) yield `${where} holds ${tag}, which nobody has appended to it`;
  for (const deed of acknowledged(history, birth, "append", at)) {
    if (!isPrefix(deed.list ?? [], log))
      yield `${where} holds ${log.join(" ")}, but ${deed.value} was answered ${deed.list?.join(" ")}`;
  }
  for (const { value } of acknowledged(history, birth, "set", at))
    if (!keys.includes(value)) yield `${where} has lost ${value}`;
  const writes = [...deedsOf(history, birth, "flag"), ...(birth.startsWith("client") ? [BEGINNING] : [])];
  const later = acknowledged(history, birth, "flag", at);
  const isOverwritten = ({ ackedAt = Infinity, value }: Deed): boolean =>
    later.some((each) => each.value !== value && beginningOf(history, each) > ackedAt);
  if (flag !== undefined && !writes.some((write) => write.value === flag && !isOverwritten(write))) {
    yield `${where} has the flag ${flag}, which was overwritten`;
  }
  const bindings = [...deedsOf(history, birth, "bind"), ...deedsOf(history, birth, "unbind")];
  const isSure =
    history.program.isBound && birth.startsWith("client") ? bindings.every(({ does }) => does === "bind") : false;
  if (isSure && handle === null) yield `${where} is not bound any more`;
}

const BEGINNING: Deed = { does: "flag", value: "off", birth: "", begunAt: 0, ackedAt: 0 };

/** After a logout, a rotation or a revocation, the old session must not be reachable. */
function* ends(history: History, { at, seen }: Audit, told: ReadonlySet<string>): Generator<string> {
  const { sent, program } = history;
  const alive = (birth: string): Seen | undefined =>
    seen.find((each) => each.birth === birth && told.has(each.presented));
  // A logout with a retired id ends the successor only as long as the record of the retired id exists.
  const isRecent = program.rounds.reduce((sum, { later }) => sum + later, 0) <= 600;
  for (const each of sent) {
    const { who, ended, presented, outcome, renewals, events, told: id } = each;
    for (const [index, { birth, ackedAt = Infinity }] of ended.entries()) {
      if (ackedAt > at) continue;
      const gone =
        birth ?? (isRecent && index === 0 && each.found !== undefined ? birthOf(history, presented) : undefined);
      if (gone !== undefined && alive(gone) !== undefined)
        yield `the session ${gone} lives on after the logout of ${who}`;
      if (birth !== null && birth === each.found && seen.some(({ presented: other }) => other === presented))
        yield `the id ${presented} leads on after the logout of ${who}`;
    }
    const isRenewed =
      outcome === "answered" && events.some(({ type, at: then }) => type === "regenerated" && then <= at);
    if (!isRenewed || ended.length > 0 || renewals.some(({ hasGrace }) => hasGrace)) continue;
    const [first] = renewals;
    if (first?.from !== null && seen.some(({ presented: other }) => other === first?.from))
      yield `the id ${first?.from} leads on after ${who} has renewed it`;
    for (const other of sent) {
      if (
        other.begunAt > (each.endedAt ?? Infinity) &&
        other.presented === first?.from &&
        typeof other.found === "string"
      ) {
        yield `the request ${other.who} gets in by ${other.presented} after ${who} has renewed it to ${id}`;
      }
    }
  }
  for (const { who, revocations } of sent) {
    for (const { begunAt, spares, ackedAt = Infinity } of revocations) {
      if (ackedAt > at) continue;
      for (const { birth, presented } of seen) {
        if (birth === null || !told.has(presented) || birth === spares) continue;
        const before = bindingsOf(history, birth);
        const isBound =
          before.some(
            (deed) => deed.does === "bind" && (deed.ackedAt ?? Infinity) < begunAt && !isPutBack(history, deed),
          ) && before.every(({ does }) => does === "bind");
        const isBoundAgain = before.some(
          ({ ackedAt: bound, begunAt: begun }) => begun > begunAt || bound === undefined || bound > begunAt,
        );
        if (isBound && !isBoundAgain)
          yield `the session ${birth} lives on after ${who} has ended all sessions of its user`;
      }
    }
  }
}

/** Every bound session must be in the user's list. */
function* lists({ seen, listed }: Audit): Generator<string> {
  for (const { server, handle, birth } of seen) {
    if (handle !== null && !listed[server]?.includes(handle))
      yield `the session ${birth} is bound, and server ${server} does not list it`;
  }
}

/** A session must not live longer than its timeout, by any clock. */
function* lifetimes(history: History, { time, seen, at }: Audit): Generator<string> {
  for (const birth of new Set(seen.flatMap((each) => each.birth ?? []))) {
    const used = history.sent.filter(
      (each) => each.begunAt <= at && (each.found === birth || each.deeds.some((deed) => deed.birth === birth)),
    );
    const last = Math.max(BEGUN, ...used.map(({ endedTime, begunTime }) => Math.max(endedTime, begunTime)));
    if (time - last >= (IDLE + 600) * 1000)
      yield `the session ${birth} lives although nobody has used it for ${(time - last) / 1000} s`;
  }
}

/** In epoch milliseconds. */
const BEGUN = 1_800_000_000_000;

/** No client may lose its session without a reason. */
function* logins(history: History, { seen, time }: Audit): Generator<string> {
  const { clients, sent, program } = history;
  for (const [at, { cookie, first }] of clients.entries()) {
    const own = sent.filter(({ client, presented }) => client === at || presented === first);
    const excused = own.some(
      ({ ended, outcome, faults, renewals, deeds, found, presents }) =>
        ended.length > 0 ||
        // Another browser with the planted id has exchanged that id for a new one.
        (presents === "first id" && renewals.length > 0) ||
        (renewals.length > 0 &&
          (outcome === "crashed" ||
            faults > 0 ||
            (outcome !== "answered" && renewals.some(({ hasGrace }) => hasGrace)))) ||
        // A new session of a failed request may be in the store although the client did not receive its id.
        (found === null && deeds.length > 0),
    );
    // If two concurrent responses carry different ids, the one with the older id may arrive last.
    const tellers = own.filter(({ told, outcome }) => outcome === "answered" && told !== null && told !== "over");
    // The id that the client held before a later response expired its cookie.
    const held = cookie ?? own.findLast(({ told }) => told === "over")?.presented;
    const isOvertaken = tellers.some(
      ({ told, who }) => told === held && tellers.some((other) => other.told !== held && other.who[0] === who[0]),
    );
    const isRevoked =
      sent.some(({ revocations }) => revocations.length > 0) &&
      (program.isBound || sent.some(({ deeds }) => deeds.some(({ does }) => does === "bind")));
    const isRetired = (id: string | null): boolean =>
      own.some(({ renewals }) => renewals.some(({ from }) => from === id));
    const uses = own
      // A request with a retired id that gives no session does not keep the session alive.
      .filter(
        ({ outcome, faults, found, presented }) =>
          outcome === "answered" && faults === 0 && !(found === null && isRetired(presented)),
      )
      .map(({ begunTime }) => begunTime);
    const hasPaused = [...uses, time].some(
      (use, index) => use - (uses[index - 1] ?? BEGUN) >= (IDLE - TOUCH - 600) * 1000,
    );
    if (excused || isOvertaken || isRevoked || hasPaused) continue;
    const servers = new Set(seen.filter(({ presented }) => presented === cookie).map(({ server }) => server));
    if (servers.size < program.clocks.length)
      yield `client ${at}, which holds ${cookie}, is logged out on ${program.clocks.length - servers.size} servers`;
  }
}

/** All changes of a kind to a session, whether acknowledged or not. */
function deedsOf(history: History, birth: string, does: Deed["does"]): Deed[] {
  return history.sent.flatMap(({ deeds }) => deeds.filter((deed) => deed.birth === birth && deed.does === does));
}

function acknowledged(history: History, birth: string, does: Deed["does"], at: number): Deed[] {
  return history.sent.flatMap((sent) =>
    sent.deeds.filter(
      (deed) => deed.birth === birth && deed.does === does && (deed.ackedAt ?? Infinity) <= at && !isVoid(sent, deed),
    ),
  );
}

function bindingsOf(history: History, birth: string): Deed[] {
  const first: Deed[] =
    history.program.isBound && birth.startsWith("client")
      ? [{ does: "bind", value: USER, birth, begunAt: 0, ackedAt: 0 }]
      : [];
  return [...first, ...deedsOf(history, birth, "bind"), ...deedsOf(history, birth, "unbind")];
}

/** Whether a change was stored under a new id that the client did not receive. In that case the session is put back. */
function isVoid({ outcome, renewals, events }: Sent, { ackedAt = Infinity }: Deed): boolean {
  if (outcome === "answered" || renewals.every(({ hasGrace }) => hasGrace)) return false;
  return events.some(({ type, at }) => type === "regenerated" && at <= ackedAt);
}

function isPutBack({ sent }: History, deed: Deed): boolean {
  return sent.some((each) => each.deeds.includes(deed) && isVoid(each, deed));
}

/** When the request of a change began. It matters because writing a value equal to the one it read is no change. */
function beginningOf(history: History, deed: Deed): number {
  return history.sent.find(({ deeds }) => deeds.includes(deed))?.begunAt ?? 0;
}

/** The ids that clients have received. */
function idsTold({ sent, ids }: History): Set<string> {
  const [one = "", other = ""] = ids;
  return new Set([
    one,
    other,
    ...sent.flatMap(({ told, outcome }) => (told === null || told === "over" || outcome !== "answered" ? [] : [told])),
  ]);
}

/** The session that an id gave when a client received it first. */
function birthOf(history: History, id: string | null): string | undefined {
  if (id === null) return undefined;
  const at = history.ids.indexOf(id);
  if (at === 0 || at === 1) return `client ${at}`;
  const teller = history.sent.find(({ told }) => told === id);
  return teller === undefined || teller.ended.length > 0
    ? undefined
    : (teller.found ?? teller.deeds.find(({ ackedAt }) => ackedAt !== undefined)?.birth);
}

function isPrefix(part: readonly string[], whole: readonly string[]): boolean {
  return part.every((each, at) => whole[at] === each);
}
