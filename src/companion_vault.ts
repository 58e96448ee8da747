import { difference } from "./changes.ts";
import { type Companion, type Entry, isLater, type Memory, RECENT, type Told } from "./companion.ts";
import type { Deadline } from "./deadline.ts";
import { SessionError } from "./errors.ts";
import { type Head, HEAD_FIELD, MARKS_FIELD } from "./record.ts";
import type { Roster } from "./roster.ts";
import { keyOfId } from "./session_id.ts";
import type { WireForm } from "./signing.ts";
import type { Stored, StoreVault } from "./store_vault.ts";
import type { Contents, Found, Refusal, Vault } from "./vault.ts";

/** A session as the client is to see it: what the store showed, and what it did not show yet. */
interface Mended extends Found {
  /** The session as the store showed it. */
  readonly shown: Stored;
  /** When each field was changed that was changed of late. */
  readonly marks: Marks;
  /** The latest instant that is known of. */
  readonly clock: number;
  /** Whether the store did not show all of it. */
  readonly isMended: boolean;
}

type Marks = ReadonlyMap<string, number>;

/** What else the vault needs of the core. */
interface Surroundings {
  readonly ids: WireForm;
  readonly now: () => number;
  /** Hears that the store showed an older state than the client has seen, and that it could not be mended. */
  readonly onStale: () => void;
}

/** As often a record is read that is older than the client has seen: an engine that is late for long is not waited for. */
const MOST_READS = 3;

/**
 * A vault on an eventually consistent store, whose client sees its own writes and never an older state than it saw. A session is
 * taken as a map in which the last change of each field counts, by instants that never run behind what their writer had
 * seen (a hybrid logical clock). A record says when it was changed of late, field by field; the client brings what it has
 * seen of that in its companion, and both are merged whenever the session is loaded.
 */
export class CompanionVault implements Vault<Mended> {
  readonly wireOf: (id: string) => string;
  readonly roster: Roster | null;
  readonly companion: Companion;
  readonly #vault: StoreVault;
  readonly #around: Surroundings;

  constructor(vault: StoreVault, companion: Companion, around: Surroundings) {
    this.#vault = vault;
    this.wireOf = vault.wireOf;
    this.roster = vault.roster;
    this.companion = companion;
    this.#around = around;
  }

