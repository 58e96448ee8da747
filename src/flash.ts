import { removeFields, removeIfStill, setField } from "./changes.ts";
import type { Draft } from "./draft.ts";
import { flashField, keysOf } from "./record.ts";

/** What a request has done with flash values. Most requests do nothing with them, and get no notes. */
class Notes {
  /** What this request has been shown, by key. */
  readonly shown: Map<string, string> = new Map();
  /** What of it is still in the record. */
  readonly consumed: Set<string> = new Set();
  /** What this request has set for a later one. */
  readonly ahead: Set<string> = new Set();
  readonly kept: Set<string> = new Set();
}

/**
 * The flash values of one request: those that it may see lie in the record when it comes, and those that it sets are
 * for a later one. What was shown is removed when the session is stored, unless it is to be kept.
 */
export class Flash {
  readonly #draft: Draft;
  #notes: Notes | undefined;
  #keepsAll = false;

  constructor(draft: Draft) {
    this.#draft = draft;
  }

  /** The text that this request may see under a key, if any. */
  peek(key: string): string | undefined {
    const shown = this.#notes?.shown.get(key);
    return shown ?? (this.#notes?.ahead.has(key) ? undefined : this.#draft.fields.get(flashField(key)));
  }

  /** The same, for a reader: afterwards it is gone. */
  show(key: string): string | undefined {
    const text = this.peek(key);
    if (text === undefined || this.#notes?.shown.has(key)) return text;
    const { shown, consumed, kept } = this.#noted();
    shown.set(key, text);
    if (!this.#keepsAll && !kept.has(key)) consumed.add(key);
    return text;
  }

  /** The keys under which this request may see something. */
  keys(): Set<string> {
    const keys = new Set(this.#notes?.shown.keys());
    for (const key of keysOf(this.#draft.fields, "~")) {
      if (this.peek(key) !== undefined) keys.add(key);
    }
    return keys;
  }

  /** Sets a value for a later request; `undefined` takes one back. */
  set(key: string, text: string | undefined): void {
    if (text === undefined) return this.#draft.edit(removeFields([flashField(key)]));
    this.#noted().ahead.add(key);
    this.#draft.edit(setField(flashField(key), text));
  }

  /** Keeps what was or will be shown for one more request: under these keys, or all. */
  keep(keys: readonly string[]): void {
    const { shown, consumed, ahead, kept } = this.#noted();
    this.#keepsAll ||= keys.length === 0;
    for (const key of keys) kept.add(key);
    for (const [key, text] of shown) {
      if (ahead.has(key) || !(this.#keepsAll || kept.has(key))) continue;
      // What was stored as removed before this call comes back.
      if (!consumed.delete(key)) this.#draft.edit(setField(flashField(key), text));
    }
  }

  /** Lets a written value take the place of one that may be seen, but not of one for later. */
  yield(key: string): void {
    this.#notes?.shown.delete(key);
    this.#notes?.consumed.delete(key);
    if (!this.#notes?.ahead.has(key)) this.#draft.edit(removeFields([flashField(key)]));
  }

  /** Drops what is under a key, seen or ahead. */
  remove(key: string): void {
    this.#notes?.ahead.delete(key);
    this.yield(key);
  }

  /** Drops everything from sight. */
  forget(): void {
    this.#notes?.shown.clear();
    this.#notes?.consumed.clear();
    this.#notes?.ahead.clear();
  }

  /** Records the removal of what was shown; of what another request has put there since, nothing is removed. */
  settle(): void {
    if (this.#notes === undefined) return;
    const { shown, consumed, ahead } = this.#notes;
    for (const key of consumed) {
      const text = shown.get(key);
      if (text !== undefined && !ahead.has(key)) this.#draft.edit(removeIfStill(flashField(key), text));
    }
    consumed.clear();
  }

  #noted(): Notes {
    return (this.#notes ??= new Notes());
  }
}
