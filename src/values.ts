import { setField } from "./changes.ts";
import type { Codec } from "./codec.ts";
import type { Draft } from "./draft.ts";
import { SessionError } from "./errors.ts";
import { dataField } from "./record.ts";

/**
 * Values and their texts. Objects that were handed out are remembered with the text that they had, so that one which
 * was changed in place is found by encoding it again.
 */
export class Values {
  readonly #draft: Draft;
  readonly #codec: Codec;
  readonly #onCorrupt: () => void;
  readonly #handedOut: Map<string, { readonly value: object; readonly text: string }> = new Map();

  constructor(draft: Draft, codec: Codec, onCorrupt: () => void) {
    this.#draft = draft;
    this.#codec = codec;
    this.#onCorrupt = onCorrupt;
  }

  /** The value of a key: for an object, the same one each time. */
  get(key: string): unknown {
    const text = this.#draft.fields.get(dataField(key));
    const handedOut = this.#handedOut.get(key);
    if (handedOut !== undefined) return handedOut.value;
    const value = this.decode(text);
    this.handOut(key, value, text);
    return value;
  }

  decode(text: string | undefined): unknown {
    if (text === undefined) return undefined;
    try {
      return this.#codec.decode(text);
    } catch {
      // A field that some other program spoiled must not fail every request until the session ends.
      this.#onCorrupt();
      return undefined;
    }
  }

  /** @throws {SessionError} `ERR_VALUE`, without the cause, which would hold the value */
  encode(key: string, value: unknown): string | undefined {
    if (value === undefined) return undefined;
    try {
      return this.#codec.encode(value);
    } catch {
      throw new SessionError(
        "ERR_VALUE",
        `Cannot store ${JSON.stringify(key)}: its value holds a function, a symbol or an instance of a class`,
      );
    }
  }

  handOut(key: string, value: unknown, text: string | undefined): void {
    if (typeof value === "object" && value !== null && text !== undefined) {
      this.#handedOut.set(key, { value, text });
    } else {
      this.#handedOut.delete(key);
    }
  }

  forget(key?: string): void {
    if (key === undefined) this.#handedOut.clear();
    else this.#handedOut.delete(key);
  }

  /** Records objects that were changed in place. */
  noticeChanges(): void {
    for (const [key, { value, text }] of this.#handedOut) {
      const now = this.encode(key, value);
      // A stored text may be another spelling of the same value, written by another program.
      if (now === undefined || now === text || now === this.encode(key, this.decode(text))) continue;
      this.#draft.edit(setField(dataField(key), now));
      this.#handedOut.set(key, { value, text: now });
    }
  }

  /** Forgets objects that are no longer what is stored, because another request's change was merged in. */
  reconcile(): void {
    for (const [key, { text }] of this.#handedOut) {
      if (this.#draft.fields.get(dataField(key)) !== text) this.#handedOut.delete(key);
    }
  }
}
