import { once } from "node:events";
import type { AddressInfo } from "node:net";
import {
  CreateTableCommand,
  DescribeTableCommand,
  DynamoDB,
  DynamoDBClient,
  GetItemCommand,
  PutItemCommand,
  UpdateItemCommand,
} from "@aws-sdk/client-dynamodb";
import dynalite from "dynalite";
import { afterAll, beforeAll, describe, expect, expectTypeOf, test } from "vitest";
import { isBusy } from "../../src/core/errors.ts";
import { type DynamoDbClient, dynamoDbStore } from "../../src/stores/dynamodb.ts";
import { storeCases } from "../../src/testing.ts";
import { countOf } from "./databases/processes.ts";
import { refusesMeaninglessAnswers } from "./databases/sql_cases.ts";
import { failureOf, randomKey, saved, valueOf, writeOf } from "./databases/steps.ts";

const server = dynalite({ createTableMs: 0 });
let endpoint: string;
let client: DynamoDBClient;

beforeAll(async () => {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  client = new DynamoDBClient(settings());
  for (const table of ["sessions", "other"]) await createTable(table);
});
afterAll(async () => {
  client.destroy();
  server.close();
  await once(server, "close");
});

function settings(): {
  endpoint: string;
  region: string;
  credentials: { accessKeyId: string; secretAccessKey: string };
} {
  return { endpoint, region: "eu-central-1", credentials: { accessKeyId: "a", secretAccessKey: "b" } };
}

/** Creates the table as the documentation says. */
async function createTable(TableName: string): Promise<void> {
  await client.send(
    new CreateTableCommand({
      TableName,
      BillingMode: "PAY_PER_REQUEST",
      AttributeDefinitions: [{ AttributeName: "key", AttributeType: "S" }],
      KeySchema: [{ AttributeName: "key", KeyType: "HASH" }],
    }),
  );
  while ((await client.send(new DescribeTableCommand({ TableName }))).Table?.TableStatus !== "ACTIVE");
}

/** A client that records what it sends. */
function heard(): {
  readonly client: DynamoDbClient;
  readonly sent: { name: string; input: Record<string, unknown>; options: unknown }[];
} {
  const sent: { name: string; input: Record<string, unknown>; options: unknown }[] = [];
  return {
    sent,
    client: {
      send(command, options) {
        sent.push({ name: command.constructor.name, input: { ...command.input }, options });
        return client.send(command as GetItemCommand, options);
      },
    },
  };
}

describe("dynamoDbStore() keeps the contract of stores:", () => {
  for (const { name, run } of storeCases()) {
    test(name, () =>
      run(() => {
        const own = new DynamoDBClient({ ...settings(), maxAttempts: 1 });
        let isBroken = false;
        let calls = 0;
        const failing: DynamoDbClient = {
          send(command, options) {
            calls++;
            const unknown = { ...command.input, TableName: "not-there" };
            const sent = isBroken ? new GetItemCommand({ Key: {}, ...unknown }) : (command as GetItemCommand);
            return own.send(sent, options);
          },
        };
        return {
          store: dynamoDbStore(failing, { table: "sessions" }),
          neighbour: dynamoDbStore(own, { table: "other" }),
          calls: () => calls,
          spoil: async (key) => {
            const Item = {
              key: { S: key },
              version: { S: "theirs" },
              expires_at: { N: "9999999999" },
              value: { S: "rubbish" },
            };
            await own.send(new PutItemCommand({ TableName: "sessions", Item }));
          },
          fail: () => {
            isBroken = true;
          },
          close: () => own.destroy(),
        };
      }),
    );
  }
});

