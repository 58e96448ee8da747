import { isPromise, type MaybePromise } from "../core/maybe_promise.ts";
import { type HeaderTarget, mergeHeaders } from "../core/response.ts";
import type { NodeResponse } from "./messages.ts";

/** The calls by which Node sends headers. */
const SENDING = ["writeHead", "flushHeaders", "write", "end"] as const;

type Sending = (typeof SENDING)[number];
type Call = (...args: unknown[]) => unknown;

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
 */
export function holdBack(response: NodeResponse, { finish, sent, fail, abort }: HoldBackSteps): void {
  let state: "open" | "storing" | "done" = "open";
  let isClosed = false;
  let held: { readonly name: Sending; readonly args: unknown[] }[] = [];
  const originals = new Map<Sending, Call>();
  const target = response as unknown as Record<Sending, Call>;

  const send = (name: Sending, args: unknown[]): unknown => originals.get(name)?.apply(response, args);
  const release = (headers: Headers | undefined): void => {
    if (isClosed) return abort();
    state = "done";
    const calls = held;
    held = [];
    showAsSent(response, undefined);
    if (response.headersSent) abort();
    else {
      if (headers !== undefined) mergeHeaders(headersOf(response), headers);
      sent();
    }
    for (const { name, args } of calls) send(name, args);
    if (calls.some(({ name }) => name === "write")) emitDrain(response);
  };
  const failed = (error: unknown): void => {
    state = "done";
    held = [];
    showAsSent(response, undefined);
    if (!isClosed) fail(error);
  };

  for (const name of SENDING) {
    const original = target[name];
    if (typeof original !== "function") continue;
    originals.set(name, original);
    target[name] = (...args: unknown[]): unknown => {
      if (state === "done") return send(name, args);
      if (state === "storing") {
        held.push({ name, args });
        return name === "write" ? false : response;
      }
      const rest = name === "writeHead" ? takeHead(response, args) : args;
      state = "storing";
      try {
        const stored = finish();
        if (stored === undefined) state = "done";
        else if (isPromise(stored)) stored.then(release).catch(failed);
        else release(stored);
      } catch (error) {
        failed(error);
        return name === "write" ? false : response;
      }
      // `finish` may have stored it already.
      if ((state as string) === "done") return send(name, rest);
      held.push({ name, args: rest });
      showAsSent(response, () => held.some((call) => call.name === "end"));
      return name === "write" ? false : response;
    };
  }
  response.on("close", () => {
    if (state === "open") abort();
    isClosed = true;
    state = "done";
    held = [];
  });
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
