/**
 * Sends commands through each client of Redis. If the client can send raw commands, those are used: settings of the
 * user for typed commands do not change them, and their reads are not sent to replicas, which may be behind.
 *
 * @module
 */
import { SessionError, mistake } from "../../core/errors.ts";
import type { Command, Send } from "./commands.ts";

/** A connected client of Redis or Valkey: node-redis, ioredis, Bun's `RedisClient` or Valkey GLIDE. */
export type RedisClient =
  /** node-redis: a client or a pool. */
  | { sendCommand(args: string[]): Promise<unknown> }
  /** node-redis: a cluster. */
  | { readonly slots: unknown; sendCommand(key: string, isReadonly: boolean, args: string[]): Promise<unknown> }
  /** node-redis: Sentinel. */
  | { getMasterNode(): unknown; sendCommand(isReadonly: boolean, args: string[]): Promise<unknown> }
  /** ioredis: a client, also of Sentinel, or a cluster. */
  | { readonly status: string; call(command: string, args: string[]): Promise<unknown> }
  /** Bun's `RedisClient`. */
  | { send(command: string, args: string[]): Promise<unknown> }
  /** Valkey GLIDE: a client or a cluster client. */
  | { customCommand(args: string[]): Promise<unknown> };

/** A client, or a function that opens one. */
export type RedisClientSource = RedisClient | (() => RedisClient | Promise<RedisClient>);

/** The members of a client that are read. Each client has only some of them. */
type AnyClient = { readonly [name in Lowercase<Command>]?: unknown } & {
  /** node-redis; a cluster has slots, and Sentinel a master node. */
  sendCommand?(...args: unknown[]): Promise<unknown>;
  readonly slots?: unknown;
  readonly getMasterNode?: unknown;
  readonly isOpen?: unknown;
  readonly _keyPrefix?: unknown;
  /** ioredis; and node-redis. */
  readonly options?: { readonly keyPrefix?: unknown; readonly scaleReads?: unknown } | undefined;
  readonly status?: unknown;
  call?(...args: unknown[]): Promise<unknown>;
  /** Bun. */
  send?(...args: unknown[]): Promise<unknown>;
  readonly connected?: unknown;
  /** GLIDE. */
  customCommand?(...args: unknown[]): Promise<unknown>;
  readonly isClosed?: unknown;
};

/** A way to send commands. */
export interface Sender {
  readonly send: Send;
  /** Whether the client has closed for good, and no other one can be opened. */
  isClosed(): boolean;
}

/** Sends through a client. A function is called for the first command, and again when its client has closed for good. */
export function senderOf(source: RedisClientSource): Sender {
  const openClient = typeof source === "function" ? source : () => source;
  let client: AnyClient | undefined = typeof source === "function" ? undefined : assertClient(source);
  let opening: Promise<AnyClient> | undefined;
  let lost: AnyClient | undefined;

  function isClosed(client: AnyClient): boolean {
    return hasEnded(client) || (client === lost && client.connected === false);
  }

  async function open(): Promise<AnyClient> {
    try {
      // A function that throws at once throws in a later turn, when `opening` is set.
      await undefined;
      client = assertClient(await openClient());
    } finally {
      // A failure is not kept: the next command tries again.
      opening = undefined;
    }
    if (!isClosed(client)) return client;
    throw new SessionError(
      "ERR_STORE",
      "Cannot reach the session store: the Redis client is closed; connect it first, or give redisStore() a function that opens one",
    );
  }

  function sendThrough(used: AnyClient, ...words: Parameters<Send>): Promise<unknown> {
    const sent = Promise.resolve(call(used, ...words));
    if (used.connected !== false) return sent;
    // Bun's client does not say whether it is closed for good. On a closed client, a command fails at once; on a client
    // that reconnects, it waits.
    return sent.catch((error: unknown) => {
      lost = used;
      throw error;
    });
  }

  return {
    send: (...words) =>
      client === undefined || isClosed(client)
        ? (opening ??= open()).then((found) => sendThrough(found, ...words))
        : sendThrough(client, ...words),
    isClosed: () => typeof source !== "function" && hasEnded(source),
  };
}

/** Whether a client says that it has closed for good. Bun's client does not say that. */
function hasEnded(client: AnyClient): boolean {
  return client.isOpen === false || client.status === "end" || client.isClosed === true;
}

function call(
  client: AnyClient,
  command: Command,
  key: string,
  args: readonly string[] = [],
  script?: string,
): unknown {
  const wordsFor = (name: string): string[] => (script === undefined ? [name, ...args] : [script, "1", name, ...args]);
  // Named methods are called, because `call` of ioredis before 5.9 leaves out the prefix of keys and the slots of a
  // cluster.
  const method = client.call && client[command.toLowerCase() as Lowercase<Command>];
  if (typeof method === "function") return Reflect.apply(method, client, wordsFor(key));
  if (client.call) return client.call(command, wordsFor(key));
  if (client.send) return client.send(command, wordsFor(key));
  // node-redis puts its prefix only before the keys of typed commands.
  const { _keyPrefix: prefix = client.options?.keyPrefix ?? "" } = client;
  const name = `${prefix}${key}`;
  const words = [command, ...wordsFor(name)];
  if (client.customCommand) return client.customCommand(words);
  const route = client.slots ? [name, false] : client.getMasterNode ? [false] : [];
  return client.sendCommand?.(...route, words);
}

function assertClient(client: AnyClient): AnyClient {
  const send =
    typeof client === "object" &&
    client !== null &&
    (client.call ?? client.send ?? client.customCommand ?? client.sendCommand);
  if (typeof send !== "function")
    throw needs(
      "a client of node-redis, ioredis, Bun or Valkey GLIDE, or a function that opens one; is it undefined, a promise, or an address?",
    );
  if ((client.options?.scaleReads ?? "master") !== "master")
    throw needs('a Cluster whose scaleReads is "master", since replicas are behind');
  return client;
}

function needs(what: string): TypeError {
  return mistake(`redisStore() needs ${what}`);
}
