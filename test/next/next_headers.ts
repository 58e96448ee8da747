import { AsyncLocalStorage } from "node:async_hooks";

/** A request of Next.js: what `headers()` answers, and the cookies that `cookies()` is told to set. */
export interface NextRequest {
  readonly headers: Headers;
  readonly jar: { set(cookie: { name: string; value: string; maxAge?: number }): void };
}

const requests = new AsyncLocalStorage<NextRequest>();

/** Runs something as Next.js runs a Server Action or a Server Component: within a request. */
export function within<Result>(request: NextRequest, run: () => Result): Result {
  return requests.run(request, run);
}

/** Stands in for Next.js in tests. */
export async function cookies(): Promise<NextRequest["jar"]> {
  return current().jar;
}

/** As above. */
export async function headers(): Promise<Headers> {
  return current().headers;
}

function current(): NextRequest {
  const request = requests.getStore();
  if (request === undefined) throw new Error("There is no request of Next.js");
  return request;
}
