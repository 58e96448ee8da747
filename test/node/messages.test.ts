import { expect, test } from "vitest";
import { holdBack } from "../../src/node/hold_back.ts";
import { toRequest } from "../../src/node/messages.ts";
import { nodeSession, type NodeResponse } from "../../src/node.ts";
import { type Data, sessionOf } from "./setup.ts";

/** A response that has what the types ask for, and nothing else: as a framework or a test may stand in for Node's. */
class BareResponse implements NodeResponse {
  statusCode = 200;
  headersSent = false;
  readonly sent: unknown[] = [];
  readonly #headers: Map<string, string | readonly string[]> = new Map();

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
    this.headersSent = true;
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

test("nodeSession() takes messages that have no more than their types ask for", async () => {
  const middleware = nodeSession<Data>();
  const request = { headers: { host: "localhost" } };
  const response = new BareResponse();
  middleware(request, response, () => {
    sessionOf(request).set("user", "Ada");
    response.end("body");
  });
  await expect.poll(() => response.sent).toEqual(["body"]);
  expect("write" in response).toBe(false);
  expect(response.getHeader("Set-Cookie")).toEqual([expect.stringMatching(/^session=/)]);
});

test("toRequest() keeps each value of a header that came several times, and leaves out what HTTP/2 puts beside", () => {
  const headers = {
    ":authority": "shop.example",
    "x-forwarded-for": ["192.0.2.1", "192.0.2.2"],
    "x-absent": undefined,
  };
  const request = toRequest({ headers });
  expect([...request.headers]).toEqual([["x-forwarded-for", "192.0.2.1, 192.0.2.2"]]);
  expect(request.url).toBe("http://shop.example/");
});

test("holdBack() hands on what is thrown at once, and nothing of the response goes out", () => {
  const response = new BareResponse();
  const failures: unknown[] = [];
  holdBack(response, {
    finish() {
      throw new RangeError("no");
    },
    sent() {},
    fail: (error) => failures.push(error),
    abort() {},
  });
  response.end("body");
  expect([failures, response.sent]).toEqual([[new RangeError("no")], []]);
  response.end("Internal Server Error");
  expect(response.sent).toEqual(["Internal Server Error"]);
});
