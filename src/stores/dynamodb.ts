/**
 * Sessions in Amazon DynamoDB.
 *
 * @module
 */
import { DeleteItemCommand, GetItemCommand, PutItemCommand } from "@aws-sdk/client-dynamodb";
import { SessionError, StoreBusyError } from "../core/errors.ts";
import { assertKnown } from "../core/known_options.ts";
import { parseRecord, serializeRecord } from "../core/record_text.ts";
import { assertRecordSize } from "../core/record_size.ts";
import type { SessionStore } from "../core/store.ts";

/** A `DynamoDBClient`, a `DynamoDB` or a `DynamoDBDocumentClient` of the AWS SDK for JavaScript 3. It is recognised by its method. */
export interface DynamoDbClient {
  /** Sends a command, and returns its output. */
  send(
    command: GetItemCommand | PutItemCommand | DeleteItemCommand,
    options?: { abortSignal?: AbortSignal },
  ): Promise<unknown>;
}

/** Options of {@linkcode dynamoDbStore}. */
export interface DynamoDbStoreOptions {
  /** The name or the ARN of the table. Its partition key must be the string `key`. */
  readonly table: string;
}

/**
 * Keeps sessions in a table of Amazon DynamoDB.
 *
 * ## Setup
 * The package `@aws-sdk/client-dynamodb`, and a table with the partition key `key` of type String and no sort key:
 *
 * ```sh
 * aws dynamodb create-table --table-name sessions --billing-mode PAY_PER_REQUEST \
 *   --attribute-definitions AttributeName=key,AttributeType=S --key-schema AttributeName=key,KeyType=HASH
 * aws dynamodb update-time-to-live --table-name sessions \
 *   --time-to-live-specification Enabled=true,AttributeName=expires_at
 * ```
 *
 * The program needs the permissions `dynamodb:GetItem`, `dynamodb:PutItem` and `dynamodb:DeleteItem` on the table.
 *
 * ## How expiry behaves
 * With time to live turned on for `expires_at`, DynamoDB deletes expired items within a few days
 * (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/TTL.html). The session ends on time nevertheless,
 * because the core checks the times in the record. Without time to live, expired items are never deleted.
 *
 * ## Key format
 * The attribute `key` holds 64 hexadecimal digits. The others are `value`, the record's text in bytes, `version`, and `expires_at` in seconds.
 * Give each application its own table.
 *
 * ## Consistency
 * Strong, with compare-and-set, within one region. In a global table, the regions overwrite each other's writes: use a
 * global table that is strongly consistent, or keep each user in one region. Each verb is one request. If the SDK sends
 * a write again because the answer was lost, the write is done only once.
 *
 * ## Limits
 * An item has at most 400 KB, names included
 * (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html#limits-items); a record at most 409 088 bytes.
 *
 * @param client A client of the AWS SDK. The store never destroys it
 * @param options The table
 * @returns The store. Its `save` throws `ERR_RECORD_TOO_LARGE` before any I/O. A throttled write throws a
 *   `StoreBusyError` after the SDK's own attempts. An answer that it does not understand is an `ERR_STORE`
 * @throws {TypeError} If the client has no `send`, the table has no name, or an option is unknown
 *
 * @example
 * ```ts
 * import { DynamoDBClient } from "@aws-sdk/client-dynamodb";
 * import { withSession } from "with-session";
 * import { dynamoDbStore } from "with-session/stores/dynamodb";
 *
 * const client = new DynamoDBClient({ region: "eu-central-1" });
 * export const handler = withSession(
 *   async (_request, session) => new Response(`Visit ${await session.update("visits", (n = 0) => Number(n) + 1)}`),
 *   { store: dynamoDbStore(client, { table: "sessions" }) },
 * );
 * ```
 */
