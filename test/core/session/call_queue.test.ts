import { describe, expect, onTestFinished, test, vi } from "vitest";
import { CallQueue } from "../../../src/core/session/call_queue.ts";
import { FAKED, gate, soon, soonest } from "../../setup/sessions.ts";

describe("exclusively()", () => {
  test("runs a call at once when none is under way, and answers what it answers", () => {
    const queue = new CallQueue(5);
    expect(queue.exclusively(() => 7)).toBe(7);
    expect(queue.isBusy).toBe(false);
    const fail = (): never => {
      throw new RangeError("no");
    };
    expect(() => queue.exclusively(fail)).toThrow(new RangeError("no"));
    expect(queue.exclusively(() => 8)).toBe(8);
  });

  test("runs one call after the other, also after one that failed", async () => {
    const queue = new CallQueue(5);
    const [first, second] = [gate(), gate()];
    const order: string[] = [];
    const failing = queue.exclusively(async () => {
      order.push("first");
      await first.opened;
      throw new RangeError("no");
    });
    const next = queue.exclusively(async () => {
      order.push("second");
      await second.opened;
      return 2;
    });
    const last = queue.exclusively(() => (order.push("third"), 3));
    expect(await soon(order)).toEqual(["first"]);
    first.open();
    await expect(failing).rejects.toThrow("no");
    expect(await soon(order)).toEqual(["first", "second"]);
    expect(queue.isBusy).toBe(true);
    const behind = queue.exclusively(() => (order.push("fourth"), 4));
    second.open();
    expect(await Promise.all([next, last, behind])).toEqual([2, 3, 4]);
    expect(order).toEqual(["first", "second", "third", "fourth"]);
    expect(await soon(queue.isBusy)).toBe(false);
    expect(queue.exclusively(() => 5)).toBe(5);
  });

  test("lets a call from within a call wait until that one has returned", async () => {
    const queue = new CallQueue(5);
    const order: string[] = [];
    const inner: unknown[] = [];
    queue.exclusively(() => {
      expect(queue.isBusy).toBe(true);
      inner.push(queue.exclusively(() => order.push("inner"), "key"));
      order.push("outer");
    });
    expect(await Promise.all(inner)).toEqual([2]);
    expect(order).toEqual(["outer", "inner"]);
  });

  test("refuses a call that waits for a function of update() for longer than it may", async () => {
    onTestFinished(() => void vi.useRealTimers());
    vi.useFakeTimers(FAKED);
    const queue = new CallQueue(5);
    void queue.exclusively(() => gate().opened);
    const call = vi.fn<() => void>();
    const refused = Promise.resolve(queue.exclusively(call, 'a "key"')).catch((error: unknown) => error);
    await vi.advanceTimersByTimeAsync(4999);
    expect(await soonest(refused)).toBe("is pending");
    await vi.advanceTimersByTimeAsync(1);
    const message = String.raw`Cannot use the session: the function of update("a \"key\"") does not return; it must not wait for a call of the same session`;
    expect(await soonest(refused)).toEqual(new TypeError(message));
    expect(call).not.toHaveBeenCalled();
  });

  test.each([2_147_484, 1e10, Number.MAX_VALUE])(
    "lets a call wait for %d seconds, for which no runtime has a timer",
    async (seconds) => {
      const queue = new CallQueue(seconds);
      const { opened, open } = gate();
      void queue.exclusively(() => opened);
      const call = Promise.resolve(queue.exclusively(() => 7, "key"));
      // A timer that is too long fires at once, before this one.
      await new Promise((resolve) => setTimeout(resolve, 10));
      open();
      expect(await call).toBe(7);
    },
  );

  test("sets no timer for other calls, and leaves none behind", async () => {
    onTestFinished(() => void vi.useRealTimers());
    vi.useFakeTimers(FAKED);
    const queue = new CallQueue(5);
    const { opened, open } = gate();
    const calls = [queue.exclusively(() => opened), queue.exclusively(() => 1)];
    expect(vi.getTimerCount()).toBe(0);
    calls.push(queue.exclusively(() => 2, "key"));
    expect(vi.getTimerCount()).toBe(1);
    open();
    expect(await Promise.all(calls)).toEqual([undefined, 1, 2]);
    expect(vi.getTimerCount()).toBe(0);
  });
});

test("done() waits for the calls that are under way, and not for those that begin meanwhile", async () => {
  const queue = new CallQueue(5);
  expect(queue.done()).toBeUndefined();
  const failed = queue.track(Promise.reject(new RangeError("no")));
  await Promise.all([queue.done(), expect(failed).rejects.toThrow("no")]);
  expect(queue.done()).toBeUndefined();
  const [first, second, third] = [gate(), gate(), gate()];
  queue.note(first.opened);
  void queue.track(second.opened);
  const done = [queue.done(), queue.done()].map((each) => Promise.resolve(each));
  void queue.track(third.opened);
  const later = Promise.resolve(queue.done());
  second.open();
  for (const each of done) expect(await soonest(each)).toBe("is pending");
  first.open();
  await Promise.all(done);
  expect(await soonest(later)).toBe("is pending");
  third.open();
  await later;
  expect(queue.done()).toBeUndefined();
});
