import { type Change, isEmpty, viewOf } from "../../src/core/changes.ts";
import { describe, expect, test } from "vitest";
import { FieldsView } from "../../src/core/fields.ts";
import type { Metadata } from "../../src/core/metadata.ts";
import type { Found } from "../../src/core/repository.ts";
import { WorkingCopy } from "../../src/core/working_copy.ts";
import { soon } from "../setup/sessions.ts";

const put = (name: string, text: string): Change => ({ key: name, run: (fields) => fields.set(name, text) });
const append = (name: string, text: string): Change => ({
  key: name,
  run: (fields) => fields.set(name, (fields.get(name) ?? "") + text),
});

function found(fields: Record<string, string>, version = 1): Found {
  const metadata = { createdAt: 0, absoluteSince: 0 };
  return { id: "id", token: "id", fields: new Map(Object.entries(fields)), metadata, lastSeenAt: 0, version };
}

describe("WorkingCopy", () => {
  test("take() takes everything out; reads see it until the answer comes, and what is recorded meanwhile is kept apart", async () => {
    const copy = new WorkingCopy();
    await copy.setBase(found({ a: "1" }));
    copy.record(append("a", "2"));
    const commit = copy.take();
    expect([copy.isPending, copy.pending.view.get("a")]).toEqual([false, "12"]);
    copy.record(append("a", "3"));
    expect(commit.changes).toHaveLength(1);
    expect(copy.pending.view.get("a")).toBe("123");
    await copy.setBase(found({ a: "x2" }, 2));
    expect(copy.pending.view.get("a")).toBe("x23");
  });

  test("restore() puts back what was not stored, ahead of what was recorded meanwhile", async () => {
    const copy = new WorkingCopy();
    await copy.setBase(found({ a: "1" }));
    copy.record(append("a", "2"));
    const commit = copy.take();
    copy.record(append("a", "3"));
    copy.restore(commit);
    expect(copy.pending.view.get("a")).toBe("123");
    await copy.setBase(found({ a: "y" }, 2));
    expect(copy.pending.view.get("a")).toBe("y23");
  });

  test("takeKey() takes the changes of one key, and all of them if one is of all keys", () => {
    const copy = new WorkingCopy();
    copy.record(put("a", "1"));
    copy.record(put("b", "1"));
    expect(copy.takeKey("a").changes).toHaveLength(1);
    expect(copy.takeKey("a").changes).toHaveLength(0);
    expect(copy.isPending).toBe(true);
    copy.record({ key: undefined, run: () => {} });
    expect(copy.takeKey("a").changes).toHaveLength(2);
    expect(copy.isPending).toBe(false);
  });

  test.each<[string, () => void | Promise<void>]>([
    [
      "at once",
      () => {
        throw new Error("mine");
      },
    ],
    ["later", () => soon(undefined).then(() => Promise.reject(new Error("mine")))],
  ])(
    "setBase() throws the first failure of what waits, drops that change, and takes the state all the same: %s",
    async (_when, fail) => {
      const copy = new WorkingCopy();
      await copy.setBase(found({ a: "1" }));
      copy.record({ key: "b", run: (fields) => (fields.get("a") === "2" ? fail() : undefined) });
      copy.record(append("a", "!"));
      await expect((async () => await copy.setBase(found({ a: "2" }, 2)))()).rejects.toThrow("mine");
      expect([copy.pending.view.get("a"), copy.base?.version, copy.take().changes.length]).toEqual(["2!", 2, 1]);
    },
  );

  test("setBase() applies what is recorded while a slow change runs", async () => {
    const copy = new WorkingCopy();
    await copy.setBase(found({ a: "1" }));
    const slowly = async (fields: FieldsView) => fields.set("a", `${fields.get("a")}${await soon("2")}`);
    // As an `update` whose function runs again only on another value.
    copy.record({ key: "a", run: (fields) => (fields.get("a") === "1" ? fields.set("a", "12") : slowly(fields)) });
    const setting = copy.setBase(found({ a: "x" }, 2));
    copy.record(append("a", "3"));
    await setting;
    expect(copy.pending.view.get("a")).toBe("x23");
  });

  test("setBase() shows the state again from which the changes of a key were taken", async () => {
    const copy = new WorkingCopy();
    const base = found({ a: "1" });
    await copy.setBase(base);
    copy.record(put("a", "2"));
    copy.takeKey("a");
    await copy.setBase(base);
    expect([copy.pending.view.get("a"), copy.isPending]).toEqual(["1", false]);
  });

  test("withdraw() takes back a change that waits, and no other", async () => {
    const copy = new WorkingCopy();
    await copy.setBase(found({ a: "1" }));
    const [first, second] = [append("a", "2"), append("a", "3")];
    copy.record(first);
    copy.record(second);
    const { revision } = copy;
    expect([copy.withdraw(first), copy.revision > revision]).toEqual([true, true]);
    const after = copy.revision;
    expect([copy.withdraw(first), copy.revision]).toEqual([false, after]);
    await copy.setBase(copy.base ?? null);
    expect(copy.pending.view.get("a")).toBe("13");
    expect(copy.take().changes).toEqual([second]);
  });

  test("withdraw() takes back a change that a commit would store before the others have run again", async () => {
    const copy = new WorkingCopy();
    const base = found({ a: "1" });
    await copy.setBase(base);
    const [first, second] = [append("a", "2"), append("a", "3")];
    copy.record(first);
    copy.record(second);
    copy.withdraw(first);
    const { fields } = await viewOf(copy.take(), new FieldsView(base.fields));
    expect(fields.get("a")).toBe("13");
  });

  test("restore() puts back all that was taken, each beside what was recorded meanwhile", () => {
    const copy = new WorkingCopy();
    const mark = (name: string) => (metadata: Metadata) => ({
      ...metadata,
      "+trace": `${String(metadata["+trace"] ?? "")}${name}`,
    });
    copy.begin();
    copy.touch();
    copy.setTimeouts({ idle: 1, absolute: 2 });
    copy.recordMetadata(mark("first"));
    copy.rotate({ grace: 1, reauthenticated: true, untilUsed: false });
    const commit = copy.take();
    expect(copy.isPending).toBe(false);
    copy.setTimeouts({ idle: 3 });
    copy.recordMetadata(mark("second"));
    copy.rotate({ grace: 4, reauthenticated: false, untilUsed: false });
    copy.restore(commit);
    expect(copy.metadata(0)["+trace"]).toBe("firstsecond");
    expect(copy.take()).toMatchObject({
      begins: true,
      touches: true,
      timeouts: { idle: 3, absolute: 2 },
      rotation: { grace: 1, reauthenticated: true },
    });

    copy.restore(commit);
    expect(copy.take().rotation).toEqual({ grace: 1, reauthenticated: true, untilUsed: false });
    copy.restore(new WorkingCopy().take());
    expect(copy.isPending).toBe(false);
    copy.restore(new WorkingCopy().takeKey("a"));
    expect(copy.isPending).toBe(false);
  });

  test("metadata() is that of the session with what waits, or of one that begins now", async () => {
    const copy = new WorkingCopy();
    expect(copy.metadata(7)).toEqual({ createdAt: 7, absoluteSince: 7 });
    const base = found({});
    await copy.setBase(base);
    expect(copy.metadata(7)).toBe(base.metadata);
    copy.recordMetadata((metadata) => ({ ...metadata, rotatedAt: 5 }));
    copy.setTimeouts({ idle: 9 });
    expect(copy.metadata(7)).toEqual({ ...base.metadata, rotatedAt: 5, timeouts: { idle: 9 } });
    expect(copy.isPending).toBe(true);
  });

  test("drop() and reset() leave nothing to store: the session as it is, or none", async () => {
    const copy = new WorkingCopy();
    await copy.setBase(found({ a: "1" }));
    const recordAll = (): void => {
      copy.record(put("a", "2"));
      copy.recordMetadata((metadata) => ({ ...metadata }));
      copy.begin();
      copy.touch();
    };
    recordAll();
    copy.drop();
    expect([copy.isPending, copy.pending.view.get("a"), copy.exists]).toEqual([false, "1", true]);
    recordAll();
    copy.reset();
    expect([copy.isPending, copy.pending.view.get("a"), copy.exists]).toEqual([false, undefined, false]);
  });

  test("begin() asks for a session once, however often it is called", () => {
    const copy = new WorkingCopy();
    copy.begin();
    const { revision } = copy;
    copy.begin();
    expect(copy.revision).toBe(revision);
  });

  test.each<[string, (copy: WorkingCopy) => void]>([
    ["a change", (copy) => copy.record(put("a", "1"))],
    ["a change of the metadata", (copy) => copy.recordMetadata((metadata) => metadata)],
    ["a session that begins", (copy) => copy.begin()],
    ["a touch", (copy) => copy.touch()],
    ["timeouts", (copy) => copy.setTimeouts({ idle: 1 })],
    ["a rotation", (copy) => copy.rotate({ grace: 0, reauthenticated: false, untilUsed: false })],
  ])("isEmpty() and isPending know of %s", (_, act) => {
    const copy = new WorkingCopy();
    expect([isEmpty(copy.take()), copy.isPending]).toEqual([true, false]);
    act(copy);
    expect(copy.isPending).toBe(true);
    expect(isEmpty(copy.take())).toBe(false);
  });

  test("revision grows with whatever is recorded", () => {
    const copy = new WorkingCopy();
    const seen = new Set([copy.revision]);
    for (const act of [
      () => copy.record(put("a", "1")),
      () => copy.recordMetadata((metadata) => metadata),
      () => copy.begin(),
      () => copy.touch(),
      () => copy.setTimeouts({ idle: 1 }),
      () => copy.rotate({ grace: 0, reauthenticated: false, untilUsed: false }),
      () => copy.reset(),
      () => copy.drop(),
    ]) {
      act();
      seen.add(copy.revision);
    }
    expect(seen.size).toBe(9);
  });

  test("rotate() takes the shortest grace that was asked for, and not that of a rotation by age", () => {
    const copy = new WorkingCopy();
    const ask = (grace: number, untilUsed = false): void => copy.rotate({ grace, reauthenticated: false, untilUsed });
    ask(0, true);
    ask(60);
    expect(copy.pending.rotation).toEqual({ grace: 60, reauthenticated: false, untilUsed: false });
    ask(30);
    ask(90);
    expect(copy.pending.rotation?.grace).toBe(30);
  });

  test("rotate() keeps a reauthentication that was asked for before", () => {
    const copy = new WorkingCopy();
    copy.rotate({ grace: 60, reauthenticated: true, untilUsed: false });
    copy.rotate({ grace: 0, reauthenticated: false, untilUsed: false });
    expect(copy.take().rotation).toEqual({ grace: 0, reauthenticated: true, untilUsed: false });
  });
});
