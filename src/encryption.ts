import { HEAD_FIELD } from "./record.ts";
import { seal, unseal } from "./sealing.ts";

type Fields = ReadonlyMap<string, string>;

/** Makes records unreadable for whoever has only the store. */
export interface RecordLock {
  /** The fields as they are to be stored under `key`. */
  lock(fields: Fields, id: string, key: string): Fields | Promise<Fields>;
  /** The fields as they were before, or null if these are not what `lock` gave for this id and key. */
  unlock(fields: Fields, id: string, key: string): Fields | null | Promise<Fields | null>;
}

/** The field that holds all others. No plain record has it, so neither kind is ever taken for the other. */
const SEALED_FIELD = "*";

/** Leaves records as they are, and refuses sealed ones: without their data they would look empty. */
export const OPEN: RecordLock = {
  lock: (fields) => fields,
  unlock: (fields) => (fields.has(SEALED_FIELD) ? null : fields),
};

/**
 * Seals data and their names into one field, under a key that is derived from the id, which the store never sees, and
 * from the current secret if there is one. What is sealed is bound to its store key and to the head beside it.
 */
export function sealedRecords(secrets: readonly string[] = [""]): RecordLock {
  const keyMaterial = (id: string, secret: string): string => JSON.stringify([id, secret]);
  const bond = (fields: Fields, key: string): string => `${key} ${fields.get(HEAD_FIELD)}`;
  return {
    async lock(fields, id, key) {
      const data = JSON.stringify([...fields].filter(([name]) => name !== HEAD_FIELD));
      const sealed = await seal(keyMaterial(id, secrets[0] ?? ""), RECORD, data, bond(fields, key));
      return new Map([
        [HEAD_FIELD, fields.get(HEAD_FIELD) ?? ""],
        [SEALED_FIELD, sealed],
      ]);
    },
    async unlock(fields, id, key) {
      const sealed = fields.get(SEALED_FIELD);
      if (sealed === undefined) return null;
      for (const secret of secrets) {
        const data = await unseal(keyMaterial(id, secret), RECORD, sealed, bond(fields, key));
        if (data === null) continue;
        const entries: [string, string][] = JSON.parse(data);
        return new Map([[HEAD_FIELD, fields.get(HEAD_FIELD) ?? ""], ...entries]);
      }
      return null;
    },
  };
}

const RECORD = "record";