describe("dynamoDbStore() in DynamoDB", () => {
  test("reads with strong consistency, and sends one request for each verb", async () => {
    const { client: own, sent } = heard();
    const store = dynamoDbStore(own, { table: "sessions" });
    const key = randomKey();
    const first = await saved(store, key, { a: "1" });
    await store.load(key);
    const second = await saved(store, key, { a: "2", expected: first });
    expect(await store.delete(key, first)).toBe("conflict");
    expect(await store.delete(key, second)).toBeUndefined();
    expect(await store.delete(key)).toBeUndefined();
    const names = [
      "PutItemCommand",
      "GetItemCommand",
      "PutItemCommand",
      "DeleteItemCommand",
      "DeleteItemCommand",
      "DeleteItemCommand",
    ];
    expect(sent.map(({ name }) => name)).toEqual(names);
    expect(sent[1]?.input).toMatchObject({ TableName: "sessions", ConsistentRead: true });
  });

  test("stores bytes, a version and the expiry in seconds, for DynamoDB's time to live", async () => {
    const store = dynamoDbStore(client, { table: "sessions" });
    const key = randomKey();
    const version = await saved(store, key, { a: "\0é", now: 1_800_000_000_000, expiresAt: 1_800_000_060_001 });
    const { Item } = await client.send(new GetItemCommand({ TableName: "sessions", Key: { key: { S: key } } }));
    expect(Item).toEqual({
      key: { S: key },
      value: { B: new TextEncoder().encode("11800000000000\n=a\n\0é") },
      version: { S: version },
      expires_at: { N: "1800000061" },
    });
  });

  test("keeps an expired item until DynamoDB deletes it or it is created anew", async () => {
    const store = dynamoDbStore(client, { table: "sessions" });
    const key = randomKey();
    const now = 1_800_000_000_000;
    const version = await saved(store, key, { a: "old", now, expiresAt: now + 1500 });
    expect(await valueOf(store, key)).toBe("old");
    expect(await store.save(key, writeOf({ a: "too early", now: now + 2999 }))).toBe("conflict");
    await saved(store, key, { a: "new", now: now + 3000 });
    expect(await store.save(key, writeOf({ a: "late", expected: version }))).toBe("conflict");
    expect(await valueOf(store, key)).toBe("new");
  });

  test("accepts a record of the largest size, with the longest names, and refuses a larger one before it is sent", async () => {
    const { client: own, sent } = heard();
    const store = dynamoDbStore(own, { table: "sessions" });
    const key = randomKey();
    const a = "x".repeat(store.traits.maxBytes - 18);
    const expected = await saved(store, key, { a, expiresAt: 8.64e15 });
    const error = await failureOf(() => store.save(key, writeOf({ a: `${a}x`, expected })));
    expect(error).toMatchObject({ code: "ERR_RECORD_TOO_LARGE", message: expect.stringContaining("409089 bytes") });
    expect(sent).toHaveLength(1);
    expect(await valueOf(store, key)).toBe(a);
  });

  test("takes an item that another program has created by an update for a record without fields", async () => {
    const store = dynamoDbStore(client, { table: "sessions" });
    const key = randomKey();
    const update = {
      UpdateExpression: "SET note = :note",
      ExpressionAttributeValues: { ":note": { S: "theirs" } },
    };
    await client.send(new UpdateItemCommand({ TableName: "sessions", Key: { key: { S: key } }, ...update }));
    const found = await store.load(key);
    expect(found).toEqual({ fields: found?.fields, lastSeenAt: 0, version: "?" });
    expect(found?.fields.size).toBe(0);
    expect(await store.save(key, writeOf({ a: "1" }))).toBe("conflict");
    expect(await store.save(key, writeOf({ a: "1", expected: "?" }))).toBe("conflict");
    expect(await store.delete(key, "v")).toBe("conflict");
    expect(await store.delete(key, "?")).toBeUndefined();
    expect(await store.load(key)).toBeNull();
    const expected = await saved(store, key, { a: "1" });
    expect(await store.delete(key, "?")).toBe("conflict");
    expect(await store.delete(key, expected)).toBeUndefined();
    expect(await store.delete(key, "?")).toBeUndefined();
  });

  test("passes the signal on", async () => {
    const { client: own, sent } = heard();
    const store = dynamoDbStore(own, { table: "sessions" });
    const { signal } = new AbortController();
    const key = randomKey();
    await store.save(key, writeOf({ a: "1" }), signal);
    await store.load(key, signal);
    await store.delete(key, undefined, signal);
    expect(sent.map(({ options }) => options)).toEqual([
      { abortSignal: signal },
      { abortSignal: signal },
      { abortSignal: signal },
    ]);
  });

  test("counts what four processes add 250 times each", async () => {
    const workers = Array.from({ length: 4 }, () => ({ client: "dynamodb" }));
    expect(await countOf(workers, endpoint, dynamoDbStore(client, { table: "sessions" }))).toBe(1000);
  });

  test("does a write once that the SDK sends again because its answer was lost", async () => {
    const own = new DynamoDBClient({ ...settings(), maxAttempts: 3 });
    let answers = 0;
    // Runs between the server and the SDK's own retries.
    own.middlewareStack.add(
      (next) => async (args) => {
        const answer = await next(args);
        if (answers++ === 0) throw Object.assign(new Error("socket hang up"), { name: "TimeoutError", $retryable: {} });
        return answer;
      },
      { step: "finalizeRequest", priority: "low" },
    );
    const store = dynamoDbStore(own, { table: "sessions" });
    const key = randomKey();
    const created = await saved(store, key, { a: "1" });
    expect(answers).toBe(2);
    answers = 0;
    const changed = await saved(store, key, { a: "2", expected: created });
    expect(answers).toBe(2);
    expect(await store.load(key)).toMatchObject({ version: changed });
    answers = 0;
    expect(await store.delete(key, changed)).toBeUndefined();
    expect(answers).toBe(2);
    own.destroy();
  });
});