export function dynamoDbStore(client: DynamoDbClient, options: DynamoDbStoreOptions): SessionStore {
  assertKnown(options, ["table"], "dynamoDbStore");
  const { table: TableName } = options;
  if (typeof TableName !== "string" || TableName === "")
    throw new TypeError("dynamoDbStore: table must be the name of a table");
  if (typeof client?.send !== "function") {
    throw new TypeError(
      "dynamoDbStore: the client must be a DynamoDBClient of @aws-sdk/client-dynamodb; is it undefined?",
    );
  }

  async function send(
    command: GetItemCommand | PutItemCommand | DeleteItemCommand,
    signal: AbortSignal | undefined,
  ): Promise<unknown> {
    const answer = await client.send(command, signal === undefined ? {} : { abortSignal: signal });
    // Each answer of the SDK has `$metadata`. An object without it must not be taken for a missing item or for a
    // successful write.
    if (detailOf(answer, "$metadata") === undefined) throw invalidAnswer();
    return answer;
  }

  return {
    traits: { consistency: "strong", compareAndSet: true, maxBytes: MAX_BYTES },

    async load(key, signal) {
      const found = await send(
        new GetItemCommand({ TableName, Key: { key: { S: key } }, ConsistentRead: true }),
        signal,
      );
      const item = detailOf(found, "Item");
      if (item === undefined) return null;
      const value = detailOf(detailOf(item, "value"), "B");
      // An UpdateItem of another program creates an item without a version, if the session has ended.
      const version = detailOf(detailOf(item, "version") ?? { S: UNKNOWN }, "S");
      if (typeof version !== "string" || detailOf(detailOf(item, "key"), "S") !== key) throw invalidAnswer();
      const { fields, lastSeenAt } = parseRecord(isBytes(value) ? fromUtf8.decode(value) : "");
      return { fields, lastSeenAt, version };
    },

    async save(key, { record, expected, expiresAt }, signal) {
      const bytes = toUtf8.encode(serializeRecord(record));
      assertRecordSize("DynamoDB", bytes.length, MAX_BYTES);
      // A version is never used twice, not even after the record was deleted and created anew.
      const version = crypto.randomUUID();
      const Item = {
        key: { S: key },
        value: { B: bytes },
        version: { S: version },
        expires_at: { N: `${Math.ceil(expiresAt / 1000)}` },
      };
      // The SDK sends a write again if its answer was lost. If the item has this write's version, the first attempt has
      // succeeded.
      const condition: Condition =
        expected === null
          ? {
              ConditionExpression: "attribute_not_exists(#key) OR #version = :version OR #end < :now",
              ExpressionAttributeNames: { "#key": "key", "#version": "version", "#end": "expires_at" },
              ExpressionAttributeValues: {
                ":version": { S: version },
                ":now": { N: `${Math.floor(record.lastSeenAt / 1000)}` },
              },
            }
          : {
              ConditionExpression: "#version IN (:expected, :version)",
              ExpressionAttributeNames: { "#version": "version" },
              ExpressionAttributeValues: { ":version": { S: version }, ":expected": { S: `${expected}` } },
            };
      return await written(async () => {
        await send(new PutItemCommand({ TableName, Item, ...condition }), signal);
        return version;
      });
    },

    async delete(key, expected, signal) {
      const condition = expected === undefined ? {} : unchanged(`${expected}`);
      return await written(async () => {
        await send(new DeleteItemCommand({ TableName, Key: { key: { S: key } }, ...condition }), signal);
      });
    },
  };
}

type Condition = Pick<
  DeleteItemCommand["input"],
  "ConditionExpression" | "ExpressionAttributeNames" | "ExpressionAttributeValues"
>;

/** The version of an item without one, which this store has not written. */
const UNKNOWN = "?";

/** The condition that an item still has a version, or is gone. */
function unchanged(version: string): Condition {
  if (version === UNKNOWN)
    return {
      ConditionExpression: "attribute_not_exists(#version)",
      ExpressionAttributeNames: { "#version": "version" },
    };
  return {
    ConditionExpression: "attribute_not_exists(#key) OR #version = :expected",
    ExpressionAttributeNames: { "#key": "key", "#version": "version" },
    ExpressionAttributeValues: { ":expected": { S: version } },
  };
}

/** 400 KB, less 512 bytes for the key, the version, the expiry and the attributes' names. */
const MAX_BYTES = 409_088;

/** The errors of a write that was refused for the moment: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html. */
const BUSY: readonly unknown[] = [
  "ProvisionedThroughputExceededException",
  "RequestLimitExceeded",
  "ThrottlingException",
  "TransactionConflictException",
];

const toUtf8 = new TextEncoder();
const fromUtf8 = new TextDecoder();

/** Runs a write, and translates its failure. */
async function written<Answer>(write: () => Promise<Answer>): Promise<Answer | "conflict"> {
  try {
    return await write();
  } catch (error) {
    const name = detailOf(error, "name");
    if (name === "ConditionalCheckFailedException") return "conflict";
    throw BUSY.includes(name) ? new StoreBusyError() : error;
  }
}

function invalidAnswer(): SessionError {
  return new SessionError(
    "ERR_STORE",
    "Cannot use the store: dynamoDbStore does not understand its client; is it a documented one?",
  );
}

function isBytes(value: unknown): value is Uint8Array<ArrayBuffer> {
  return ArrayBuffer.isView(value);
}

function detailOf(value: unknown, name: string): unknown {
  return Reflect.get(Object(value), name);
}
