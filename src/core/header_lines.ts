/**
 * Headers that the library adds to a response, in the order in which they were written. They take the place of `Headers`
 * where only built-in transports write, because a runtime needs longer to make and to read `Headers` than for a commit.
 */
export class HeaderLines implements Iterable<readonly [name: string, value: string]> {
  readonly #lines: [name: string, value: string][] = [];

  append(name: string, value: string): void {
    this.#lines.push([name.toLowerCase(), value]);
  }

  /** The library sets no header twice. */
  set(name: string, value: string): void {
    this.append(name, value);
  }

  [Symbol.iterator](): IterableIterator<[name: string, value: string]> {
    return this.#lines.values();
  }
}

/** Whether there are no headers. */
export function isEmpty(headers: Iterable<unknown>): boolean {
  return headers[Symbol.iterator]().next().done === true;
}
