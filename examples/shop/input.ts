/** A request that the shop rejects, with the status and message of its answer. */
export class Refusal extends Error {
  readonly status: number;
  readonly headers: Record<string, string>;

  constructor(status: number, message: string, headers: Record<string, string> = {}) {
    super(message);
    this.status = status;
    this.headers = headers;
  }
}

/** In bytes: far more than any form of this shop needs. */
const MAX_BODY = 16_384;

/** The fields of a JSON object. */
export async function readJson(request: Request): Promise<Record<string, unknown>> {
  const text = await readText(request, "application/json");
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    throw new Refusal(400, "The body is not JSON.");
  }
  if (typeof body !== "object" || body === null || Array.isArray(body)) {
    throw new Refusal(400, "The body is not a JSON object.");
  }
  return Object.fromEntries(Object.entries(body));
}

/** The fields of an HTML form. */
export async function readForm(request: Request): Promise<URLSearchParams> {
  return new URLSearchParams(await readText(request, "application/x-www-form-urlencoded"));
}

export function parseProduct(value: unknown): string {
  return parseText(value, "product");
}

/** @param field The name of the field that the user knows: the property of the JSON, or the label of the form */
export function parseUser(value: unknown, field: string = "user"): string {
  return parseText(value, field);
}

export function parseHandle(value: unknown): string {
  if (typeof value === "string") return value;
  throw new Refusal(400, "handle must be one that the list of devices shows.");
}

export function parseQuantity(value: unknown): number {
  if (typeof value === "number" && Number.isInteger(value) && value >= 1 && value <= 99) return value;
  throw new Refusal(400, "quantity must be a whole number from 1 to 99.");
}

/** Names appear on a page and in a line of JSON, so control characters and unpaired surrogates are rejected. */
function parseText(value: unknown, field: string): string {
  const text = typeof value === "string" ? value.trim() : "";
  if (/^[^\p{Cc}\p{Cs}]{1,60}$/u.test(text)) return text;
  throw new Refusal(400, `${field} must have 1 to 60 characters, and not spaces alone.`);
}

async function readText(request: Request, type: string): Promise<string> {
  const given = request.headers.get("Content-Type")?.split(";")[0]?.trim().toLowerCase();
  if (given !== type) throw new Refusal(415, `The body must be sent as ${type}.`);
  const bytes = await readBytes(request);
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new Refusal(400, "The body is not UTF-8.");
  }
}

/** Counts while it reads, because the Content-Length of a body can be missing or wrong. */
async function readBytes(request: Request): Promise<Uint8Array> {
  const bytes = new Uint8Array(MAX_BODY);
  let length = 0;
  for await (const chunk of request.body ?? []) {
    if (length + chunk.length > MAX_BODY) throw new Refusal(413, `The body is longer than ${MAX_BODY} bytes.`);
    bytes.set(chunk, length);
    length += chunk.length;
  }
  return bytes.subarray(0, length);
}
