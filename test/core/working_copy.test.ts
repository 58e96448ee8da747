import { describe, expect, test } from "vitest";
import type { FieldsView } from "../../src/core/fields.ts";
import type { Found } from "../../src/core/repository.ts";
import { type Change, WorkingCopy } from "../../src/core/working_copy.ts";
import { replay, sweep } from "../../src/core/fields.ts";
import { soon } from "../setup/sessions.ts";

const put = (name: string, text: string): Change => ({ key: name, run: (fields) => fields.set(name, text) });
const remove = (name: string): Change => ({ key: name, run: (fields) => fields.delete(name) });
const append = (name: string, text: string): Change => ({
  key: name,
  run: (fields) => fields.set(name, (fields.get(name) ?? "") + text),
});

function found(fields: Record<string, string>, version = 1): Found {
  const metadata = { createdAt: 0, absoluteSince: 0 };
  return { id: "id", token: "id", fields: new Map(Object.entries(fields)), metadata, lastSeenAt: 0, version };
}

const whole = (view: FieldsView): Record<string, string> => Object.fromEntries(view.fields);

describe("replay()", () => {
  test("runs changes in their order, each when the one before is done", async () => {
    const slow: Change = {
      key: "a",
      run: async (fields) => {
        const text = fields.get("a");
        await soon(0);
        fields.set("a", `${text}1`);
      },
    };
    const view = await replay(
      [slow, append("a", "2"), slow, remove("b"), put("c", "3")],
      new Map([
        ["a", "0"],
        ["b", "0"],
      ]),
    );
    expect(whole(view)).toEqual({ a: "0121", c: "3" });
  });

  test("answers at once when no change takes time, and leaves the record's own fields as they were", () => {
    const fields = new Map([["a", "1"]]);
    const view = replay([remove("a"), put("b", "1")], fields);
    expect("then" in view).toBe(false);
    expect(fields).toEqual(new Map([["a", "1"]]));
  });
});

describe("WorkingCopy", () => {
  test("take() takes everything out; reads see it until the answer comes, and what is recorded meanwhile is kept apart", async () => {
    const copy = new WorkingCopy();
    await copy.setBase(found({ a: "1" }));
    copy.record(append("a", "2"));
    const commit = copy.take();
    expect([copy.isPending, copy.view.get("a")]).toEqual([false, "12"]);
    copy.record(append("a", "3"));
    expect(commit.changes).toHaveLength(1);
    expect(copy.view.get("a")).toBe("123");
    await copy.setBase(found({ a: "x2" }, 2));
    expect(copy.view.get("a")).toBe("x23");
  });

  test("restore() puts back what was not stored, ahead of what was recorded meanwhile", async () => {
    const copy = new WorkingCopy();
    await copy.setBase(found({ a: "1" }));
    copy.record(append("a", "2"));
    const commit = copy.take();
    copy.record(append("a", "3"));
    copy.restore(commit);
    expect(copy.view.get("a")).toBe("123");
    await copy.setBase(found({ a: "y" }, 2));
    expect(copy.view.get("a")).toBe("y23");
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

  test("setBase() throws the first failure of what waits, drops that change, and takes the state all the same", async () => {
    const copy = new WorkingCopy();
    await copy.setBase(found({ a: "1" }));
    const failing: Change = {
      key: "b",
      run: (fields) => {
        if (fields.get("a") === "2") throw new Error("mine");
      },
    };
    copy.record(failing);
    copy.record(append("a", "!"));
    await expect((async () => await copy.setBase(found({ a: "2" }, 2)))()).rejects.toThrow("mine");
    expect([copy.view.get("a"), copy.base?.version, copy.take().changes.length]).toEqual(["2!", 2, 1]);
  });

  test("setBase() applies what is recorded while a slow change runs", async () => {
    const copy = new WorkingCopy();
    await copy.setBase(found({ a: "1" }));
    const slow: Change = { key: "a", run: async (fields) => fields.set("a", `${fields.get("a")}${await soon("2")}`) };
    copy.record(slow, (fields) => fields.set("a", "12"));
    const setting = copy.setBase(found({ a: "x" }, 2));
    copy.record(append("a", "3"));
    await setting;
    expect(copy.view.get("a")).toBe("x23");
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

  test("rotate() keeps a reauthentication that was asked for before", () => {
    const copy = new WorkingCopy();
    copy.rotate({ grace: 60, reauthenticated: true, untilUsed: false });
    copy.rotate({ grace: 0, reauthenticated: false, untilUsed: false });
    expect(copy.take().rotation).toEqual({ grace: 0, reauthenticated: true, untilUsed: false });
  });
});

test("sweep() removes values whose time to live has passed, and no others", async () => {
  const view = await replay(
    [],
    new Map([
      ["=a", "1"],
      ["%old", "10 1"],
      ["%young", "11 1"],
      ["~flash", "1 x"],
    ]),
  );
  sweep(view, 10);
  expect(Object.keys(whole(view))).toEqual(["=a", "%young", "~flash"]);
});
