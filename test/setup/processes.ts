/**
 * Several simulated processes in this one, each with a clock and timers that the test controls. The test decides when a timer fires, and the
 * order of events does not depend on the load of the machine.
 *
 * @module
 */
import { AsyncLocalStorage } from "node:async_hooks";

/** A simulated server process. The async context of a call names the process in which it runs. */
export interface Process {
  isAlive: boolean;
  /** The value of `performance.now()` in this process, in milliseconds. */
  now: number;
  readonly timers: Set<Timer>;
}

interface Timer {
  readonly due: number;
  /** Whether it is a pause before another attempt, not a time limit. */
  readonly isPause: boolean;
  readonly fire: () => void;
  readonly process: Process;
}

/** In milliseconds. A shorter timer is a pause. */
const MAX_PAUSE = 5000;

const context = new AsyncLocalStorage<Process>();
/** The pauses of all living processes. */
let pauses = new Set<Timer>();

export function startProcess(): Process {
  return { isAlive: true, now: 0, timers: new Set() };
}

/** Runs a function in a process. */
export function within<T>(process: Process, run: () => T): T {
  return context.run(process, run);
}

/** Ends a process at once, as a crash does: none of its timers fires any more. */
export function kill(process: Process): void {
  process.isAlive = false;
  for (const timer of process.timers) forget(timer);
}

/** Advances the clock of a process to its next time limit. Returns false if it has none. */
export function passTime(process: Process): boolean {
  const limits = [...process.timers].filter(({ isPause }) => !isPause);
  if (limits.length === 0) return false;
  process.now = Math.min(...limits.map(({ due }) => due));
  for (const timer of limits.filter(({ due }) => due <= process.now)) fire(timer);
  return true;
}

/**
 * Waits until the only work left waits for a store, for another request or for a time limit.
 *
 * @param isBusy Whether there is other work, such as that of WebCrypto in another thread
 */
export async function quiet(isBusy: () => boolean = () => false): Promise<void> {
  for (;;) {
    await new Promise((resolve) => setImmediate(resolve));
    if (isBusy()) continue;
    if (pauses.size === 0) return;
    for (const timer of Array.from(pauses)) fire(timer);
  }
}

function fire(timer: Timer): void {
  if (!timer.process.timers.has(timer)) return;
  forget(timer);
  timer.process.now = Math.max(timer.process.now, timer.due);
  context.run(timer.process, timer.fire);
}

function forget(timer: Timer): void {
  timer.process.timers.delete(timer);
  pauses.delete(timer);
}

/**
 * Replaces timers and `performance.now()` within processes, and `Math.random` everywhere, until the returned function is called. Code outside of
 * processes keeps the real timers.
 *
 * @param random Replaces `Math.random`
 */
export function takeOverTime(random: () => number): () => void {
  const { setTimeout: realSet, clearTimeout: realClear } = globalThis;
  const realRandom = Math.random;
  const realNow = performance.now;
  const set = (act: (...args: unknown[]) => void, delay = 0, ...args: unknown[]): unknown => {
    const process = context.getStore();
    if (process === undefined) return realSet(act, delay, ...args);
    const timer: Timer = {
      due: process.now + delay,
      isPause: delay < MAX_PAUSE,
      fire: () => act(...args),
      process,
    };
    if (!process.isAlive) return timer;
    process.timers.add(timer);
    if (timer.isPause) pauses.add(timer);
    return timer;
  };
  const clear = (timer: unknown): void => {
    if (isTimer(timer)) forget(timer);
    else realClear(timer as Parameters<typeof realClear>[0]);
  };
  pauses = new Set();
  Object.assign(globalThis, { setTimeout: set, clearTimeout: clear });
  Math.random = random;
  performance.now = () => context.getStore()?.now ?? realNow.call(performance);
  return () => {
    Object.assign(globalThis, { setTimeout: realSet, clearTimeout: realClear });
    Math.random = realRandom;
    Reflect.deleteProperty(performance, "now");
  };
}

/**
 * Plays something with timers, `performance.now` and random numbers that depend on a seed alone, those of `crypto` included: ids, handles and nonces are
 * then the same each time.
 */
export async function playSeeded<T>(seed: number, play: () => Promise<T>): Promise<T> {
  const random = seededRandom(seed);
  const giveBack = takeOverTime(random);
  const { getRandomValues } = crypto;
  crypto.getRandomValues = <Given extends ArrayBufferView | null>(array: Given): Given => {
    if (array instanceof Uint8Array) array.forEach((_, at) => (array[at] = Math.floor(random() * 256)));
    return array;
  };
  try {
    return await play();
  } finally {
    crypto.getRandomValues = getRandomValues;
    giveBack();
  }
}

function isTimer(value: unknown): value is Timer {
  return typeof value === "object" && value !== null && "isPause" in value;
}

/** Pseudo-random numbers, the same for the same seed. The shifts are Marsaglia's (Xorshift RNGs, Journal of Statistical Software 8(14), 2003). */
export function seededRandom(seed: number): () => number {
  let state = (seed ^ 0x9e3779b9) | 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}