  async open(presented: string, now: number, deadline: Deadline): Promise<Mended | Refusal> {
    // To verify a signature takes as long as all the rest: it is done twice only for those who bring something.
    const id = this.companion.isEmpty ? null : (this.#around.ids.fromWire(presented)?.id ?? null);
    const { ending } = id === null ? {} : await this.companion.of(keyOfId(id));
    if (ending !== undefined) {
      const { heir, graceUntil = 0 } = ending;
      if (heir === undefined) return "unknown";
      return graceUntil > now ? await this.open(this.wireOf(heir), now, deadline) : "retired";
    }
    const find = (): Promise<Stored | Refusal> => this.#vault.find(presented, now, deadline);
    return await this.#mended(find, id, now, deadline);
  }

  async reopen({ shown }: Mended, now: number, deadline: Deadline): Promise<Mended | null> {
    const find = async (): Promise<Stored | Refusal> => (await this.#vault.findAgain(shown, deadline)) ?? "unknown";
    const found = await this.#mended(find, shown.id, now, deadline);
    return typeof found === "string" ? null : found;
  }

  async create(id: string, contents: Contents, deadline: Deadline): Promise<Mended | "taken"> {
    const at = this.#around.now();
    const marks = new Map([HEAD_FIELD, ...contents.fields.keys()].map((name) => [name, at]));
    const stored = await this.#vault.create(id, withMarks(contents, marks), deadline);
    return stored === "taken" ? stored : await this.#written(stored, marks, at, true);
  }

  change(held: Mended, contents: Contents, deadline: Deadline): Promise<Mended | "conflict" | "gone"> {
    return this.#write(held, contents, (marked) => this.#vault.change(held.shown, marked, deadline));
  }

  /** A touch of a record that lacks something brings that in as well, or what touched it last would win. */
  async touch(held: Mended, now: number, deadline: Deadline): Promise<Mended | "conflict" | "gone"> {
    if (held.isMended) {
      const contents = { ...held, lastSeenAt: now };
      return await this.#write(held, contents, (marked) => this.#vault.rewrite(held.shown, marked, deadline));
    }
    const shown = await this.#vault.touch(held.shown, now, deadline);
    if (shown === "conflict" || shown === "gone") return shown;
    if (shown === held.shown) return held;
    return await this.#written(shown, held.marks, held.clock);
  }

  async retire(
    held: Mended,
    heir: Mended,
    graceUntil: number,
    now: number,
    deadline: Deadline,
  ): Promise<"retired" | "conflict" | "gone"> {
    const answer = await this.#vault.retire(held.shown, heir.shown, graceUntil, now, deadline);
    if (answer === "retired") this.companion.end(held.shown.key, { heir: heir.id, graceUntil });
    return answer;
  }

  async end(held: Mended | string, deadline: Deadline): Promise<void> {
    const id = typeof held === "string" ? this.#around.ids.fromWire(held)?.id : held.id;
    await this.#vault.end(typeof held === "string" ? held : held.shown, deadline);
    if (id !== undefined) this.companion.end(keyOfId(id));
  }

  async #write(
    held: Mended,
    contents: Contents,
    store: (marked: Contents) => Promise<Stored | "conflict" | "gone">,
  ): Promise<Mended | "conflict" | "gone"> {
    const now = this.#around.now();
    const at = Math.max(now, held.clock + 1);
    const marks = new Map(held.marks);
    for (const name of difference(held.fields, contents.fields).keys()) {
      if (name !== HEAD_FIELD) marks.set(name, at);
    }
    if (headText(held.head) !== headText(contents.head)) marks.set(HEAD_FIELD, at);
    const stored = await store(withMarks(contents, marks));
    if (stored === held.shown) return held;
    return typeof stored === "string" ? stored : await this.#written(stored, marks, at);
  }

  /** Remembers, for the client, what was stored. */
  async #written(stored: Stored, marks: Marks, clock: number, isWhole?: true): Promise<Mended> {
    const held = { ...stored, fields: withoutMarks(stored.fields), shown: stored, marks, clock, isMended: false };
    const told = await this.companion.of(stored.key);
    this.#remember(held, isWhole ? { ...told, isWhole } : told);
    return held;
  }

