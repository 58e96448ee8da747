/** The behaviour of a closed client of Bun, and of one whose connection was cut: `<url>`. Prints the outcome as JSON. */
import process from "node:process";
import { type RedisClient, redisStore } from "../../src/stores/redis.ts";
import { key } from "./redis_records.ts";

type BunClient = RedisClient & { close(): void; send(command: string, args: string[]): Promise<unknown> };

const bun = "bun";
const { RedisClient: Client }: { RedisClient: new (url: string) => BunClient } = await import(bun);
const url = process.argv[2] ?? "";

const clients: BunClient[] = [];
const store = redisStore(() => {
  const client = new Client(url);
  clients.push(client);
  return client;
});
const outcome: Record<string, unknown> = { first: await store.load(key) };
clients[0]?.close();
// Only a failing command shows that the client was closed.
outcome.whileClosed = await Promise.resolve(store.load(key)).catch(() => "rejected");
outcome.next = await store.load(key);
outcome.opened = clients.length;

const other = new Client(url);
await other.send("CLIENT", ["KILL", "TYPE", "normal", "SKIPME", "yes"]);
outcome.afterKill = await Promise.resolve(store.load(key)).catch(() => store.load(key));
outcome.openedAfterKill = clients.length;

const given = redisStore(other);
other.close();
await Promise.resolve(given.load(key)).catch(() => {});
outcome.given = await Promise.resolve(given.load(key)).catch((error: Error) =>
  error.message.includes("client is closed") ? "closed" : error.message,
);
console.log(JSON.stringify(outcome));
process.exit(0);
