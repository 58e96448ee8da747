import { DeleteItemCommand, GetItemCommand, PutItemCommand } from "@aws-sdk/client-dynamodb";
import { describe, expect, test } from "vitest";
import { isBusy } from "../../src/core/errors.ts";
import type { SessionStore } from "../../src/core/store.ts";
import { type DynamoDbClient, dynamoDbStore } from "../../src/stores/dynamodb.ts";
import { failureOf, randomKey, valueOf, writeOf } from "./databases/steps.ts";

// The calls that dynamoDbStore() makes on its client, and how it treats the answers, without a server. dynamodb.test.ts uses the
// real client.

const TableName = "sessions";
const key = randomKey();
const now = 1_800_000_000_500;
const $metadata = {};

type Sent = [command: unknown, input: unknown, options: unknown];

/** A store on a client whose answers come from `answer`, and the commands that it was sent. */
function storeOn(answer: () => unknown): { readonly store: SessionStore; readonly sent: Sent[] } {
  const sent: Sent[] = [];
  const client: DynamoDbClient = {
    async send(command, options) {
      sent.push([command.constructor, command.input, options]);
      return await answer();
    },
  };
  return { store: dynamoDbStore(client, { table: TableName }), sent };
}

function answering(answer: unknown): SessionStore {
  return storeOn(() => answer).store;
}

function failing(error: unknown): SessionStore {
  return storeOn(() => {
    throw error;
  }).store;
}

function itemOf(value: unknown, version: unknown = { S: "v" }): unknown {
  return { $metadata, Item: { key: { S: key }, value, version, expires_at: { N: "1" } } };
}

const bytes = (text: string) => new TextEncoder().encode(text);

