import type { Codec } from "./codec.ts";
import { SessionError } from "./errors.ts";
import { dataField, keysOf } from "./record.ts";

type Fields = ReadonlyMap<string, string>;

/** What is needed of a Standard Schema (https://standardschema.dev), version 1: zod, valibot, arktype and others are ones. */
export interface Schema<Data> {
  /** The schema's own interface to libraries. */
  readonly "~standard": {
    /** Holds a value against the schema. */
    readonly validate: (value: unknown) => SchemaResult<Data> | Promise<SchemaResult<Data>>;
    /** What the schema takes and gives, for types alone. */
    readonly types?: { readonly input: unknown; readonly output: Data } | undefined;
  };
}

/** What a schema says of a value: the value as it would have it, or what is wrong and where. */
export type SchemaResult<Data> =
  | { readonly value: Data; readonly issues?: undefined }
  | {
      readonly issues: readonly {
        readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined;
      }[];
    };

/** Holds what was loaded against the schema: the same with the data as it gives them out, or that they do not fit. */
export async function admit<Loaded extends { readonly fields: Fields }>(
  schema: Schema<unknown>,
  codec: Codec,
  loaded: Loaded,
): Promise<Loaded | "schema"> {
  try {
    const result = await schema["~standard"].validate(dataOf(codec, loaded.fields));
    if (result.issues !== undefined) return "schema";
    const admitted = new Map([...loaded.fields].filter(([name]) => !name.startsWith("=")));
    for (const [key, value] of Object.entries(Object(result.value))) {
      if (value !== undefined) admitted.set(dataField(key), codec.encode(value));
    }
    return { ...loaded, fields: admitted };
  } catch {
    return "schema";
  }
}

/**
 * Holds what is to be stored against the schema.
 *
 * @throws {SessionError} `ERR_SCHEMA`, which names the key, never the value or the schema's own message
 */
export async function approve(schema: Schema<unknown>, codec: Codec, fields: Fields): Promise<void> {
  const { issues } = await schema["~standard"].validate(dataOf(codec, fields));
  if (issues === undefined) return;
  const segment = issues[0]?.path?.[0];
  const key = typeof segment === "object" ? segment.key : segment;
  const what = key === undefined ? "the data do" : `${JSON.stringify(String(key))} does`;
  throw new SessionError("ERR_SCHEMA", `Cannot store the session: ${what} not fit the schema`);
}

function dataOf(codec: Codec, fields: Fields): Record<string, unknown> {
  const keys = [...keysOf(fields, "=")];
  return Object.fromEntries(keys.map((key) => [key, codec.decode(fields.get(dataField(key)) ?? "")]));
}
