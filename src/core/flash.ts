import type { KeyChange } from "./changes.ts";
import { assertKey, fieldName, keyOf, splitEnd, unexpired, withEnd } from "./fields.ts";
import { isPrefetch } from "./prefetch.ts";
import { FLASH } from "./record_fields.ts";
import type { WorkingCopy } from "./working_copy.ts";

/** The parts of the session that flash values use. */
interface FlashOwner {
  readonly copy: WorkingCopy;
  readonly policy: { readonly now: () => number };
  readonly transport: { readonly request: Request } | undefined;
}

/** Notes of what a request has done with flash values. Most requests do not use them, and have no notes. */
class Notes {
  /** The fields of the values that this request has read, by key. */
  readonly shown: Map<string, string> = new Map();
  /** The keys of read values whose removal is recorded. */
  readonly removed: Set<string> = new Set();
  /** The keys of values that this request has set for a later one. */
  readonly later: Set<string> = new Set();
  /** The keys of values that stay for one more request. */
  readonly kept: Set<string> = new Set();
  /** Whether all values stay. */
  keepsAll = false;

  keeps(key: string): boolean {
    return this.keepsAll || this.kept.has(key);
  }
}

/**
 * The flash values of one request. The request can read the values that are in the record when it begins; the values
 * that it sets are for a later request. A value that was read is removed when the session is stored, unless the handler
 * keeps it, or the request is a prefetch, whose response nobody sees.
 */
export class Flash {
  readonly #session: FlashOwner;
  #notes: Notes | undefined;

  constructor(session: FlashOwner) {
    this.#session = session;
  }

  /** The text that this request can read under a key, if any. */
  peek(key: string): string | undefined {
    const field = this.#field(key);
    return field && splitEnd(field).text;
  }

  /** The same as {@linkcode peek} for a call that reads the value: afterwards the value is consumed. */
  show(key: string): string | undefined {
    const field = this.#field(key);
    if (field !== undefined) this.#noted.shown.set(key, field);
    return field && splitEnd(field).text;
  }

  /** The field that this request can read under a key: the text with its end. */
  #field(key: string): string | undefined {
    const shown = this.#notes?.shown.get(key);
    if (shown !== undefined || this.#notes?.later.has(key)) return shown;
    const { view } = this.#session.copy.pending;
    // Every call that reads comes here, and very few sessions have a flash value.
    if (!view.mayHave(FLASH)) return undefined;
    const field = view.get(fieldName(FLASH, key));
    return unexpired(field, this.#session.policy.now()) && field;
  }

  /** The keys of the values that this request can read; some of them twice. */
  keys(): string[] {
    const stored = this.#session.copy.pending.view.names(FLASH).map(keyOf);
    const shown = this.#notes?.shown.keys() ?? [];
    return [...shown, ...stored.filter((key) => this.peek(key) !== undefined)];
  }

  /** Sets a value for a later request; `undefined` removes it. */
  set(key: string, text: string | undefined, endsAt: number | undefined): void {
    this.#session.copy.record(changeOf(key, text, endsAt));
    if (text !== undefined) this.#noted.later.add(key);
  }

  /** Keeps the values of these keys, or all values, for one more request: those that were read, and those that will be. */
  keep(keys: readonly string[]): void {
    const notes = this.#noted;
    const { shown, removed, later, kept } = notes;
    notes.keepsAll ||= keys.length === 0;
    for (const key of keys) {
      assertKey(key);
      kept.add(key);
    }
    // A value whose removal was recorded before this call is set again, with its end.
    for (const [key, field] of shown)
      if (!later.has(key) && notes.keeps(key) && removed.delete(key)) this.#replaceField(key, undefined, field);
  }

  /** Removes the value that this request can read under a key, because another one is written. A value for later stays. */
  replace(key: string): void {
    this.forget(key);
    const removal = this.removal(key);
    if (removal !== undefined) this.#session.copy.record(removal);
  }

  /** The change that removes the value that this request can read under a key; undefined if it has none, or one for later. */
  removal(key: string): KeyChange | undefined {
    const { copy } = this.#session;
    const isAbsent = copy.base !== undefined && copy.pending.view.get(fieldName(FLASH, key)) === undefined;
    return isAbsent || this.#notes?.later.has(key) ? undefined : changeOf(key);
  }

  /** Forgets the value that was read under a key, because another value has replaced it. */
  forget(key: string): void {
    this.#notes?.shown.delete(key);
    this.#notes?.removed.delete(key);
  }

  /** Drops the value of a key, whether it is for this request or for a later one. */
  remove(key: string): void {
    this.#notes?.later.delete(key);
    this.replace(key);
  }

  /** Forgets which values were read, which are to be removed, and which are for a later request. */
  reset(): void {
    this.#notes = undefined;
  }

  /** Records the removal of the values that were read. */
  recordRemovals(): void {
    const notes = this.#notes;
    if (notes === undefined || !this.#consumes) return;
    const { shown, removed, later } = notes;
    for (const [key, field] of shown) {
      if (removed.has(key) || later.has(key) || notes.keeps(key)) continue;
      removed.add(key);
      this.#replaceField(key, field, undefined);
    }
  }

  /** Records that a field takes the place of another one. A field that another request has set since then stays. */
  #replaceField(key: string, before: string | undefined, after: string | undefined): void {
    const name = fieldName(FLASH, key);
    this.#session.copy.record({
      key,
      run(fields) {
        if (fields.get(name) === before) fields.set(name, after);
      },
    });
  }

  /** Whether reading a value consumes it. In a prefetch it does not, because nobody sees the response. */
  get #consumes(): boolean {
    const { transport } = this.#session;
    return transport === undefined || !isPrefetch(transport.request);
  }

  get #noted(): Notes {
    return (this.#notes ??= new Notes());
  }
}

/** A change that sets a flash value, which ends at `endsAt` or with the session, or removes it if there is no text. */
function changeOf(key: string, text?: string, endsAt?: number): KeyChange {
  const name = fieldName(FLASH, key);
  const field = text === undefined ? undefined : withEnd(text, endsAt);
  return { key, run: (fields) => fields.set(name, field) };
}