describe("dynamoDbStore() and its clients", () => {
  const failing = (name: string): DynamoDbClient => ({
    send: () => Promise.reject(Object.assign(new Error("refused"), { name })),
  });
  const key = randomKey();

  test("takes an answer without meaning for an error", async () => {
    await refusesMeaninglessAnswers((answer) => dynamoDbStore({ send: async () => answer }, { table: "sessions" }));
    const store = dynamoDbStore(
      { send: async () => ({ $metadata: {}, Item: { key: { S: key }, version: { N: "1" } } }) },
      { table: "sessions" },
    );
    expect(await failureOf(() => store.load(key))).toMatchObject({ code: "ERR_STORE" });
  });

  test("throws a StoreBusyError from a throttled write, and passes on other errors", async () => {
    for (const name of [
      "ProvisionedThroughputExceededException",
      "RequestLimitExceeded",
      "ThrottlingException",
      "TransactionConflictException",
    ]) {
      const store = dynamoDbStore(failing(name), { table: "sessions" });
      expect(isBusy(await failureOf(() => store.save(key, writeOf({ a: "1" }))))).toBe(true);
      expect(isBusy(await failureOf(() => store.delete(key)))).toBe(true);
      expect(await failureOf(() => store.load(key))).toMatchObject({ name });
    }
    const store = dynamoDbStore(failing("ResourceNotFoundException"), { table: "sessions" });
    expect(await failureOf(() => store.save(key, writeOf({ a: "1" })))).toMatchObject({
      name: "ResourceNotFoundException",
    });
  });

  test("takes the client with all methods as well", async () => {
    const own = new DynamoDB(settings());
    const store = dynamoDbStore(own, { table: "sessions" });
    await saved(store, key, { a: "1" });
    expect(await valueOf(store, key)).toBe("1");
    own.destroy();
  });

  test("throws when the client, the table or an option is not what it should be", () => {
    const none: unknown[] = [undefined, null, {}, "dynamodb"];
    for (const each of none) {
      // @ts-expect-error Not one of them is a client.
      expect(() => dynamoDbStore(each, { table: "sessions" })).toThrow(/dynamoDbStore: the client must be/);
    }
    const options: unknown[] = [undefined, {}, { table: "" }, { table: undefined }, { table: "sessions", ttl: 1 }];
    for (const each of options) {
      // @ts-expect-error Not one of them names a table alone.
      expect(() => dynamoDbStore(client, each)).toThrow(TypeError);
    }
  });

  test("takes the types of its clients", () => {
    expectTypeOf<DynamoDBClient>().toExtend<DynamoDbClient>();
    expectTypeOf<DynamoDB>().toExtend<DynamoDbClient>();
  });
});
