import { assertKey, fieldName, keyOf, splitEnd, withEnd } from "./fields.ts";
import { isPrefetch } from "./prefetch.ts";
import { FLASH } from "./record_fields.ts";
import type { KeyChange, WorkingCopy } from "./working_copy.ts";

/** What flash values need of the session in this request. */
interface FlashOwner {
  readonly copy: WorkingCopy;
  readonly policy: { readonly now: () => number };
  readonly transport: { readonly request: Request } | undefined;
}

/** What a request has done with flash values. Most requests do nothing with them, and get no notes. */
class Notes {
  /** What this request has been shown, by key. */
  readonly shown: Map<string, string> = new Map();
  /** What of it is still in the record. */
  readonly consumed: Set<string> = new Set();
  /** What this request has set for a later one. */
  readonly later: Set<string> = new Set();
  /** The keys of what stays for one more request. */
  readonly kept: Set<string> = new Set();
}

/**
 * The flash values of one request: those that it may see are in the record when it comes, and those that it sets are for a later
 * one. What was shown is removed when the session is stored, unless it is to be kept, or the request is a prefetch, which nobody sees.
 */
export class Flash {
  readonly #session: FlashOwner;
  #notes: Notes | undefined;
  #keepsAll = false;

  constructor(session: FlashOwner) {
    this.#session = session;
  }

  /** The text that this request may see under a key, if any. */
  peek(key: string): string | undefined {
    const shown = this.#notes?.shown.get(key);
    if (shown !== undefined || this.#notes?.later.has(key)) return shown;
    const { view } = this.#session.copy;
    // Nearly no session has a flash value, and every call that reads comes here.
    const field = view.mayHave(FLASH) ? view.get(fieldName(FLASH, key)) : undefined;
    if (field === undefined) return undefined;
    const { text, endsAt } = splitEnd(field);
    return endsAt > this.#session.policy.now() ? text : undefined;
  }

  /** The same for a call that reads it: afterwards the value is consumed. */
  show(key: string): string | undefined {
    const text = this.peek(key);
    if (text === undefined || this.#notes?.shown.has(key)) return text;
    const { shown, consumed, kept } = this.#noted;
    shown.set(key, text);
    if (!this.#keepsAll && !kept.has(key) && this.#consumes) consumed.add(key);
    return text;
  }

  /** The keys under which this request may see something. */
  keys(): string[] {
    const { view } = this.#session.copy;
    if (this.#notes === undefined && !view.mayHave(FLASH)) return [];
    const keys = new Set(this.#notes?.shown.keys());
    for (const key of view.names(FLASH).map(keyOf)) if (this.peek(key) !== undefined) keys.add(key);
    return [...keys];
  }

  /** Sets a value for a later request; `undefined` takes one back. */
  set(key: string, text: string | undefined, ttl: number | undefined): void {
    const name = fieldName(FLASH, key);
    if (text === undefined) return this.#session.copy.record({ key, run: (fields) => fields.delete(name) });
    const value = withEnd(text, ttl === undefined ? undefined : this.#session.policy.now() + ttl * 1000);
    this.#noted.later.add(key);
    this.#session.copy.record({ key, run: (fields) => fields.set(name, value) });
  }

  /** Keeps what was or will be shown for one more request: under these keys, or all. */
  keep(keys: readonly string[]): void {
    const { shown, consumed, later, kept } = this.#noted;
    this.#keepsAll ||= keys.length === 0;
    for (const key of keys) {
      assertKey(key);
      kept.add(key);
    }
    for (const [key, text] of shown) {
      if (later.has(key) || !(this.#keepsAll || kept.has(key))) continue;
      // What was stored as removed before this call comes back.
      if (!consumed.delete(key) && this.#consumes) {
        this.#session.copy.record({
          key,
          run: (fields) => fields.set(fieldName(FLASH, key), withEnd(text, undefined)),
        });
      }
    }
  }

  /** Lets a written value replace one that may be seen, but not one for later. */
  replace(key: string): void {
    this.forget(key);
    const removal = this.removal(key);
    if (removal !== undefined) this.#session.copy.record(removal);
  }

  /** The change that removes what may be seen under a key; undefined if there is nothing, or what is there is for later. */
  removal(key: string): KeyChange | undefined {
    const { copy } = this.#session;
    const name = fieldName(FLASH, key);
    const isAbsent = copy.base !== undefined && copy.view.get(name) === undefined;
    if (isAbsent || this.#notes?.later.has(key)) return undefined;
    return { key, run: (fields) => fields.delete(name) };
  }

  /** Shows what was shown under a key no more: another value has taken its place. */
  forget(key: string): void {
    this.#notes?.shown.delete(key);
    this.#notes?.consumed.delete(key);
  }

  /** Drops what is under a key, for this request or a later one. */
  remove(key: string): void {
    this.#notes?.later.delete(key);
    this.replace(key);
  }

  /** Drops all notes: nothing is shown or consumed, and nothing is for a later request. */
  reset(): void {
    this.#notes?.shown.clear();
    this.#notes?.consumed.clear();
    this.#notes?.later.clear();
  }

  /** Records the removal of what was shown. What another request has put there since is left alone. */
  recordRemovals(): void {
    if (this.#notes === undefined) return;
    const { shown, consumed, later } = this.#notes;
    for (const key of consumed) {
      const text = shown.get(key);
      if (text === undefined || later.has(key)) continue;
      const name = fieldName(FLASH, key);
      this.#session.copy.record({
        key,
        run(fields) {
          const field = fields.get(name);
          if (field !== undefined && splitEnd(field).text === text) fields.delete(name);
        },
      });
    }
    consumed.clear();
  }

  /** Whether what is shown is consumed: nobody sees the answer to a prefetch. */
  get #consumes(): boolean {
    const { transport } = this.#session;
    return transport === undefined || !isPrefetch(transport.request);
  }

  get #noted(): Notes {
    return (this.#notes ??= new Notes());
  }
}
