import { AsyncLocalStorage } from "node:async_hooks";

/** A request of Next.js: the result of `headers()`, and the cookies set with `cookies()`. */
export interface NextRequest {
  readonly headers: Headers;
  readonly jar: { set(cookie: { name: string; value: string; maxAge?: number }): void };
}

const requests = new AsyncLocalStorage<NextRequest>();

/** Runs a function within a request, as Next.js runs a Server Action or a Server Component. */
export function within<Result>(request: NextRequest, run: () => Result): Result {
  return requests.run(request, run);
}

/** Replaces the function of Next.js in tests. */
export async function cookies(): Promise<NextRequest["jar"]> {
  return current().jar;
}

/** Replaces the function of Next.js in tests. */
export async function headers(): Promise<Headers> {
  return current().headers;
}

function current(): NextRequest {
  const request = requests.getStore();
  if (request === undefined) throw new Error("There is no request of Next.js");
  return request;
}
