import { once } from "node:events";
import { createServer, type RequestListener, type Server } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { text } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { onTestFinished } from "vitest";
import { memoryStore, type SessionStore } from "../../mod.ts";
import type { NodeRequest, RequestWithSession } from "../../src/node.ts";
import { altered } from "../setup/sessions.ts";

/** The data of the sessions in these tests. */
export interface Data {
  visits?: number;
  user?: string;
  list?: string[];
}

/** A store that answers at once, and one that takes time, as a server does. The response waits for the second one. */
export const STORES: readonly (readonly [name: string, open: () => SessionStore])[] = [
  ["memoryStore", () => memoryStore()],
  ["a store that takes its time", slowStore],
];

/** A store whose calls take a few milliseconds. */
export function slowStore(): SessionStore {
  return altered(memoryStore(), {
    load: async (load, ...args) => (await sleep(5), load(...args)),
    save: async (save, ...args) => (await sleep(5), save(...args)),
    delete: async (remove, ...args) => (await sleep(5), remove(...args)),
  });
}

/** A store that can load but not save. */
export function brokenStore(): SessionStore {
  return altered(memoryStore(), {
    save: async () => {
      await sleep(5);
      throw new Error("down");
    },
  });
}

/** Starts a server on a free port of 127.0.0.1. It ends with the test. */
export async function listen(listener: RequestListener | Server): Promise<string> {
  const server = typeof listener === "function" ? createServer(listener) : listener;
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** Sends a request as it is written, and returns the whole answer. */
export async function sendLines(origin: string, lines: readonly string[]): Promise<string> {
  const socket = connect(Number(new URL(origin).port), "127.0.0.1");
  await once(socket, "connect");
  socket.write([...lines, "Connection: close", "", ""].join("\r\n"));
  return await text(socket);
}

/** The session of Node's request. */
export function sessionOf(request: NodeRequest): RequestWithSession<Data>["session"] {
  return (request as RequestWithSession<Data>).session;
}

/** A client that sends its cookies back, and does not follow redirects. */
export function browser(origin: string): (path: string, init?: RequestInit) => Promise<Answer> {
  const kept = new Map<string, string>();
  return async (path, init = {}) => {
    const headers = new Headers(init.headers);
    if (kept.size > 0) headers.set("Cookie", [...kept].map(([name, value]) => `${name}=${value}`).join("; "));
    const response = await fetch(origin + path, { redirect: "manual", ...init, headers });
    const cookies = response.headers.getSetCookie();
    for (const line of cookies) {
      const [, name = "", value = ""] = /^([^=]+)=([^;]*)/.exec(line) ?? [];
      if (/; Max-Age=0/i.test(line)) kept.delete(name);
      else kept.set(name, value);
    }
    return { status: response.status, headers: response.headers, cookies, text: await response.text() };
  };
}

/** The answer of the server. */
export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly cookies: string[];
  readonly text: string;
}
