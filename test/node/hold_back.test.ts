import { expect, test } from "vitest";
import { holdBack } from "../../src/node/hold_back.ts";
import { FullResponse } from "./bare_response.ts";

/** A response that is held back until `store` or `refuse` is called, and a list of the calls meanwhile. */
function held(response: FullResponse = new FullResponse(), answer: (response: FullResponse) => void = () => {}) {
  const { promise, resolve, reject } = Promise.withResolvers<Headers>();
  const done: unknown[] = [];
  holdBack(response, {
    finish: () => (done.push("finish"), promise),
    sent: () => done.push("sent"),
    fail: (error) => (done.push(error), answer(response)),
    abort: () => done.push("abort"),
  });
  const settled = async (): Promise<void> => void (await new Promise(setImmediate));
  return {
    response,
    done,
    store: (headers: Record<string, string> = {}) => (resolve(new Headers(headers)), settled()),
    refuse: (error: unknown) => (reject(error), settled()),
  };
}

/** A response whose session is stored at once. */
function stored(
  headers: Record<string, string> | [string, string][] | undefined,
  response: FullResponse = new FullResponse(),
): FullResponse {
  holdBack(response, {
    finish: () => (headers === undefined ? undefined : new Headers(headers)),
    sent() {},
    fail: (error) => {
      throw error;
    },
    abort() {},
  });
  return response;
}

test("holdBack() hands on what is thrown at once, and nothing of the response goes out", () => {
  const response = new FullResponse();
  const failures: unknown[] = [];
  holdBack(response, {
    finish() {
      throw new RangeError("no");
    },
    sent() {},
    fail(error) {
      failures.push(error, [...response.calls]);
      expect(response.end("Internal Server Error")).toBe(response);
    },
    abort() {},
  });
  expect(response.write("body")).toBe(false);
  expect(failures).toEqual([new RangeError("no"), []]);
  expect(response.calls).toEqual([["end", "Internal Server Error"]]);
  const other = new FullResponse();
  holdBack(other, {
    finish() {
      throw new RangeError("no");
    },
    sent() {},
    fail() {},
    abort() {},
  });
  expect(other.end("body")).toBe(other);
});

test("holdBack() sends at once, as it was called, when nobody has used the session or storing takes no time", () => {
  for (const headers of [undefined, { "X-Session": "1" }]) {
    const response = stored(headers);
    expect(response.writeHead(201, "Made", { "X-Own": "1" })).toBe(response);
    expect(response.write("a", "utf8")).toBe(true);
    response.flushHeaders();
    expect(response.end("b")).toBe(response);
    // Node says what is wrong with it.
    response.end("c");
    expect(response.calls).toEqual([
      ["writeHead", 201, "Made"],
      ["write", "a", "utf8"],
      ["flushHeaders"],
      ["end", "b"],
      ["end", "c"],
    ]);
    expect(response.fields).toEqual({ "x-own": "1", ...(headers && { "x-session": "1" }) });
    expect(response.emitted).toEqual([]);
  }
});

test("holdBack() keeps calls back in their order until the session is stored, and then wakes who waits to write", async () => {
  const { response, done, store } = held();
  expect(response.writeHead(201)).toBe(response);
  expect(response.write("a")).toBe(false);
  expect(response.write("b", "utf8")).toBe(false);
  expect(response.flushHeaders()).toBe(response);
  expect(response.end("c")).toBe(response);
  expect([response.calls, done]).toEqual([[], ["finish"]]);
  await store({ "X-Session": "1" });
  expect(response.calls).toEqual([
    ["writeHead", 201],
    ["write", "a"],
    ["write", "b", "utf8"],
    ["flushHeaders"],
    ["end", "c"],
  ]);
  expect(response.fields).toEqual({ "x-session": "1" });
  expect(response.emitted).toEqual(["drain"]);
  expect(response.listeners.map(([event]) => event)).toEqual(["close"]);
});

test("holdBack() wakes nobody when nothing was written, and both streams of a compressing middleware otherwise", async () => {
  const quiet = held();
  quiet.response.end("body");
  await quiet.store();
  expect(quiet.response.emitted).toEqual([]);
  const { response, store } = held();
  response.emitter = new FullResponse();
  expect(response.write("body")).toBe(false);
  await store();
  expect([response.emitted, response.emitter.emitted]).toEqual([["drain"], ["drain"]]);
});

