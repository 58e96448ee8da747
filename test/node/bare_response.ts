import type { NodeResponse } from "../../src/node.ts";

/** A response that has what the types ask for, and nothing else: as a framework or a test may stand in for Node's. */
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
