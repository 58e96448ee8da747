import type { SessionStore } from "../../core/store.ts";

/** The timers and messages of a runtime, as far as they are used. */
interface Runtime {
  readonly setTimeout: (run: () => void) => unknown;
  readonly setImmediate?: (run: () => void) => unknown;
  readonly MessageChannel?: new () => {
    readonly port1: { addEventListener(type: "message", run: () => void): void; start(): void; close(): void };
    readonly port2: { postMessage(message: null): void; close(): void };
  };
}

const runtime: object = globalThis;

/** The most records that are remembered as written in this turn. A turn writes fewer. */
const MOST_WRITTEN = 10_000;

/**
 * Writes a record at most once in a turn of the event loop, except that each further write is done in the next turn. The
 * core stores the requests that come meanwhile together. Otherwise a process whose requests write one record again and
 * again would hold the file's lock nearly all the time, and SQLite has no queue for the other processes.
 */
export function onceInTurn(store: SessionStore): SessionStore {
  const { save } = store;
  const written = new Set<string>();
  return {
    ...store,
    save(key, write) {
      if (written.has(key)) return nextTurn().then(() => save(key, write));
      // Workers drop the timers of a request whose response was sent. The list must not grow for ever then.
      if (written.size === MOST_WRITTEN) written.clear();
      if (written.size === 0) afterTurn(() => written.clear());
      written.add(key);
      return save(key, write);
    },
  };
}

/** Runs something after this turn of the event loop. If a test has replaced the timers, it may never run. */
function afterTurn(run: () => void): void {
  const { setImmediate: soon, setTimeout: later } = runtime as Runtime;
  (soon ?? later)(run);
}

/**
 * The next turn of the event loop, by a message: test tools replace timers, but no messages. A message costs more than a
 * timer, so only a write that waits sends one. A runtime without messages, such as jsdom, does not wait.
 */
async function nextTurn(): Promise<void> {
  const { MessageChannel: Channel } = runtime as Runtime;
  if (Channel === undefined) return;
  const { port1, port2 } = new Channel();
  await new Promise<void>((resolve) => {
    port1.addEventListener("message", resolve);
    port1.start();
    port2.postMessage(null);
  });
  // Deno keeps each port that is not closed for as long as the process runs.
  port1.close();
  port2.close();
}
