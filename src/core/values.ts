import type { Change, KeyChange } from "./changes.ts";
import type { Codec } from "./codec.ts";
import { isMistake, notSerializable } from "./errors.ts";
import type { SessionHappening } from "./events.ts";
import { type Ending, fieldName, type FieldsView, keyOf, unexpired, withEnd } from "./fields.ts";
import { isPromise } from "./maybe_promise.ts";
import { DATA, EXPIRING, FLASH } from "./record_fields.ts";
import type { WorkingCopy } from "./working_copy.ts";
import { isObject } from "./kind_of.ts";

/** The parts of the session in this request that `Values` needs. */
interface ValuesOwner {
  readonly copy: WorkingCopy;
  readonly policy: { readonly codec: Codec; readonly now: () => number };
  emit(event: SessionHappening): void;
}

/** An object that the handler has got, and its text at that time. */
interface Tracked {
  readonly value: object;
  readonly text: string;
}

/** The result of an update: the value and its text. After a conflict, the function of the update runs again and sets both anew. */
export interface Outcome {
  value?: unknown;
  text?: string | undefined;
}

/**
 * The values of one request and their texts. An object that the handler has got is kept with its text at that time, so
 * that a change in place is found by encoding the object again.
 */
export class Values {
  readonly #session: ValuesOwner;
  #tracked: Map<string, Tracked> | undefined;

  constructor(session: ValuesOwner) {
    this.#session = session;
  }

  /** The value of a key; for an object, the same one each time. A fallback that is an object is tracked as well. */
  get(key: string, fallback?: unknown): unknown {
    const tracked = this.#tracked?.get(key);
    if (tracked !== undefined) return tracked.value;
    const text = this.text(key);
    const value = text === undefined ? undefined : this.decode(text);
    if (value !== undefined && text !== undefined) {
      this.track(key, value, text);
      return value;
    }
    if (isObject(fallback)) this.track(key, fallback, this.encode(key, fallback));
    return fallback;
  }

  /** The text of a key, unless its time to live has passed. */
  text(key: string, view: FieldsView = this.#session.copy.pending.view): string | undefined {
    return view.get(fieldName(DATA, key)) ?? this.#expiring(key, view)?.text;
  }

  /** The keys that have a value. */
  keys(): string[] {
    const { view } = this.#session.copy.pending;
    const expiring = view.names(EXPIRING).map(keyOf);
    return [...view.names(DATA).map(keyOf), ...expiring.filter((key) => this.#expiring(key, view) !== undefined)];
  }

  decode(text: string): unknown {
    try {
      return this.#session.policy.codec.decode(text);
    } catch {
      // A field that another program has corrupted must not make every request fail until the session ends.
      this.#session.emit({ type: "rejected", reason: "corrupt" });
      return undefined;
    }
  }

  /**
   * The text of a value; undefined for undefined.
   *
   * @throws {SessionError} `ERR_NOT_SERIALIZABLE`, without the cause, which would hold the value
   */
  encode(key: string, value: object): string;
  encode(key: string, value: unknown): string | undefined;
  encode(key: string, value: unknown): string | undefined {
    if (value === undefined) return undefined;
    try {
      return this.#session.policy.codec.encode(value);
    } catch (error) {
      throw isMistake(error) ? error : notSerializable(key, error);
    }
  }

  /** Records a value, which ends at `endsAt` or with the session. Without a text, its key is removed. */
  set(key: string, value: unknown, text: string | undefined, endsAt?: number): void {
    this.#session.copy.record(changeOf(key, text, endsAt));
    this.track(key, value, text ?? "");
  }

  track(key: string, value: unknown, text: string): void {
    if (isObject(value)) (this.#tracked ??= new Map()).set(key, { value, text });
    else this.#tracked?.delete(key);
  }

  /** Tracks the result of an update, unless another call of this request has written the key since. */
  trackUpdated(key: string, { value, text }: Outcome): void {
    if (this.text(key) === text) this.track(key, value, text ?? "");
  }

  /** A change that reads, computes and writes one value, and notes the outcome. The value keeps its time to live. */
  computeChange(key: string, compute: (value: unknown, fields: FieldsView) => unknown, outcome: Outcome): KeyChange {
    return {
      key,
      run: (fields) => {
        const plain = fields.get(fieldName(DATA, key));
        const expiring = plain === undefined ? this.#expiring(key, fields) : undefined;
        const text = plain ?? expiring?.text;
        const put = (value: unknown): void => {
          const next = this.encode(key, value);
          write(fields, key, next, expiring?.endsAt);
          outcome.value = value;
          outcome.text = next;
        };
        const value = compute(text === undefined ? undefined : this.decode(text), fields);
        return isPromise(value) ? Promise.resolve(value).then(put) : put(value);
      },
    };
  }

  /** Records objects that were changed in place. */
  detectChanges(): void {
    if (this.#tracked === undefined) return;
    for (const [key, { value, text }] of this.#tracked) {
      const next = this.encode(key, value);
      if (next === text) continue;
      // A stored text may be another spelling of the same value, written by another program.
      if (next === this.encode(key, this.decode(text))) continue;
      const end = this.#expiring(key, this.#session.copy.pending.view)?.endsAt;
      this.#session.copy.record(changeOf(key, next, end));
      this.#tracked.set(key, { value, text: next });
    }
  }

  /** Stops tracking objects that another request has replaced in the store. */
  dropStale(): void {
    for (const [key, { text }] of this.#tracked ?? []) {
      const stored = this.text(key);
      if (stored !== undefined && stored !== text) this.#tracked?.delete(key);
    }
  }

  /** Stops tracking all objects. */
  untrack(): void {
    this.#tracked = undefined;
  }

  #expiring(key: string, view: FieldsView): Ending | undefined {
    const field = view.get(fieldName(EXPIRING, key));
    // Hardly any key has such a field. Without one, the clock is not read.
    return field === undefined ? undefined : unexpired(field, this.#session.policy.now());
  }
}

/** A change that sets a value, which ends at `endsAt` or with the session, or removes it if there is no text. */
function changeOf(key: string, text: string | undefined, endsAt: number | undefined): Change {
  return { key, run: (fields) => write(fields, key, text, endsAt) };
}

/** Writes a value, plain or expiring. `Flash` handles the flash value of a key. */
function write(fields: FieldsView, key: string, text: string | undefined, endsAt: number | undefined): void {
  const isPlain = endsAt === undefined || text === undefined;
  fields.set(fieldName(DATA, key), isPlain ? text : undefined);
  if (!isPlain || fields.mayHave(EXPIRING))
    fields.set(fieldName(EXPIRING, key), isPlain ? undefined : withEnd(text, endsAt));
}

/** A change that removes all data and flash values. */
export const CLEAR: Change = {
  key: undefined,
  run(fields) {
    for (const sign of [DATA, EXPIRING, FLASH] as const) for (const name of fields.names(sign)) fields.delete(name);
  },
};
