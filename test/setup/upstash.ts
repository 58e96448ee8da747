import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { createClient, ErrorReply } from "redis";

/** How one request fails. */
export type Fault =
  /** The connection breaks before the commands run. */
  | "drop before"
  /** The commands run, and the connection breaks before the answer. */
  | "drop after"
  /** The answer has this HTTP status and this error text. No command runs. */
  | { readonly status: 429 | 500; readonly error?: string }
  /** The request waits for this promise before its commands run. */
  | { readonly slow: Promise<unknown> };

/** Upstash's REST API in front of a Redis, as https://upstash.com/docs/redis/features/restapi describes it. */
export interface Upstash {
  readonly url: string;
  readonly token: string;
  /** The requests so far, in the order of arrival: the path, and the sync token that the client returned. */
  readonly requests: { readonly path: string; readonly syncToken: string | undefined; readonly commands: unknown }[];
  /** Called for each request; returns how it fails, or undefined. */
  fault: (path: string) => Fault | undefined;
  stop(): Promise<void>;
}

type Reply = { readonly result: unknown } | { readonly error: string };
type Command = readonly string[];

// https://upstash.com/docs/redis/troubleshooting/max_request_size_exceeded
const MAX_REQUEST = 10_000_000;

/** Starts the proxy on a free port of 127.0.0.1, in front of the Redis at `redisUrl`. */
export async function startUpstash(redisUrl: string): Promise<Upstash> {
  const token = "token-of-the-test";
  const redis = createClient({ url: redisUrl, RESP: 2 });
  redis.on("error", () => {}); // Each command rejects on its own. An unhandled error event would end the process.
  await redis.connect();
  let writes = 0;

  async function one(command: Command): Promise<Reply> {
    try {
      return { result: await redis.sendCommand(command) };
    } catch (error) {
      return { error: error instanceof Error ? error.message : String(error) };
    }
  }

  /** The commands follow each other on one connection, because nothing is awaited between them. */
  async function transaction(commands: readonly Command[]): Promise<Reply | Reply[]> {
    const queued = [["MULTI"], ...commands].map(one);
    const done = await one(["EXEC"]);
    await Promise.all(queued);
    if (!("result" in done) || !Array.isArray(done.result)) return done;
    return done.result.map((item: unknown) =>
      item instanceof ErrorReply ? { error: item.message } : { result: item },
    );
  }

  async function answer(path: string, body: unknown): Promise<{ status: number; body: Reply | Reply[] }> {
    if (path === "/" && isCommand(body)) {
      const reply = await one(body.map(String));
      return { status: "error" in reply ? 400 : 200, body: reply };
    }
    if (Array.isArray(body) && body.every(isCommand)) {
      const commands = body.map((command) => command.map(String));
      if (path === "/pipeline") return { status: 200, body: await Promise.all(commands.map(one)) };
      if (path === "/multi-exec") {
        const replies = await transaction(commands);
        return { status: Array.isArray(replies) ? 200 : 400, body: replies };
      }
    }
    return { status: 400, body: { error: "ERR failed to parse the request" } };
  }

  const server = createServer(async (request, response) => {
    const path = request.url ?? "/";
    const text = await bodyOf(request).catch(() => undefined);
    if (text === undefined) return; // The client closed the connection during the request.
    const send = (status: number, body: Reply | Reply[]) => {
      const encoded = request.headers["upstash-encoding"] === "base64" ? inBase64(body) : body;
      response.writeHead(status, { "Content-Type": "application/json", "Upstash-Sync-Token": `zR${writes}` });
      response.end(JSON.stringify(encoded));
    };
    if (request.headers.authorization !== `Bearer ${token}`) return send(401, { error: "Unauthorized" });
    if (request.method !== "POST") return send(405, { error: "ERR only POST is supported here" });
    if (text.length > MAX_REQUEST) return send(400, { error: "ERR max request size exceeded" });
    const commands = parsed(text);
    const header = request.headers["upstash-sync-token"];
    proxy.requests.push({ path, syncToken: header?.toString(), commands });

    const fault = proxy.fault(path);
    if (fault === "drop before") return void request.socket.destroy();
    if (typeof fault === "object" && "status" in fault)
      return send(fault.status, { error: fault.error ?? `HTTP ${fault.status}` });
    if (typeof fault === "object") await fault.slow;
    const { status, body } = await answer(path, commands);
    writes++;
    if (fault === "drop after") return void request.socket.destroy();
    send(status, body);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;

  const proxy: Upstash = {
    url: `http://127.0.0.1:${port}`,
    token,
    requests: [],
    fault: () => undefined,
    async stop() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      redis.destroy();
    },
  };
  return proxy;
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function isCommand(value: unknown): value is readonly unknown[] {
  return Array.isArray(value) && value.length > 0 && value.every((item) => typeof item !== "object");
}

/** Every string in a result is encoded, except the status OK. Errors are not encoded. */
function inBase64(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(inBase64);
  if (typeof value !== "object" || value === null || !("result" in value)) return value;
  return { result: value.result === "OK" ? "OK" : encoded(value.result) };
}

function encoded(result: unknown): unknown {
  if (Array.isArray(result)) return result.map(encoded);
  return typeof result === "string" ? Buffer.from(result).toString("base64") : result;
}
