import type { Codec } from "./codec.ts";
import { mistake, SessionError } from "./errors.ts";
import { fieldName, keyOf, splitEnd, withEnd } from "./fields.ts";
import { kindOf } from "./kind_of.ts";
import { chain, type MaybePromise, recovering } from "./maybe_promise.ts";
import { DATA, EXPIRING, type Fields } from "./record_fields.ts";
import type { Found } from "./repository.ts";

/**
 * The part of a Standard Schema, version 1 (https://standardschema.dev), that is used. Zod, Valibot, ArkType and others
 * make such schemas.
 */
export interface Schema<Data> {
  /** The schema's own interface to libraries. */
  readonly "~standard": {
    /** Checks a value. */
    readonly validate: (value: unknown) => SchemaResult<Data> | Promise<SchemaResult<Data>>;
    /** The types of the schema's input and output. */
    readonly types?: { readonly input: unknown; readonly output: Data } | undefined;
  };
}

/** The result of a validation: the value as the schema returns it, or its issues. */
export type SchemaResult<Data> =
  | { readonly value: Data; readonly issues?: undefined }
  | { readonly issues: readonly SchemaIssue[] };

/** What is wrong with a value, and where. */
export interface SchemaIssue {
  /** The schema's own message. */
  readonly message?: string;
  /** Keys from the outside to the inside. */
  readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined;
}

/** Checks loaded data. Returns the session with the data as the schema returns them, or `"schema"` if they fail. */
export function validateLoaded(schema: Schema<unknown>, codec: Codec, found: Found): MaybePromise<Found | "schema"> {
  return recovering<Found | "schema">(
    () =>
      chain(validate(schema, codec, found.fields), (result) =>
        result.issues === undefined ? { ...found, fields: fieldsOf(codec, found.fields, result.value) } : "schema",
      ),
    () => "schema",
  );
}

/**
 * Checks data before they are stored.
 *
 * @throws {SessionError} `ERR_SCHEMA`, which names the paths and carries the schema's own messages. Some schemas quote the value in them
 * @throws {TypeError} If the schema returns no object of values. The next request would find an empty session
 */
export function validateChanges(schema: Schema<unknown>, codec: Codec, fields: Fields): MaybePromise<void> {
  return chain(validate(schema, codec, fields), (result) => {
    // A schema that a program has written itself may return anything.
    const { issues, value }: { issues?: readonly SchemaIssue[]; value?: unknown } = Object(result);
    if (issues === undefined && hasKeys(value)) return;
    if (issues === undefined)
      throw mistake(`The schema must return the data as the value, an object with their keys; it is ${kindOf(value)}`);
    const messages = (issues.length === 0 ? [{}] : issues.slice(0, MAX_ISSUES)).map(describeIssue);
    if (issues.length > MAX_ISSUES) messages.push(`and ${issues.length - MAX_ISSUES} more`);
    throw new SessionError("ERR_SCHEMA", `Cannot store the session: ${messages.join("; ")}`);
  });
}

/** Whether a value is an object with keys, and not a list, a `Map` or the like. */
function hasKeys(value: unknown): boolean {
  return typeof value === "object" && value !== null && !(Symbol.iterator in value);
}

/** The most issues that an error message names. */
const MAX_ISSUES = 5;

function describeIssue({ path, message }: SchemaIssue): string {
  const place = path?.map((segment) => String(typeof segment === "object" ? segment.key : segment)).join(".") ?? "";
  const what = place === "" ? "its data fails the schema" : `${JSON.stringify(place)} fails the schema`;
  return message === undefined ? what : `${what}: ${message}`;
}

function validate(schema: Schema<unknown>, codec: Codec, fields: Fields): MaybePromise<SchemaResult<unknown>> {
  const data: [key: string, value: unknown][] = [];
  for (const [name, text] of fields) {
    if (isData(name)) data.push([keyOf(name), codec.decode(name.startsWith(DATA) ? text : splitEnd(text).text)]);
  }
  // An assignment could not create the key `__proto__`.
  return schema["~standard"].validate(Object.fromEntries(data));
}

function isData(name: string): boolean {
  return name.startsWith(DATA) || name.startsWith(EXPIRING);
}

/** The fields with the data as the schema returns them; the same object if the schema changes nothing. */
function fieldsOf(codec: Codec, fields: Fields, value: unknown): Fields {
  const made = new Map([...fields].filter(([name]) => !isData(name)));
  for (const [key, each] of Object.entries(Object(value))) {
    if (each === undefined) continue;
    const text = codec.encode(each);
    const end = fields.get(fieldName(EXPIRING, key));
    if (end === undefined) made.set(fieldName(DATA, key), text);
    else made.set(fieldName(EXPIRING, key), withEnd(text, splitEnd(end).endsAt));
  }
  const isSame = made.size === fields.size && [...made].every(([name, text]) => fields.get(name) === text);
  return isSame ? fields : made;
}
