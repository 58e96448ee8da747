import type { NodeResponse } from "../../src/node.ts";

/** A response with only the members that the types require. A framework or a test may use such an object instead of Node's. */
export class BareResponse implements NodeResponse {
  statusCode = 200;
  isSent = false;
  readonly sent: unknown[] = [];
  readonly #headers: Map<string, string | readonly string[]> = new Map();

  get headersSent(): boolean {
    return this.isSent;
  }
  getHeader(name: string): string | readonly string[] | undefined {
    return this.#headers.get(name.toLowerCase());
  }
  setHeader(name: string, value: string | readonly string[]): void {
    this.#headers.set(name.toLowerCase(), value);
  }
  removeHeader(name: string): void {
    this.#headers.delete(name.toLowerCase());
  }
  getHeaderNames(): string[] {
    return [...this.#headers.keys()];
  }
  end(...args: unknown[]): this {
    this.isSent = true;
    this.sent.push(...args);
    return this;
  }
  on(): this {
    return this;
  }
  removeListener(): this {
    return this;
  }
  emit(): boolean {
    return true;
  }
}

/** A response that records what is sent, and has `on` like Node's. */
export class FullResponse extends BareResponse {
  readonly calls: unknown[][] = [];
  readonly listeners: [event: string, listener: () => void][] = [];
  /** The result of `on`. A compressing middleware returns its own stream. */
  emitter: FullResponse = this;
  readonly emitted: string[] = [];

  writeHead(...args: unknown[]): this {
    this.calls.push(["writeHead", ...args]);
    return this;
  }
  flushHeaders(...args: unknown[]): void {
    this.calls.push(["flushHeaders", ...args]);
  }
  write(...args: unknown[]): boolean {
    this.calls.push(["write", ...args]);
    return true;
  }
  addTrailers(trailers: Record<string, string>): void {
    this.calls.push(["addTrailers", trailers]);
  }
  override end(...args: unknown[]): this {
    this.calls.push(["end", ...args]);
    return this;
  }
  override on(event?: string, listener?: () => void): this {
    if (event !== undefined && listener !== undefined) this.listeners.push([event, listener]);
    return this.emitter as this;
  }
  override removeListener(event?: string, listener?: () => void): this {
    const at = this.listeners.findIndex(([each, own]) => each === event && own === listener);
    if (at >= 0) this.listeners.splice(at, 1);
    return this;
  }
  override emit(event?: string): boolean {
    this.emitted.push(String(event));
    for (const [each, listener] of this.listeners) if (each === event) listener();
    return true;
  }
  /** The headers that were set. */
  get fields(): Record<string, unknown> {
    return Object.fromEntries(this.getHeaderNames().map((name) => [name, this.getHeader(name)]));
  }
}