test("holdBack() lets the response say that it is sent, and ended, while it is held back", async () => {
  const { response, store } = held();
  const state = (): unknown[] => [response.headersSent, Reflect.get(response, "writableEnded")];
  expect(state()).toEqual([false, undefined]);
  response.write("a");
  expect(state()).toEqual([true, false]);
  response.end();
  expect(state()).toEqual([true, true]);
  await store();
  expect([Object.hasOwn(response, "headersSent"), Object.hasOwn(response, "writableEnded")]).toEqual([false, false]);
});

test("holdBack() drops what was held back when storing fails, and the response can be answered in another way", async () => {
  for (const answer of ["at once", "later"]) {
    const { response, done, refuse } = held(new FullResponse(), (response) => {
      if (answer === "at once") response.end("sorry");
      else setImmediate(() => setImmediate(() => response.end("sorry")));
    });
    response.write("a");
    await refuse(new RangeError("no"));
    expect([done, response.emitted]).toEqual([["finish", new RangeError("no")], []]);
    expect(Object.hasOwn(response, "headersSent")).toBe(false);
    await expect.poll(() => response.calls).toEqual([["end", "sorry"]]);
  }
});

test("holdBack() drops what a handler sends that goes on after storing failed, until its end, and all of it after the error's answer", async () => {
  for (const isSoon of [true, false]) {
    const { response, refuse } = held();
    response.write("a");
    await refuse(new RangeError("no"));
    expect(response.write("b")).toBe(true);
    expect(response.flushHeaders()).toBe(response);
    if (isSoon) {
      expect(response.end("c")).toBe(response);
      expect(response.calls).toEqual([]);
      response.end("sorry");
    } else {
      // It has lost its context, and is known by its status.
      response.statusCode = 503;
      response.end("sorry");
      expect(response.write("c")).toBe(true);
      expect(response.end("d")).toBe(response);
      expect(response.end("e")).toBe(response);
    }
    expect(response.calls).toEqual([["end", "sorry"]]);
  }
});

test("holdBack() knows an answer that comes later by its headers, and by writeHead()", async () => {
  for (const before of [undefined, "text/plain"]) {
    const { response, refuse } = held();
    if (before !== undefined) response.setHeader("Content-Type", before);
    response.write("a");
    await refuse(new RangeError("no"));
    response.write("b");
    response.setHeader("Content-Type", "text/html");
    response.write("sorry");
    expect(response.calls).toEqual([["write", "sorry"]]);
  }
  const other = held();
  other.response.write("a");
  await other.refuse(new RangeError("no"));
  other.response.writeHead(500);
  other.response.write("sorry");
  expect(other.response.calls).toEqual([
    ["writeHead", 500],
    ["write", "sorry"],
  ]);
});

test("holdBack() takes what follows for the error's answer when the handler had ended its response", async () => {
  const { response, refuse } = held();
  response.write("a");
  response.end();
  await refuse(new RangeError("no"));
  response.write("sorry");
  expect(response.calls).toEqual([["write", "sorry"]]);
  const atOnce = new FullResponse();
  holdBack(atOnce, {
    finish() {
      throw new RangeError("no");
    },
    sent() {},
    fail() {},
    abort() {},
  });
  atOnce.end("body");
  atOnce.write("sorry");
  expect(atOnce.calls).toEqual([["write", "sorry"]]);
});

test("holdBack() calls back who waits for a call that was dropped, with an error", async () => {
  const { response, refuse } = held();
  const told: unknown[] = [];
  response.write("a", (error: unknown) => told.push(error));
  response.write("b", "utf8", (error: unknown) => told.push(error));
  await refuse(new RangeError("no"));
  expect(told).toEqual([new RangeError("no"), new RangeError("no")]);
  response.end((error: unknown) => told.push(error));
  await new Promise(setImmediate);
  response.emit("close");
  await new Promise(setImmediate);
  expect(told).toHaveLength(3);
  const left = held();
  left.response.write("a", (error: unknown) => told.push(error));
  left.response.emit("close");
  await new Promise(setImmediate);
  expect(told[3]).toEqual(new Error("Cannot send the response: the connection is closed"));
  await left.refuse(new RangeError("no"));
  expect(told).toHaveLength(4);
  const answered = held(new FullResponse(), (response) => response.end("sorry"));
  answered.response.write("a");
  await answered.refuse(new RangeError("no"));
  answered.response.write("b", (error: unknown) => told.push(error));
  await new Promise(setImmediate);
  expect(told[4]).toEqual(new RangeError("no"));
});

