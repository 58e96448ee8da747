import { expect, test } from "vitest";
import { memoryStore } from "../../mod.ts";
import { forKnownSession } from "../../src/core/admission.ts";
import { forOwnToken } from "../../src/core/operation_with.ts";
import type { Operation } from "../../src/core/repository.ts";

/** An operation whose methods fail without their object, and a list of their calls. */
function operation(presentedName: string): { readonly op: Operation; readonly asked: unknown[] } {
  const asked: unknown[] = [];
  class OwnOperation implements Operation {
    readonly #asked: unknown[] = asked;
    readonly now = 1000;
    readonly store = memoryStore();
    readonly request = new Request("https://shop.example/");
    readonly runtimeArguments = ["env"];
    readonly name = "session";
    readonly presentedName = presentedName;
    readonly transport = undefined;
    readonly session = {};
    readonly writeId = "write";
    endsAt({ lastSeenAt }: { readonly lastSeenAt: number }): number {
      return this.#asked.push("endsAt") + lastSeenAt;
    }
    emit(event: unknown): void {
      this.#asked.push(event);
    }
    async backOff(): Promise<void> {
      this.#asked.push("backOff");
    }
  }
  return { op: new OwnOperation(), asked };
}

test("forOwnToken() names a token of this server by the name under which it is written, and changes nothing else", async () => {
  const { op, asked } = operation("older");
  const own = forOwnToken(op);
  const { now, store, request, runtimeArguments, name, transport, session, writeId } = op;
  expect(own).toMatchObject({
    now,
    runtimeArguments,
    name,
    transport,
    writeId,
    presentedName: "session",
    isOwnToken: true,
  });
  expect([own.store, own.request, own.session]).toEqual([store, request, session]);
  expect(own.endsAt({ metadata: { createdAt: 1, absoluteSince: 1 }, lastSeenAt: 7 })).toBe(8);
  own.emit({ type: "stale" });
  await own.backOff();
  expect(asked).toEqual(["endsAt", { type: "stale" }, "backOff"]);
});

test("forOwnToken() keeps what an operation of a plugin inherits, or has as getters", () => {
  const { op } = operation("older");
  const names = ["now", "store", "request", "runtimeArguments", "session", "isOwnToken", "isKnown"] as const;
  const known = { ...op, isKnown: true };
  const getters = Object.fromEntries(names.map((name) => [name, { get: () => known[name] }]));
  for (const given of [Object.create(known), Object.create(Object.create(op, getters))] as Operation[]) {
    const own = forOwnToken(given);
    for (const name of names) expect(own[name]).toBe(name === "isOwnToken" ? true : known[name]);
  }
});

test("forKnownSession() moves the deadline to the instant at which a record may be swept", () => {
  const { op } = operation("older");
  const known = forKnownSession(op);
  expect(known).toMatchObject({ presentedName: "session", isOwnToken: true, isKnown: true, now: 1000 });
  expect(known.endsAt({ metadata: { createdAt: 1, absoluteSince: 1 }, lastSeenAt: 7 })).toBe(600_008);
});
