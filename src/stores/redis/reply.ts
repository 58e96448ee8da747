/**
 * Reads the replies of Redis clients. Depending on the client and its settings, the same reply is a string, a number or
 * bytes, a map, an object or a list.
 *
 * @module
 */

/**
 * The text of a reply, or null if the reply says that there is nothing. Any other reply is a failure, because guessing
 * its meaning could lose data.
 */
export function textOf(reply: unknown): string | null {
  if (reply === null || typeof reply === "string") return reply;
  // All clients that reply with bytes use Node's buffers.
  if (typeof reply === "number" || ArrayBuffer.isView(reply)) return String(reply);
  throw invalidAnswer();
}

/** The fields of a hash: names and values in turn, a list of `{ key, value }`, a map, or an object. */
export function fieldsOf(reply: unknown): Map<string, string> {
  if (typeof reply !== "object" || reply === null) throw invalidAnswer();
  const items: unknown[] = isIterable(reply) ? [...reply] : Object.entries(reply);
  const texts = items.flatMap((item) => (isEntry(item) ? [item.key, item.value] : item));
  const fields = new Map<string, string>();
  for (let at = 0; at < texts.length; at += 2) fields.set(String(textOf(texts[at])), String(textOf(texts[at + 1])));
  return fields;
}

function isIterable(value: object): value is Iterable<unknown> {
  return Symbol.iterator in value;
}

function isEntry(item: unknown): item is { readonly key: unknown; readonly value: unknown } {
  return typeof item === "object" && item !== null && "key" in item;
}

/** Whether a reply says yes. A reply that says neither yes nor no is a failure. */
export function isDone(reply: unknown, yes: string, no: string | null): boolean {
  const text = textOf(reply);
  if (text !== yes && text !== no) throw invalidAnswer();
  return text === yes;
}

/** The error of an answer that Redis does not give. */
export function invalidAnswer(): Error {
  return new Error("The Redis client gave an answer without meaning");
}

/**
 * Whether a client's error has a message of this form. The message of an error reply begins with its code
 * (https://redis.io/docs/latest/develop/reference/protocol-spec/#simple-errors).
 */
export function hasMessage(error: unknown, form: RegExp): boolean {
  return typeof error === "object" && error !== null && "message" in error && form.test(String(error.message));
}
