/**
 * A store of your own: sessions in MongoDB, with compare-and-set, on the driver `mongodb` 5 or newer.
 *
 * **It has never run on a real MongoDB.** Its test runs it on a collection in memory that follows the documentation of `updateOne`,
 * `deleteOne` and `findOne`. Run `storeCases()` of `with-session/testing` on your server before you rely on it.
 *
 * ```ts
 * const client = new MongoClient("mongodb://localhost:27017", { readPreference: "primary", readConcern: { level: "majority" }, w: "majority" });
 * const collection = client.db("shop").collection("sessions");
 * // MongoDB looks for expired documents about once a minute.
 * await collection.createIndex({ expiresAt: 1 }, { expireAfterSeconds: 0 });
 * const store = mongodbStore(collection);
 * ```
 *
 * @module
 */
import { assertRecordSize, parseRecord, serializeRecord } from "with-session";
import type { SessionStore } from "with-session";

/** The part of the driver's `Collection` that the store uses. */
export interface MongodbCollection {
  findOne(filter: object): Promise<unknown>;
  updateOne(filter: object, update: object, options?: { upsert?: boolean }): Promise<unknown>;
  deleteOne(filter: object): Promise<unknown>;
}

/**
 * A document has at most 16 MiB: https://www.mongodb.com/docs/manual/reference/limits/. The difference leaves room for the
 * other fields.
 */
const MAX_BYTES = 16 * 1024 * 1024 - 1024;
/** The code of the error that another document has this `_id`. */
const DUPLICATE_KEY = 11_000;

/**
 * Keeps sessions in a collection of MongoDB, one document for each: `_id`, which is the key, `value`, `version` and `expiresAt`.
 *
 * Each method makes one operation on one document, which MongoDB does atomically. Reads and writes must go to the primary with the
 * concern `majority`. Otherwise an election can bring back an older state.
 */
export function mongodbStore(collection: MongodbCollection): SessionStore {
  return {
    traits: { consistency: "strong", compareAndSet: true, maxBytes: MAX_BYTES },

    async load(key) {
      const found = await collection.findOne({ _id: key });
      if (found === null) return null;
      const { value, version } = fieldsOf(found);
      if (typeof version !== "string") throw new Error("MongoDB answered without a version");
      const { fields, lastSeenAt } = parseRecord(typeof value === "string" ? value : "");
      return { fields, lastSeenAt, version };
    },

    async save(key, { record, expected, expiresAt }) {
      const value = serializeRecord(record);
      assertRecordSize("MongoDB", new TextEncoder().encode(value).length, MAX_BYTES);
      // A version is never used again, not even if the record is deleted and created anew.
      const version = crypto.randomUUID();
      const update = { $set: { value, version, expiresAt: new Date(expiresAt) } };
      if (expected !== null) {
        const { matchedCount } = fieldsOf(await collection.updateOne({ _id: key, version: expected }, update));
        return count(matchedCount) === 1 ? version : "conflict";
      }
      // Replaces an expired document. A document that has not expired does not match, so MongoDB tries to insert a second one, and rejects
      // it.
      const filter = { _id: key, expiresAt: { $lt: new Date(record.lastSeenAt) } };
      try {
        const { matchedCount, upsertedCount } = fieldsOf(await collection.updateOne(filter, update, { upsert: true }));
        return count(matchedCount) + count(upsertedCount) === 1 ? version : "conflict";
      } catch (error) {
        if (fieldsOf(error)["code"] === DUPLICATE_KEY) return "conflict";
        throw error;
      }
    },

    async delete(key, expected) {
      const filter = expected === undefined ? { _id: key } : { _id: key, version: expected };
      const { deletedCount } = fieldsOf(await collection.deleteOne(filter));
      if (count(deletedCount) === 1 || expected === undefined) return;
      return (await collection.findOne({ _id: key })) === null ? undefined : "conflict";
    },
  };
}

function fieldsOf(answer: unknown): Record<string, unknown> {
  return typeof answer === "object" && answer !== null ? { ...answer } : {};
}

/** An answer without a number must not be taken for "no document matched". */
function count(answer: unknown): number {
  if (typeof answer === "number") return answer;
  throw new Error("MongoDB answered without a count");
}