  /** Lets the client know of what it sees. What it knows of changes without their texts, it goes on knowing. */
  #remember({ shown, fields, head, marks, lastSeenAt }: Mended, told: Memory): void {
    const unknown = [...told.entries].filter(([name, { at }]) => at > (marks.get(name) ?? -Infinity));
    const known = [...marks].map(([name, at]): [string, Entry] => [name, { at, text: textOf(name, fields, head) }]);
    this.companion.remember(shown.key, {
      entries: new Map([...known, ...unknown]),
      lastSeenAt,
      isWhole: told.isWhole,
    });
  }

  /** What is found, and merged with what the client brings; read again if that shows that it is not to be mended. */
  async #mended(
    find: () => Promise<Stored | Refusal>,
    presentedId: string | null,
    now: number,
    deadline: Deadline,
  ): Promise<Mended | Refusal> {
    for (let reads = 1; ; reads++) {
      const found = await find();
      const isUnknown = found === "unknown" && presentedId !== null;
      const shown = isUnknown ? await this.#missing(presentedId, now, deadline) : found;
      if (typeof shown === "string" && shown !== "late") return shown;
      const merged = shown === "late" ? null : merge(shown, await this.companion.of(shown.key), now);
      if (merged === null || merged.isStale) {
        if (reads < MOST_READS) {
          await deadline.pause();
          continue;
        }
        this.#around.onStale();
      }
      if (merged === null)
        throw new SessionError("ERR_STORE", "Cannot load the session: the store does not show it yet");
      const { held, told } = merged;
      if (this.#vault.isOver(held, now)) return "expired";
      if (isNews(held, told, now)) this.#remember(held, told);
      return held;
    }
  }

  /**
   * What the client knows of a session that the store does not show: all of it, or that it must be there. Where nobody can
   * tell a late session from one that was ended, it was ended.
   */
  async #missing(id: string, now: number, deadline: Deadline): Promise<Stored | "late" | "unknown"> {
    const { entries, lastSeenAt, isWhole } = await this.companion.of(keyOfId(id));
    if (entries.size === 0 || (await this.#vault.wasEnded(id, deadline)) !== false) return "unknown";
    const head = entries.get(HEAD_FIELD)?.text;
    const known = typeof head === "string" ? JSON.parse(head) : { createdAt: now, since: now };
    const missing = this.#vault.missing(id, { fields: new Map(), head: known, lastSeenAt });
    if (typeof head === "string" && isWhole) return missing;
    return this.#vault.isOver(missing, now) ? "unknown" : "late";
  }
}

interface Merged {
  readonly held: Mended;
  readonly told: Told;
  /** Whether the client knows of a change, and neither it nor the store has the text. */
  readonly isStale: boolean;
}

/** What the store showed, and the changes of which the client knows better. */
function merge(shown: Stored, told: Told, now: number): Merged {
  const allMarks = new Map(marksIn(shown.fields));
  const marks = new Map([...allMarks].filter(([, at]) => now - at < RECENT));
  const latest = greatest(allMarks);
  let clock = latest;
  const fields = withoutMarks(shown.fields);
  let { head } = shown;
  let isStale = false;
  let isMended = shown.isMissing === true;
  let needsStoring = false;
  for (const [name, entry] of told.entries) {
    clock = Math.max(clock, entry.at);
    const text = textOf(name, fields, head);
    if (!isLater(entry, { at: marks.get(name) ?? -Infinity, text })) continue;
    if (entry.text === undefined) {
      isStale = true;
      continue;
    }
    marks.set(name, entry.at);
    isMended = true;
    // What is only late is not written again; what another writer has overwritten is, and what may have been.
    needsStoring ||= told.companions > 1 || latest >= entry.at || now - entry.at > RECENT / 2;
    if (name === HEAD_FIELD) head = { ...JSON.parse(entry.text ?? "{}"), writtenBy: head.writtenBy };
    else if (entry.text === null) fields.delete(name);
    else fields.set(name, entry.text);
  }
  needsStoring &&= !shown.isMissing;
  const lastSeenAt = Math.max(shown.lastSeenAt, told.lastSeenAt);
  return { held: { ...shown, fields, head, lastSeenAt, shown, marks, clock, isMended, needsStoring }, told, isStale };
}

/** Whether the client sees something of late that it has not seen before. */
function isNews({ marks, lastSeenAt }: Mended, told: Told, now: number): boolean {
  if (lastSeenAt > told.lastSeenAt && now - lastSeenAt < RECENT) return true;
  return [...marks].some(([name, at]) => at > (told.entries.get(name)?.at ?? -Infinity));
}

function textOf(name: string, fields: ReadonlyMap<string, string>, head: Head): string | null {
  return name === HEAD_FIELD ? headText(head) : (fields.get(name) ?? null);
}

/** What of a head a client can see. The rest is about one record, and written anew with each. */
function headText(head: Head): string {
  return JSON.stringify({ ...head, writtenBy: undefined, successor: undefined, format: undefined, key: undefined });
}

function greatest(marks: Marks): number {
  let at = -Infinity;
  for (const mark of marks.values()) at = Math.max(at, mark);
  return at;
}

/** The marks in a record: names by instant, for a write that changes many fields is marked once. */
function marksIn(fields: ReadonlyMap<string, string>): [string, number][] {
  try {
    const namesByInstant: Record<string, string[]> = JSON.parse(fields.get(MARKS_FIELD) ?? "{}");
    return Object.entries(namesByInstant).flatMap(([at, names]) =>
      names.map((name): [string, number] => [name, Number(at)]),
    );
  } catch {
    // Spoiled by another program: nothing is known then, as after two minutes.
    return [];
  }
}

function withMarks(contents: Contents, marks: Marks): Contents {
  const namesByInstant: Record<string, string[]> = {};
  for (const [name, at] of marks) (namesByInstant[at] ??= []).push(name);
  return { ...contents, fields: new Map(contents.fields).set(MARKS_FIELD, JSON.stringify(namesByInstant)) };
}

/** A copy, without what is not the session's. */
function withoutMarks(fields: ReadonlyMap<string, string>): Map<string, string> {
  const others = new Map(fields);
  others.delete(MARKS_FIELD);
  return others;
}
