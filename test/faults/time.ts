/**
 * A simulated time for each scene. Code that waits for a store that hangs reaches its time limit at once. Clients of engines use the real time.
 *
 * @module
 */
import { AsyncLocalStorage } from "node:async_hooks";

interface Timer {
  readonly due: number;
  readonly fire: () => void;
}

/** In milliseconds. A shorter timer is a pause before another attempt, or a limit that has passed. */
const MAX_PAUSE = 5000;

const context = new AsyncLocalStorage<SceneTime>();

/** The time of one scene. */
export class SceneTime {
  /** The time that has passed, in milliseconds. */
  elapsed = 0;
  readonly #limits = new Set<Timer>();

  /** Runs a function. Its timers and those of its calls belong to this time. */
  within<T>(run: () => T): T {
    return context.run(this, run);
  }

  advance(seconds: number): void {
    this.elapsed += seconds * 1000;
  }

  /** Advances the time to the next time limit, after the running code has come to wait. */
  expire(): void {
    queueMicrotask(() => {
      const next = [...this.#limits].sort((one, other) => one.due - other.due)[0];
      if (next === undefined) return;
      this.#limits.delete(next);
      this.elapsed = Math.max(this.elapsed, next.due);
      next.fire();
    });
  }

  set(act: () => void, delay: number): Timer {
    const timer: Timer = { due: this.elapsed + delay, fire: () => this.within(act) };
    this.#limits.add(timer);
    if (delay < MAX_PAUSE) {
      queueMicrotask(() => {
        if (!this.#limits.delete(timer)) return;
        this.elapsed = Math.max(this.elapsed, timer.due);
        timer.fire();
      });
    }
    return timer;
  }

  clear(timer: Timer): void {
    this.#limits.delete(timer);
  }
}

/** Replaces timers and `performance.now()` within scenes, until the returned function is called. */
export function takeOverTimers(): () => void {
  const { setTimeout: realSet, clearTimeout: realClear } = globalThis;
  const realNow = performance.now;
  const set = (act: (...args: unknown[]) => void, delay = 0, ...args: unknown[]): unknown =>
    context.getStore()?.set(() => act(...args), delay) ?? realSet(act, delay, ...args);
  const clear = (timer: unknown): void => {
    const time = context.getStore();
    if (time !== undefined && isTimer(timer)) time.clear(timer);
    else realClear(timer as Parameters<typeof realClear>[0]);
  };
  Object.assign(globalThis, { setTimeout: set, clearTimeout: clear });
  performance.now = () => context.getStore()?.elapsed ?? realNow.call(performance);
  return () => {
    Object.assign(globalThis, { setTimeout: realSet, clearTimeout: realClear });
    Reflect.deleteProperty(performance, "now");
  };
}

/** Runs a function outside of every scene, because the client of an engine has timers of its own. */
export function outside<T>(run: () => T): T {
  return context.exit(run);
}

function isTimer(value: unknown): value is Timer {
  return typeof value === "object" && value !== null && "due" in value && "fire" in value;
}
