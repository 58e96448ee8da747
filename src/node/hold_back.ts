import { isPromise, type MaybePromise } from "../core/maybe_promise.ts";
import { type HeaderTarget, mergeHeaders } from "../core/response.ts";
import { type AsyncVariable, asyncVariable } from "../core/runtime.ts";
import type { NodeResponse } from "./messages.ts";

/** The calls by which Node sends a part of the response. Trailers are sent last. */
const SENDING = ["writeHead", "flushHeaders", "write", "addTrailers", "end"] as const;
/** The calls that Node refuses when the headers are sent. */
const SETTING = ["setHeader", "setHeaders", "appendHeader", "removeHeader"] as const;

type Sending = (typeof SENDING)[number];
type Call = (...args: unknown[]) => unknown;

/** A call that is held back until the session is stored. */
interface HeldCall {
  readonly name: Sending;
  readonly args: unknown[];
}

/**
 * In the async context of code that answers an error of storing: the response that it answers. It is made with the
 * first failure.
 */
let answering: AsyncVariable<NodeResponse> | undefined;

/** The steps before the first byte of a response is sent. */
interface HoldBackSteps {
  /** Stores the session; undefined if it was not used. */
  finish(): MaybePromise<Headers | undefined>;
  /** Called when the response carries the headers that `finish` returned. */
  sent(): void;
  /** Gets the error if `finish` failed. The calls that were held back are dropped, so another response can be sent. */
  fail(error: unknown): void;
  /**
   * Called if the headers that `finish` returned cannot be sent: the connection was closed, or headers were sent
   * already.
   */
  abort(): void;
}

/**
 * Holds back the calls that would send headers until the session is stored, and then adds the session's headers. If
 * storing takes no time, or the session was not used, nothing is held back. While calls are held back, the response
 * says that its headers are sent. Otherwise a framework would answer a second time.
 *
 * If storing fails, the handler may still be writing, such as a stream. Its calls are dropped until the response to the
 * error begins. Otherwise they would be part of that response, or would send the headers before it sets its own.
 */
export function holdBack(response: NodeResponse, { finish, sent, fail, abort }: HoldBackSteps): void {
  let state: "open" | "storing" | "sending" | "failed" | "answered" | "closed" = "open";
  /** The error of storing, and the look of the response when `fail` had returned. */
  let failure: { readonly error: unknown; look?: string } | undefined;
  let held: HeldCall[] = [];
  /** The status at the first call. Node ignores one that is set later. */
  let status = 0;
  let hasTrailers = false;
  const originals = new Map<Sending, Call>();
  const target = response as unknown as Record<Sending | (typeof SETTING)[number], Call>;

  const send = (name: Sending, args: unknown[]): unknown => originals.get(name)?.apply(response, args);
  const release = (headers: Headers | undefined): void => {
    if (state === "closed") return abort();
    state = "sending";
    showAsSent(response, undefined);
    if (response.headersSent) abort();
    else {
      response.statusCode = status;
      if (headers !== undefined) mergeHeaders(headersOf(response), headers);
      sent();
    }
    const calls = held;
    held = [];
    for (const { name, args } of calls) send(name, args);
    if (calls.some(({ name }) => name === "write")) emitDrain(response);
  };
  const failed = (error: unknown, calls: readonly HeldCall[] = held): void => {
    held = [];
    showAsSent(response, undefined);
    drop(calls, error);
    if (state === "closed") return;
    failure = { error };
    if (hasTrailers) send("addTrailers", [{}]);
    // The handler makes no call after its `end`.
    state = calls.some(({ name }) => name === "end") ? "sending" : "failed";
    answering ??= asyncVariable();
    answering.run(response, () => fail(error));
    failure.look = lookOf(response);
  };
  /**
   * Whether a call belongs to the response to the error. Code without the async context is recognised by the status or
   * the headers that it has set: a handler does not set them while it writes.
   */
  const isAnswer = (name: Sending): boolean =>
    name === "writeHead" || answering?.getStore() === response || lookOf(response) !== failure?.look;

  const hold = (name: Sending, args: unknown[]): unknown => {
    held.push({ name, args });
    return name === "write" ? false : response;
  };
  const begin = (name: Sending, args: unknown[]): unknown => {
    // If this throws, nothing has changed yet, so the handler can answer in another way.
    if (name === "writeHead") assertStatus(args[0]);
    const rest = name === "writeHead" ? takeHead(response, args) : args;
    state = "storing";
    status = response.statusCode;
    try {
      const stored = finish();
      if (stored === undefined) state = "sending";
      else if (isPromise(stored)) stored.then(release).catch(failed);
      else release(stored);
    } catch (error) {
      failed(error, [{ name, args }]);
      return name === "write" ? false : response;
    }
    // `finish` may have stored it already.
    if ((state as string) === "sending") return send(name, rest);
    showAsSent(response, () => held.some((call) => call.name === "end"));
    return hold(name, rest);
  };
  const handle = (name: Sending, args: unknown[]): unknown => {
    if (state === "failed" && isAnswer(name)) state = "sending";
    switch (state) {
      case "open":
        if (name !== "addTrailers") return begin(name, args);
        hasTrailers = true;
        return send(name, args);
      case "storing":
        if (name !== "writeHead") return hold(name, args);
        // Node itself calls it like this for a middleware that does not look at `headersSent`.
        if (args.length === 1 && args[0] === response.statusCode) return response;
        // Otherwise Node would throw when the session is stored, after a part of the response was sent.
        throw headersSent();
      case "failed":
      case "answered":
        drop([{ name, args }], failure?.error);
        if (state === "failed" && name === "end") state = "sending";
        return name === "write" ? true : response;
      default: {
        const sent = send(name, args);
        if (failure !== undefined && name === "end") state = "answered";
        return sent;
      }
    }
  };

  for (const name of SENDING) {
    const original = target[name];
    if (typeof original !== "function") continue;
    originals.set(name, original);
    target[name] = (...args) => handle(name, args);
  }
  for (const name of SETTING) {
    const original = target[name];
    if (typeof original !== "function") continue;
    target[name] = (...args) => {
      if (state === "storing" && held.length > 0) throw headersSent();
      return original.apply(response, args);
    };
  }
  response.on("close", () => {
    if (state === "open") abort();
    state = "closed";
    drop(held, new Error("Cannot send the response: the connection is closed"));
    held = [];
  });
}