test("holdBack() takes what fails when the headers are set for a failure of storing", async () => {
  const { response, done, store } = held();
  response.setHeader = () => {
    throw new RangeError("no");
  };
  const told: unknown[] = [];
  response.end("a", (error: unknown) => told.push(error));
  await store({ "X-Session": "1" });
  expect([done, told]).toEqual([["finish", new RangeError("no")], [new RangeError("no")]]);
  // The handler has ended its response, so this is the error's.
  response.end("sorry");
  expect(response.calls).toEqual([["end", "sorry"]]);
});

test("holdBack() gives up when the connection closes, before or while the session is stored", async () => {
  const before = held();
  before.response.emit("close");
  before.response.end("late");
  expect([before.done, before.response.calls]).toEqual([["abort"], [["end", "late"]]]);
  for (const settle of ["store", "refuse"] as const) {
    const during = held();
    during.response.end("body");
    during.response.emit("close");
    await (settle === "store" ? during.store({ "X-Session": "1" }) : during.refuse(new Error("no")));
    // The stored change is put back, because no client received the response.
    const done = settle === "store" ? ["finish", "abort"] : ["finish"];
    expect([during.done, during.response.calls, during.response.fields]).toEqual([done, [], {}]);
  }
  const after = held();
  after.response.end("body");
  await after.store();
  after.response.emit("close");
  expect(after.done).toEqual(["finish", "sent"]);
});

test("holdBack() adds no header to a response whose headers are sent, and says so", async () => {
  const { response, done, store } = held();
  response.isSent = true;
  response.end("body");
  await store({ "X-Session": "1" });
  expect([response.calls, response.fields]).toEqual([[["end", "body"]], {}]);
  expect(done).toEqual(["finish", "abort"]);
});

test.each<[string, unknown[], unknown[], Record<string, unknown>]>([
  ["a status", [204], [204], {}],
  ["a status as text", ["204"], [204], {}],
  ["a reason", [200, "Fine"], [200, "Fine"], {}],
  ["an object", [200, { "X-A": "1", "X-B": 2 }], [200], { "x-a": "1", "x-b": "2" }],
  ["a reason and an object", [200, "Fine", { "X-A": "1" }], [200, "Fine"], { "x-a": "1" }],
  ["no reason and an object", [200, undefined, { "X-A": "1" }], [200], { "x-a": "1" }],
  ["a list of values", [200, { "X-A": ["1", "2"], "X-B": undefined }], [200], { "x-a": ["1", "2"] }],
  ["names and values in turn", [200, ["X-A", "1", "X-B", 2]], [200], { "x-a": "1", "x-b": "2" }],
  [
    "pairs",
    [
      200,
      [
        ["X-A", "1"],
        ["X-B", ["2", "3"]],
      ],
    ],
    [200],
    { "x-a": "1", "x-b": ["2", "3"] },
  ],
  ["a name several times", [200, ["X-A", "1", "x-a", "2"]], [200], { "x-a": ["1", "2"] }],
  ["an empty list", [200, []], [200], {}],
  ["null", [200, null], [200], {}],
  ["a reason and null", [200, "Fine", null], [200, "Fine"], {}],
])("holdBack() notes in the response itself what writeHead() was given: %s", (_what, given, left, fields) => {
  const response = stored({});
  response.writeHead(...given);
  expect([response.statusCode, response.calls]).toEqual([left[0], [["writeHead", ...left]]]);
  expect(response.fields).toEqual(fields);
});

test("holdBack() keeps the name of a header as it is written", () => {
  const response = stored({});
  const names: string[] = [];
  response.setHeader = (name) => void names.push(name);
  response.writeHead(200, ["X-Own", "1", "x-own", "2"]);
  expect(names).toEqual(["x-own"]);
});

