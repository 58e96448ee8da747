import { type Change, type Edit, removeFields, setField } from "./changes.ts";
import { type OwnTimeouts, SUBJECT_FIELD } from "./record.ts";
import { mintToken } from "./session_id.ts";
import type { Binding } from "./roster.ts";
import type { Found } from "./vault.ts";

/** What `regenerate` was asked for; `grace` in seconds. */
export interface Rotation {
  readonly grace: number;
  readonly reauthenticated: boolean;
}

/** What one request wants stored. */
export interface Wish {
  /** Names this wish in what it stores. */
  readonly token: string;
  readonly changes: readonly Change[];
  /** The fields after those changes, if nobody got in between. */
  readonly fields: ReadonlyMap<string, string>;
  readonly timeouts: OwnTimeouts | undefined;
  readonly rotation: Rotation | undefined;
  /** What the session is to be bound to; null for nothing any more, undefined if that stays as it is. */
  readonly binding: Binding | null | undefined;
  readonly started: boolean;
  readonly touched: boolean;
}

/** What one request knows of its session, and what it wants of it. Plain bookkeeping: no store, no client. */
export class Draft {
  /** The session as the store knows it; null if there is none, undefined while nobody has asked. */
  origin: Found | null | undefined;
  /** What `destroy` left to be ended: a session, or what the client presented in place of one. */
  doomed: Found | string | undefined;
  /** The id for the session that this request begins or regenerates, once somebody needed it. */
  nextId: string | undefined;
  /** Whether `nextId` was handed out, so that it can no longer be exchanged. */
  nextIdDisclosed = false;
  /** Whether the client must hear of the session although its id stays the same. */
  renewed = false;
  /** Whether the session ended in this request, so that the client must forget it. */
  ended = false;
  /** Whether another request has ended or regenerated the session meanwhile. */
  gone = false;
  /** Whether the client came without a session, or `destroy` was called since. */
  isNew = false;
  /** Whether the response is on its way, so that the client can no longer be told an id. */
  committed = false;

  timeouts: OwnTimeouts | undefined;
  rotation: Rotation | undefined;
  binding: Binding | null | undefined;
  started = false;
  touched = false;

  #changes: Change[] = [];
  #fields: ReadonlyMap<string, string> = NO_FIELDS;
  #copy: Map<string, string> | undefined;

  /** The session's fields as this request sees them. */
  get fields(): ReadonlyMap<string, string> {
    return this.#copy ?? this.#fields;
  }

  /** Whether anything waits to be stored. */
  get isPending(): boolean {
    return (
      this.#changes.length > 0 ||
      this.started ||
      this.touched ||
      this.doomed !== undefined ||
      this.rotation !== undefined ||
      this.timeouts !== undefined
    );
  }

  /** What waits to be stored, in a form that can be compared: each part is another one whenever anything was recorded. */
  get waiting(): readonly unknown[] {
    return [this.#changes.length, this.started, this.touched, this.rotation, this.timeouts, this.binding];
  }

  /** Whether there is a session, or will be one when this request is done. */
  get exists(): boolean {
    return Boolean(this.origin) || this.started || this.fields.size > 0;
  }

  /** Records a change that is its own edit. */
  edit(edit: Edit): void {
    this.record(edit, edit);
  }

  /** Records a change, whose outcome on what this request sees is `edit`. */
  record(change: Change, edit: Edit): void {
    this.#changes.push(change);
    // The fields are copied at the first change only: reading a large session must not cost a copy of it.
    this.#copy ??= new Map(this.#fields);
    edit(this.#copy);
  }

  /** Records to whom the session belongs; null for nobody. */
  bind(binding: Binding | null): void {
    this.binding = binding;
    this.edit(binding === null ? removeFields([SUBJECT_FIELD]) : setField(SUBJECT_FIELD, binding.subject));
  }

  /** Takes what the store answered as the ground on which this request stands. */
  settle(origin: Found | null): void | Promise<void> {
    if (this.#changes.length > 0) return this.#replayOn(origin);
    this.#stand(origin);
  }

  async #replayOn(origin: Found | null): Promise<void> {
    const changes = this.#changes;
    const copy = new Map(origin?.fields);
    // Apart from what the request sees until it is done: what is recorded meanwhile is replayed here as well.
    const failures: unknown[] = [];
    for (let next = 0; next < changes.length; next++) {
      try {
        await changes[next]?.(copy);
      } catch (error) {
        // An `update` whose function throws is dropped: what was stored, perhaps under a new id, is stored all the same.
        failures.push(error);
        changes.splice(next--, 1);
      }
    }
    this.#stand(origin, copy);
    if (failures.length > 0) throw failures[0];
  }

  #stand(origin: Found | null, copy?: Map<string, string>): void {
    this.origin = origin;
    this.#fields = origin?.fields ?? NO_FIELDS;
    this.#copy = copy;
  }

  /** Gives up the session, and all that was to be stored in it. */
  destroy(presented: string | null): void {
    this.doomed ??= this.origin ?? presented ?? undefined;
    this.origin = null;
    this.nextId = undefined;
    this.nextIdDisclosed = false;
    this.isNew = true;
    // Whatever has become of the session: it is to end, and so is the one that took its place.
    this.gone = false;
    this.take();
    this.#fields = NO_FIELDS;
    this.#copy = undefined;
  }

  /** Takes out what is to be stored; what is recorded from now on belongs to the next time. */
  take(): Wish {
    const { fields, timeouts, rotation, binding, started, touched } = this;
    const wish = { token: mintToken(), changes: this.#changes, fields, timeouts, rotation, binding, started, touched };
    this.#changes = [];
    this.timeouts = this.rotation = this.binding = undefined;
    this.started = this.touched = false;
    // The wish keeps these fields; the next change makes its own copy.
    this.#fields = fields;
    this.#copy = undefined;
    return wish;
  }

  /** Puts back what was not stored, ahead of what came meanwhile. */
  giveBack(wish: Wish): void {
    this.#changes = [...wish.changes, ...this.#changes];
    this.timeouts = wish.timeouts && { ...wish.timeouts, ...this.timeouts };
    this.rotation ??= wish.rotation;
    if (this.binding === undefined) this.binding = wish.binding;
    this.started ||= wish.started;
    this.touched ||= wish.touched;
  }
}

const NO_FIELDS: ReadonlyMap<string, string> = new Map();
