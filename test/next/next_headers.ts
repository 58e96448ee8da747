interface Cookie {
  readonly name: string;
  readonly value: string;
  readonly path?: string;
  readonly maxAge?: number;
}

/** What a test gives in place of Next.js: the headers of the request, null if there is none, and the cookies that were set. */
export const given: { headers: Headers | null; readonly jar: Cookie[] } = { headers: null, jar: [] };

/** Stands in for Next.js. */
export async function cookies(): Promise<{ set(cookie: Cookie): unknown }> {
  await headers();
  return { set: (cookie) => void given.jar.push(cookie) };
}

/** As above. */
export async function headers(): Promise<Headers> {
  if (given.headers === null) throw new Error("There is no request of Next.js");
  return given.headers;
}