test("holdBack() adds nothing for a session that turns out later not to have been used", async () => {
  const response = new FullResponse();
  const done: unknown[] = [];
  holdBack(response, {
    finish: async () => undefined,
    sent: () => done.push("sent"),
    fail: (error) => done.push(error),
    abort: () => done.push("abort"),
  });
  response.end("body");
  await new Promise(setImmediate);
  expect([done, response.calls, response.fields]).toEqual([["sent"], [["end", "body"]], {}]);
});

test("holdBack() adds the session's headers to those of the response", () => {
  const response = new FullResponse();
  response.setHeader("Set-Cookie", "own=1");
  response.setHeader("Vary", ["Accept", "Origin"]);
  response.setHeader("X-Count", 7 as unknown as string);
  stored(
    [
      ["Set-Cookie", "session=a"],
      ["Vary", "Cookie"],
      ["Cache-Control", "private"],
    ],
    response,
  ).end("body");
  expect(response.fields).toMatchObject({ "set-cookie": ["own=1", "session=a"], "x-count": 7 });
  expect(String(response.getHeader("Vary"))).toBe("Accept, Origin, Cookie");
});

test("holdBack() names no header twice, and drops a cookie of the session's name", () => {
  const response = new FullResponse();
  response.setHeader("Set-Cookie", ["own=1", "session=stolen"]);
  response.setHeader("Vary", ["Accept", "Cookie"]);
  stored({ "Set-Cookie": "session=a", "Vary": "Cookie" }, response).end("body");
  expect(response.fields).toEqual({ "set-cookie": ["own=1", "session=a"], "vary": ["Accept", "Cookie"] });
});

test("holdBack() exposes the header of an id to another origin that the handler lets in alone", () => {
  for (const origin of [undefined, "https://app.example"]) {
    const response = new FullResponse();
    if (origin !== undefined) response.setHeader("Access-Control-Allow-Origin", origin);
    stored({ "Access-Control-Expose-Headers": "X-Session-Id" }, response).end("body");
    expect(response.getHeader("Access-Control-Expose-Headers")).toBe(origin && "X-Session-Id");
  }
});

test("holdBack() refuses a head that Node would refuse, and changes nothing then", async () => {
  const { response, done, store } = held();
  for (const status of [99, 1000, Number.NaN, "none"])
    expect(() => response.writeHead(status)).toThrow(
      expect.objectContaining({ name: "RangeError", code: "ERR_HTTP_INVALID_STATUS_CODE" }),
    );
  expect([response.statusCode, done]).toEqual([200, []]);
  response.writeHead(201);
  const again: readonly unknown[][] = [[200], [201, { "X-Own": "1" }], [200, "Fine"]];
  for (const args of again)
    expect(() => response.writeHead(...args)).toThrow(expect.objectContaining({ code: "ERR_HTTP_HEADERS_SENT" }));
  // Node itself repeats the head like this when a part of the body is written.
  expect(response.writeHead(201)).toBe(response);
  await store();
  expect(response.calls).toEqual([["writeHead", 201]]);
  for (const status of [100, 999]) expect(stored({}).writeHead(status).calls).toEqual([["writeHead", status]]);
});

test("holdBack() drops the trailers of a handler that goes on after storing failed", async () => {
  const { response, refuse } = held();
  response.addTrailers({ a: "1" });
  response.write("a");
  response.addTrailers({ b: "1" });
  await refuse(new RangeError("no"));
  response.addTrailers({ c: "1" });
  response.end();
  response.writeHead(500);
  response.addTrailers({ d: "1" });
  expect(response.calls).toEqual([
    ["addTrailers", { a: "1" }],
    ["addTrailers", {}],
    ["writeHead", 500],
    ["addTrailers", { d: "1" }],
  ]);
});

test("holdBack() sends trailers in their turn", async () => {
  const { response, store } = held();
  response.write("a");
  response.addTrailers({ b: "1" });
  response.end();
  await store();
  expect(response.calls).toEqual([["write", "a"], ["addTrailers", { b: "1" }], ["end"]]);
});
