/**
 * Sessions in Memcached 1.6 or newer, with compare-and-set, spoken to in its meta commands
 * (https://docs.memcached.org/protocols/meta/).
 *
 * Memcached forgets: what it holds is gone when it restarts, and the least recently used when its memory is full.
 *
 * @module
 */
import { once } from "node:events";
import { createConnection, type Socket } from "node:net";
import { recordFromText, recordToText, refuseTooLarge, withSession } from "with-session";
import type { Loaded, SessionRecord, SessionStore, Version } from "with-session";

/** What Memcached answers: a code such as `HD` (done), the version where one was asked for, and a value. */
interface Answer {
  readonly code: string;
  readonly version: string;
  readonly value: string;
}

/** Sends a command, with a value if it takes one. */
export type Memcached = (command: string, value?: Buffer) => Promise<Answer>;

/** Keeps sessions in Memcached, one item for each. */
export function memcachedStore(send: Memcached, { prefix = "session:" }: { prefix?: string } = {}): SessionStore {
  async function find(key: string): Promise<Loaded | null> {
    const { code, version, value } = await send(`mg ${prefix}${key} v c`);
    return code === "EN" ? null : { ...recordFromText(value), version };
  }

  async function put(key: string, record: SessionRecord, expiresAt: number, condition: string): Promise<Answer> {
    const value = Buffer.from(recordToText(record));
    refuseTooLarge("Memcached", value.length, MAX_BYTES);
    const life = Math.max(1, Math.ceil((expiresAt - record.lastSeenAt) / 1000));
    // A longer life than this one it takes for an instant.
    const expiry = life > 30 * 86_400 ? Math.ceil(expiresAt / 1000) : life;
    return await send(`ms ${prefix}${key} ${value.length} T${expiry} ${condition} c`, value);
  }

  async function change(key: string, record: SessionRecord, expected: Version, expiresAt: number): Promise<Version> {
    const { code, version } = await put(key, record, expiresAt, `C${expected}`);
    if (code === "NF") return "gone";
    return code === "EX" ? "conflict" : version;
  }

  return {
    traits: {
      compareAndSet: true,
      consistency: "strong",
      persistent: false,
      shared: true,
      minTtl: 1,
      maxBytes: MAX_BYTES,
    },

    load: find,

    async create(key, record, expiresAt) {
      const { code, version } = await put(key, record, expiresAt, "ME");
      return code === "NS" ? "taken" : version;
    },

    change: (key, { record }, expected, expiresAt) => change(key, record, expected, expiresAt),

    async touch(key, lastSeenAt, expiresAt, loaded) {
      const found = loaded ?? (await find(key));
      if (found === null) return false;
      const answer = await change(key, { fields: found.fields, lastSeenAt }, found.version, expiresAt);
      return answer === "conflict" ? answer : answer !== "gone";
    },

    async delete(key, expected) {
      const { code } = await send(`md ${prefix}${key}${expected === undefined ? "" : ` C${expected}`}`);
      if (code === "EX") return "conflict";
    },
  };
}

/** An item takes 1 MiB, key and header included, unless Memcached was started with another `-I`. */
const MAX_BYTES = 1_000_000;

/** A connection to Memcached, made when it is first used, and again after it was lost. */
export function connect(port: number, host: string = "127.0.0.1"): Memcached {
  let connecting: Promise<Memcached> | undefined;
  return async (command, value) => {
    connecting ??= open(port, host, () => (connecting = undefined));
    return await (
      await connecting
    )(command, value);
  };
}

async function open(port: number, host: string, lost: () => void): Promise<Memcached> {
  const socket = createConnection({ port, host, noDelay: true });
  const waiting: { resolve: (answer: Answer) => void; reject: (error: Error) => void }[] = [];
  socket.on("close", () => {
    lost();
    for (const { reject } of waiting.splice(0)) reject(new Error("The connection to Memcached was lost"));
  });
  await once(socket, "connect");
  socket.on("error", () => {
    // "close" follows.
  });
  answersOf(socket, (answer) => {
    const next = waiting.shift();
    if (ANSWERS.has(answer.code)) next?.resolve(answer);
    else next?.reject(new Error(`Memcached answered ${answer.code}`));
  });
  return (command, value) =>
    new Promise((resolve, reject) => {
      if (socket.closed) return reject(new Error("The connection to Memcached was lost"));
      waiting.push({ resolve, reject });
      socket.write(
        value === undefined ? `${command}\r\n` : Buffer.concat([Buffer.from(`${command}\r\n`), value, LINE_END]),
      );
    });
}

/** Done; a value; none; not stored, as it exists; another version; not found. All else is an error. */
const ANSWERS: ReadonlySet<string> = new Set(["HD", "VA", "EN", "NS", "EX", "NF"]);
const LINE_END: Buffer = Buffer.from("\r\n");

/** Cuts what arrives into answers: a line, and after `VA <size>` a value of that size and a line end. */
function answersOf(socket: Socket, hears: (answer: Answer) => void): void {
  let rest = Buffer.alloc(0);
  socket.on("data", (chunk) => {
    rest = Buffer.concat([rest, chunk]);
    for (;;) {
      const lineEnd = rest.indexOf(LINE_END);
      if (lineEnd < 0) return;
      const [code = "", ...words] = rest.toString("latin1", 0, lineEnd).split(" ");
      const start = lineEnd + LINE_END.length;
      const size = code === "VA" ? Number(words[0]) : 0;
      const end = code === "VA" ? start + size + LINE_END.length : start;
      if (rest.length < end) return;
      const version = words.find((word) => word.startsWith("c"))?.slice(1) ?? "";
      hears({ code, version, value: rest.toString("utf8", start, start + size) });
      rest = rest.subarray(end);
    }
  });
}

let store: SessionStore | undefined;

function openStore(): SessionStore {
  return (store ??= memcachedStore(connect(Number(process.env["MEMCACHED_PORT"] ?? 11_211))));
}

const fetch = withSession<{ visits?: number }>(
  async (_request, session) => new Response(`Visit ${await session.update("visits", (n = 0) => n + 1)}\n`),
  { store: openStore },
);

export default { fetch };