/** Throws what Node throws if the status is invalid. In HTTP/2, Node throws after it has set the status. */
function assertStatus(status: unknown): void {
  const code = Math.trunc(Number(status));
  if (code >= 100 && code <= 999) return;
  throw Object.assign(new RangeError(`Invalid status code: ${String(status)}`), {
    code: "ERR_HTTP_INVALID_STATUS_CODE",
  });
}

/** The error that Node throws in this case. */
function headersSent(): Error {
  const error = new Error("Cannot change the headers: they are sent, or wait for the session to be stored");
  return Object.assign(error, { code: "ERR_HTTP_HEADERS_SENT" });
}

/** Calls the callbacks of calls that are dropped with the error, as Node does. */
function drop(calls: readonly HeldCall[], error: unknown): void {
  for (const { args } of calls) {
    const callback = args.at(-1);
    if (typeof callback === "function") queueMicrotask(() => callback(error));
  }
}

/** The parts of a response that are set before it is sent. */
function lookOf(response: NodeResponse): string {
  return JSON.stringify([
    response.statusCode,
    response.getHeaderNames().map((name) => [name, response.getHeader(name)]),
  ]);
}

/**
 * Wakes the writers that wait. With a compressing middleware, `on` returns that middleware's stream, which has the
 * listeners.
 */
function emitDrain(response: NodeResponse): void {
  const nothing = (): void => {};
  const emitter = response.on("drain", nothing);
  emitter.removeListener("drain", nothing);
  for (const each of new Set([response as unknown as { emit(event: string): void }, emitter])) each.emit("drain");
}

/**
 * Makes a response say that its headers are sent, and whether it has ended. Without `isEnded`, it shows its real state
 * again.
 */
function showAsSent(response: NodeResponse, isEnded: (() => boolean) | undefined): void {
  if (isEnded === undefined) {
    Reflect.deleteProperty(response, "headersSent");
    Reflect.deleteProperty(response, "writableEnded");
    return;
  }
  Object.defineProperty(response, "headersSent", { configurable: true, get: () => true });
  Object.defineProperty(response, "writableEnded", { configurable: true, get: isEnded });
}

/**
 * Moves the arguments of `writeHead` into the response itself, where the session's headers can be added. Returns the
 * remaining arguments.
 */
function takeHead(response: NodeResponse, [status, ...others]: unknown[]): unknown[] {
  response.statusCode = Number(status);
  const [reason, second] = others;
  const headers = typeof reason === "string" ? second : (second ?? reason);
  if (Array.isArray(headers)) {
    const pairs: readonly unknown[][] = Array.isArray(headers[0])
      ? headers
      : headers.flatMap((name, at) => (at % 2 === 0 ? [[name, headers[at + 1]]] : []));
    const all = new Map<string, { readonly name: string; readonly values: string[] }>();
    for (const [name, value] of pairs) {
      const key = String(name).toLowerCase();
      const values = Array.isArray(value) ? value.map(String) : [String(value)];
      all.set(key, { name: String(name), values: [...(all.get(key)?.values ?? []), ...values] });
    }
    for (const { name, values } of all.values())
      response.setHeader(name, values.length === 1 ? (values[0] ?? "") : values);
  } else if (typeof headers === "object" && headers !== null) {
    for (const [name, value] of Object.entries(headers))
      if (value !== undefined) response.setHeader(name, Array.isArray(value) ? value : String(value));
  }
  return typeof reason === "string" ? [response.statusCode, reason] : [response.statusCode];
}

/** The headers of Node's response, so that the session's headers can be added. */
function headersOf(response: NodeResponse): HeaderTarget {
  const list = (name: string): string[] => {
    const value = response.getHeader(name);
    return value === undefined ? [] : Array.isArray(value) ? [...value] : [String(value)];
  };
  return {
    get: (name) => (response.getHeader(name) === undefined ? null : list(name).join(", ")),
    set: (name, value) => void response.setHeader(name, value),
    append(name, value) {
      const values = [...list(name), value];
      response.setHeader(name, name.toLowerCase() === "set-cookie" ? values : values.join(", "));
    },
    delete: (name) => response.removeHeader(name),
    has: (name) => response.getHeader(name) !== undefined,
    getSetCookie: () => list("Set-Cookie"),
    keys: () => response.getHeaderNames(),
  };
}