describe("dynamoDbStore()", () => {
  test("sends one command for each verb, under a condition", async () => {
    const { store, sent } = storeOn(() => ({ $metadata }));
    const { signal } = new AbortController();
    const write = writeOf({ a: "é", now, expiresAt: now + 60_000 });
    const first = await store.save(key, write, signal);
    const second = await store.save(key, { ...write, expected: "v" });
    expect(await store.load(key, signal)).toBeNull();
    await store.load(key);
    expect(await store.delete(key, undefined, signal)).toBeUndefined();
    expect(await store.delete(key, "v")).toBeUndefined();
    const Key = { key: { S: key } };
    const item = (version: unknown) => ({
      key: { S: key },
      value: { B: bytes(`1${now}\n=a\né`) },
      version: { S: version },
      expires_at: { N: "1800000061" },
    });
    const abortSignal = signal;
    expect(sent).toStrictEqual([
      [
        PutItemCommand,
        {
          TableName,
          Item: item(first),
          ConditionExpression: "attribute_not_exists(#key) OR #version = :version OR #end < :now",
          ExpressionAttributeNames: { "#key": "key", "#version": "version", "#end": "expires_at" },
          ExpressionAttributeValues: { ":version": { S: first }, ":now": { N: "1800000000" } },
        },
        { abortSignal },
      ],
      [
        PutItemCommand,
        {
          TableName,
          Item: item(second),
          ConditionExpression: "#version IN (:expected, :version)",
          ExpressionAttributeNames: { "#version": "version" },
          ExpressionAttributeValues: { ":version": { S: second }, ":expected": { S: "v" } },
        },
        {},
      ],
      [GetItemCommand, { TableName, Key, ConsistentRead: true }, { abortSignal }],
      [GetItemCommand, { TableName, Key, ConsistentRead: true }, {}],
      [DeleteItemCommand, { TableName, Key }, { abortSignal }],
      [
        DeleteItemCommand,
        {
          TableName,
          Key,
          ConditionExpression: "attribute_not_exists(#key) OR #version = :expected",
          ExpressionAttributeNames: { "#key": "key", "#version": "version" },
          ExpressionAttributeValues: { ":expected": { S: "v" } },
        },
        {},
      ],
    ]);
    expect([typeof first, typeof second, first === second]).toEqual(["string", "string", false]);
  });

  test("finds a record under its version, and one without fields where another program has written", async () => {
    const found = await answering(itemOf({ B: bytes(`1${now}\n=a\né`) })).load(key);
    expect(found).toStrictEqual({ fields: found?.fields, lastSeenAt: now, version: "v" });
    expect([...(found?.fields ?? [])]).toEqual([["=a", "é"]]);
    for (const value of [undefined, null, {}, { S: "11800000000500\n=a\n1" }, { B: "11800000000500\n=a\n1" }]) {
      const other = await answering(itemOf(value)).load(key);
      expect([other?.fields.size, other?.lastSeenAt, other?.version]).toEqual([0, 0, "v"]);
    }
  });

  test("deletes an item without a version, which another program has written, only while it has none", async () => {
    const { store, sent } = storeOn(() => ({ $metadata, Item: { key: { S: key } } }));
    const found = await store.load(key);
    expect(found?.version).toBe("?");
    expect(await store.delete(key, "?")).toBeUndefined();
    expect(sent[1]).toStrictEqual([
      DeleteItemCommand,
      {
        TableName,
        Key: { key: { S: key } },
        ConditionExpression: "attribute_not_exists(#version)",
        ExpressionAttributeNames: { "#version": "version" },
      },
      {},
    ]);
  });

  test("takes an answer that is not one of the SDK's for a failure", async () => {
    const strange = [undefined, null, "ok", 1, {}, [], { Item: undefined }, { Attributes: {} }];
    for (const answer of strange) {
      const store = answering(answer);
      for (const call of [
        () => store.load(key),
        () => store.save(key, writeOf({ a: "1" })),
        () => store.save(key, writeOf({ a: "1", expected: "v" })),
        () => store.delete(key),
        () => store.delete(key, "v"),
      ]) {
        expect(await failureOf(call)).toMatchObject({
          code: "ERR_STORE",
          message: expect.stringContaining("does not understand its client"),
        });
      }
    }
    for (const version of [{}, { S: 1 }, { N: "1" }, "v"]) {
      const store = answering({ $metadata, Item: { key: { S: key }, version } });
      expect(await failureOf(() => store.load(key))).toMatchObject({ code: "ERR_STORE" });
    }
    for (const Item of [{}, "ok", 1, { key }, { key: { S: randomKey() } }]) {
      const store = answering({ $metadata, Item });
      expect(await failureOf(() => store.load(key))).toMatchObject({ code: "ERR_STORE" });
    }
  });

  test("takes a condition that was not met for a conflict, and a throttled write for a busy store", async () => {
    const named = (name: string) => Object.assign(new Error("refused"), { name });
    const busy = [
      "ProvisionedThroughputExceededException",
      "RequestLimitExceeded",
      "ThrottlingException",
      "TransactionConflictException",
    ];
    const others = [named("ResourceNotFoundException"), named(""), "a text", null, undefined, {}];
    for (const error of [named("ConditionalCheckFailedException"), ...busy.map(named), ...others]) {
      const name = String(Object(error).name);
      const store = failing(error);
      for (const write of [
        () => store.save(key, writeOf({ a: "1" })),
        () => store.save(key, writeOf({ a: "1", expected: "v" })),
        () => store.delete(key),
        () => store.delete(key, "v"),
      ]) {
        if (name === "ConditionalCheckFailedException") {
          expect(await write()).toBe("conflict");
          continue;
        }
        const failure = await failureOf(write);
        expect(isBusy(failure), name).toBe(busy.includes(name));
        if (!isBusy(failure)) expect(failure).toBe(error);
      }
      expect(await failureOf(() => store.load(key))).toBe(error);
    }
  });

  test("accepts a record of 409 088 bytes, and refuses a larger one before it is sent", async () => {
    const { store, sent } = storeOn(() => ({ $metadata }));
    expect(store.traits).toEqual({ consistency: "strong", compareAndSet: true, maxBytes: 409_088 });
    const a = "é".repeat((409_088 - 18) / 2);
    expect(await store.save(key, writeOf({ a, now }))).not.toBe("conflict");
    const error = await failureOf(() => store.save(key, writeOf({ a: `${a}x`, now, expected: "v" })));
    expect(error).toMatchObject({ code: "ERR_RECORD_TOO_LARGE", message: expect.stringContaining("409089 bytes") });
    expect(sent).toHaveLength(1);
  });

  test("throws when the client, the table or an option is not what it should be", async () => {
    const send: DynamoDbClient["send"] = async () => itemOf({ B: bytes(`1${now}\n=a\n1`) });
    expect(await valueOf(dynamoDbStore({ send }, { table: "t" }), key)).toBe("1");
    for (const none of [undefined, null, {}, "dynamodb", { send: 1 }] as unknown[]) {
      // @ts-expect-error Not one of them is a client.
      expect(() => dynamoDbStore(none, { table: "t" })).toThrow(/dynamoDbStore: the client must be/);
    }
    for (const table of [undefined, null, "", 7, ["t"]] as unknown[]) {
      // @ts-expect-error Not one of them names a table.
      expect(() => dynamoDbStore({ send }, { table })).toThrow(/dynamoDbStore: table must be the name of a table/);
    }
    // @ts-expect-error There is no such option.
    expect(() => dynamoDbStore({ send }, { table: "t", ttl: 1 })).toThrow(/no option "ttl"/);
  });
});
