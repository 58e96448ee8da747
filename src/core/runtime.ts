/** In milliseconds. A longer timer fires at once (https://html.spec.whatwg.org/multipage/timers-and-user-prompts.html#timers). */
const MAX_TIMER = 2 ** 31 - 1;

/**
 * The result of a promise, or an error when the time is up. What comes after that is ignored.
 *
 * @param expire Makes the error
 */
export function inTime<T>(promise: Promise<T>, milliseconds: number, expire: () => Error): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(expire()), Math.min(MAX_TIMER, Math.max(0, milliseconds)));
    promise.then(
      (result) => {
        clearTimeout(timer);
        resolve(result);
      },
      (error: unknown) => {
        clearTimeout(timer);
        reject(error);
      },
    );
  });
}

let known: string | undefined;

/** The name of the runtime. It is read with the first request and not on import, because Node loads a module for it. */
function userAgent(): string {
  return (known ??= (globalThis as { navigator?: { userAgent?: string } }).navigator?.userAgent ?? "");
}

/**
 * Whether a request may await a promise that another request of the process has made. Workers forbid it: such a promise never settles there
 * (https://developers.cloudflare.com/workers/runtime-apis/bindings/#making-changes-to-bindings).
 */
export function sharesPromises(): boolean {
  return userAgent() !== "Cloudflare-Workers";
}

/** Whether a request can no longer be read after it became a WebSocket: Deno closes it in `Deno.upgradeWebSocket`. */
export function closesUpgradedRequests(): boolean {
  return userAgent().startsWith("Deno");
}

/** The part of `node:async_hooks` that is used. */
interface AsyncHooks {
  readonly AsyncLocalStorage?: { new <Value>(): AsyncVariable<Value>; snapshot?(): <T>(run: () => T) => T };
}

/** A variable that keeps its value in a function, and in all async work that the function starts. */
export interface AsyncVariable<Value> {
  run(value: Value, run: () => void): void;
  getStore(): Value | undefined;
}

let asyncHooks: AsyncHooks | undefined;

/** A function that runs another function in the current async context, if the runtime has such contexts. */
export function keepContext(): <T>(run: () => T) => T {
  return findAsyncHooks()?.AsyncLocalStorage?.snapshot?.() ?? ((run) => run());
}

/** A variable of the async context. In runtimes without async contexts it never has a value. */
export function asyncVariable<Value>(): AsyncVariable<Value> {
  // A bundler breaks a module that tests the type of a variable called AsyncLocalStorage: see the test.
  const Variable = findAsyncHooks()?.AsyncLocalStorage;
  if (typeof Variable === "function") return new Variable<Value>();
  return { run: (_value, run) => run(), getStore: () => undefined };
}

function findAsyncHooks(): AsyncHooks | undefined {
  return (asyncHooks ??= builtinModule("node:async_hooks"));
}

/** A module of Node, which Deno, Bun and Workers with `nodejs_compat` also have; undefined where it is absent. */
export function builtinModule<Module>(name: string): Module | undefined {
  try {
    const { process } = globalThis as { process?: { getBuiltinModule?: (name: string) => Module | undefined } };
    return process?.getBuiltinModule?.(name);
  } catch {
    return undefined;
  }
}
