import { describe, expect, test } from "vitest";
import { memoryStore, type Session, SessionManager } from "../../mod.ts";
import { fakeClock } from "../../src/testing.ts";
import { counted, openStore, visitor } from "../setup/sessions.ts";

describe("flash", () => {
  test("[55] flash() is invisible in its own request, seen once in a later one, and then gone", async () => {
    const visit = visitor();
    await visit(async (session) => {
      session.flash("notice", "hello");
      expect(await session.get("notice")).toBe(undefined);
      expect(await session.has("notice")).toBe(false);
      expect(await session.keys()).toEqual([]);
      expect({ ...(await session.all()) }).toEqual({});
    });
    await visit(async (session) => {
      expect(await session.get("notice")).toBe("hello");
      expect(await session.get("notice")).toBe("hello");
    });
    expect((await visit((session) => session.get("notice"))).result).toBe(undefined);
  });

  test("[55] flash() waits when requests in between do not read it", async () => {
    const visit = visitor();
    await visit((session) => session.flash("notice", "hello"));
    await visit(() => 0);
    await visit((session) => session.get("other"));
    await visit((session) => session.set("other", 1));
    await visit(async (session) => {
      expect(await session.has("notice")).toBe(true);
      expect(await session.keys()).toEqual(["other", "notice"]);
      expect(await session.size()).toBe(2);
    });
    expect((await visit((session) => session.get("notice"))).result).toBe("hello");
  });

  test.each([
    ["get()", (session) => session.get("notice")],
    ["pull()", (session) => session.pull("notice")],
    ["all()", async (session) => (await session.all())["notice"]],
  ] as [string, (session: Session) => Promise<unknown>][])("[55] %s consumes a flash value", async (_, use) => {
    const visit = visitor();
    await visit((session) => session.flash("notice", "hello"));
    expect((await visit(use)).result).toBe("hello");
    expect((await visit(use)).result).toBe(undefined);
  });

  test("[55] pull() leaves nothing for the rest of the request", async () => {
    const visit = visitor();
    await visit((session) => session.flash("notice", "hello"));
    await visit(async (session) => {
      expect(await session.pull("notice")).toBe("hello");
      expect(await session.get("notice")).toBe(undefined);
    });
  });

  test.each([
    ["keepFlash(key) before it is read", (session) => (session.keepFlash("notice"), session.get("notice"))],
    ["keepFlash(key) after it was read", async (session) => (await session.get("notice"), session.keepFlash("notice"))],
    ["keepFlash() before it is read", (session) => (session.keepFlash(), session.get("notice"))],
    ["keepFlash() after it was read", async (session) => (await session.get("notice"), session.keepFlash())],
    [
      "keepFlash(key) after it was read and saved",
      async (session) => {
        await session.get("notice");
        await session.save();
        session.keepFlash("notice");
      },
    ],
  ] as [string, (session: Session) => unknown][])(
    "[55] %s keeps a flash value for one more request",
    async (_, use) => {
      const visit = visitor();
      await visit((session) => session.flash("notice", "hello"));
      await visit(use);
      expect((await visit((session) => session.get("notice"))).result).toBe("hello");
      expect((await visit((session) => session.get("notice"))).result).toBe(undefined);
    },
  );

  test("[55] keepFlash(key) keeps that one only", async () => {
    const visit = visitor();
    await visit((session) => (session.flash("a", 1), session.flash("b", 2)));
    await visit(async (session) => (await session.all(), session.keepFlash("a")));
    expect({ ...(await visit((session) => session.all())).result }).toEqual({ a: 1 });
  });

  test("[55] flash() again, in the request that shows it, is for the request after", async () => {
    const visit = visitor();
    await visit((session) => session.flash("notice", "one"));
    await visit(async (session) => {
      expect(await session.get("notice")).toBe("one");
      session.flash("notice", "two");
      expect(await session.get("notice")).toBe("one");
    });
    expect((await visit((session) => session.get("notice"))).result).toBe("two");
    expect((await visit((session) => session.get("notice"))).result).toBe(undefined);
  });

  test("[55] flash() of another request is not lost when this one consumes the value before it", async () => {
    const visit = visitor();
    await visit((session) => session.flash("notice", "one"));
    await visit(async (session) => {
      expect(await session.get("notice")).toBe("one");
      await visit((other) => other.flash("notice", "two"));
    });
    expect((await visit((session) => session.get("notice"))).result).toBe("two");
  });

  test("[55] flash() survives regenerate(), and a save() in mid-handler", async () => {
    const visit = visitor();
    await visit(async (session) => {
      session.flash("notice", "hello");
      await session.save();
      expect(await session.get("notice")).toBe(undefined);
    });
    await visit((session) => session.regenerate());
    await visit(async (session) => {
      expect(await session.get("notice")).toBe("hello");
      await session.save();
      expect(await session.get("notice")).toBe("hello");
    });
    expect((await visit((session) => session.get("notice"))).result).toBe(undefined);
  });

  test("[55] delete() drops a flash value, waiting or just recorded", async () => {
    const visit = visitor();
    await visit((session) => (session.flash("a", 1), session.flash("b", 2), session.delete("b")));
    await visit((session) => session.delete("a"));
    expect((await visit((session) => session.size())).result).toBe(0);
  });

  test("[55] set() in the request of a flash() is seen at once, the flash value in the next", async () => {
    const visit = visitor();
    await visit(async (session) => {
      session.flash("notice", "later");
      session.set("notice", "now");
      expect(await session.get("notice")).toBe("now");
    });
    expect((await visit((session) => session.get("notice"))).result).toBe("later");
    expect((await visit((session) => session.get("notice"))).result).toBe("now");
  });

  test("[55] flash() of undefined takes back what was set before, in this request or an earlier one", async () => {
    const visit = visitor();
    const takeBack = (session: Session) => session.flash("message", undefined as never);
    await visit((session) => session.flash("message", "Saved"));
    await visit(takeBack);
    expect((await visit((session) => session.size())).result).toBe(0);
    expect((await visit((session) => session.get("message"))).result).toBeUndefined();
    await visit((session) => {
      session.flash("message", "Saved");
      takeBack(session);
    });
    expect((await visit((session) => session.get("message"))).result).toBeUndefined();
  });

  test("[55] flash() after destroy() is shown by the new session", async () => {
    const visit = visitor();
    await visit((session) => session.set("user", "ada"));
    await visit(async (session) => {
      await session.destroy();
      session.flash("notice", "bye");
    });
    await visit(async (session) => {
      expect(await session.get("user")).toBe(undefined);
      expect(await session.get("notice")).toBe("bye");
    });
  });

  test("[55] flash() with a time to live is seen until that has passed", async () => {
    const clock = fakeClock();
    const visit = visitor({ now: clock.now });
    await visit((session) => session.flash("notice", "hello", { ttl: 60 }));
    clock.advance(59);
    expect((await visit((session) => session.has("notice"))).result).toBe(true);
    clock.advance(1);
    expect((await visit(async (session) => [await session.has("notice"), await session.keys()])).result).toEqual([
      false,
      [],
    ]);
    expect((await visit((session) => session.get("notice"))).result).toBeUndefined();
  });

  test("[55] flash() with a time to live leaves nothing in the record after that, if nobody has read it", async () => {
    const clock = fakeClock();
    const { store, records } = openStore();
    const visit = visitor({ store, now: clock.now });
    await visit((session) => session.flash("notice", "hello", { ttl: 60 }));
    clock.advance(60);
    await visit((session) => session.set("n", 1));
    expect([...records.values()].map(({ fields }) => [...fields.keys()])).toEqual([["@", "=n"]]);
  });

  test("[55] a prefetch sees a flash value and leaves it as it is, with its time to live, also if it keeps it", async () => {
    const clock = fakeClock();
    const { store, calls } = counted(memoryStore());
    const visit = visitor({ store, now: clock.now });
    await visit((session) => session.flash("notice", "hello", { ttl: 60 }));
    calls.length = 0;
    const prefetch = { headers: { "Sec-Purpose": "prefetch" } };
    expect((await visit((session) => session.get("notice"), prefetch)).result).toBe("hello");
    const kept = await visit(async (session) => {
      const seen = await session.get("notice");
      session.keepFlash();
      session.keepFlash("notice");
      return seen;
    }, prefetch);
    expect([kept.result, calls]).toEqual(["hello", ["load", "load"]]);
    clock.advance(60);
    expect((await visit((session) => session.get("notice"))).result).toBeUndefined();
  });

  test("[55] a value that was read and is kept twice keeps its time to live", async () => {
    const clock = fakeClock();
    const visit = visitor({ now: clock.now });
    await visit((session) => session.flash("notice", "hello", { ttl: 60 }));
    await visit(async (session) => {
      expect(await session.get("notice")).toBe("hello");
      session.keepFlash("notice");
      session.keepFlash("other");
    });
    clock.advance(59);
    expect((await visit((session) => session.has("notice"))).result).toBe(true);
    clock.advance(1);
    expect((await visit((session) => session.has("notice"))).result).toBe(false);
  });

  test("[55] a value that was read and saved, and then is kept, keeps its time to live", async () => {
    const clock = fakeClock();
    const visit = visitor({ now: clock.now });
    await visit((session) => session.flash("notice", "hello", { ttl: 60 }));
    await visit(async (session) => {
      expect(await session.get("notice")).toBe("hello");
      await session.save();
      session.keepFlash("notice");
    });
    clock.advance(59);
    expect((await visit((session) => session.has("notice"))).result).toBe(true);
    clock.advance(1);
    expect((await visit((session) => session.has("notice"))).result).toBe(false);
  });

  test("[55] keepFlash() after a save() replaces no value that another request has set since", async () => {
    const visit = visitor();
    await visit((session) => session.flash("notice", "mine"));
    await visit(async (session) => {
      expect(await session.get("notice")).toBe("mine");
      await session.save();
      await visit((rival) => rival.flash("notice", "theirs"));
      session.keepFlash("notice");
    });
    expect((await visit((session) => session.get("notice"))).result).toBe("theirs");
  });

  test("[55] keepFlash() after a save() brings back no value that it does not name, and none that flash() of undefined took back", async () => {
    const visit = visitor();
    await visit((session) => {
      for (const key of ["a", "b", "c"]) session.flash(key, key);
    });
    await visit(async (session) => {
      await session.all();
      await session.save();
      session.flash("c", undefined);
      session.keepFlash("a", "c");
    });
    expect({ ...(await visit((session) => session.all())).result }).toEqual({ a: "a" });
  });

  test("[55] a session that was opened by its id consumes what it shows", async () => {
    const sessions = new SessionManager({ store: openStore().store });
    const first = sessions.open("");
    first.flash("notice", "hello");
    await first.save();
    const id = String(await first.id());
    const second = sessions.open(id);
    expect(await second.get("notice")).toBe("hello");
    await second.save();
    expect(await sessions.open(id).get("notice")).toBeUndefined();
  });

  test("[55] keepFlash() keeps the new value where the request has set one, and all although keys are named after", async () => {
    const visit = visitor();
    await visit((session) => (session.flash("a", 1), session.flash("b", 1), session.flash("c", 1)));
    await visit(async (session) => {
      await session.all();
      session.flash("a", 2);
      session.keepFlash();
      session.keepFlash("c");
    });
    expect({ ...(await visit((session) => session.all())).result }).toEqual({ a: 2, b: 1, c: 1 });
    expect({ ...(await visit((session) => session.all())).result }).toEqual({});
  });

  test("[55] keepFlash() of what was not stored yet stores nothing", async () => {
    const { store, calls } = counted(memoryStore());
    const visit = visitor({ store });
    await visit((session) => session.flash("notice", "hello"));
    calls.length = 0;
    await visit(async (session) => (await session.get("notice"), session.keepFlash("notice")));
    expect(calls).toEqual(["load"]);
  });

  test("[55] keepFlash() refuses a key that is no string", async () => {
    await visitor()((session) => {
      expect(() => session.keepFlash(7 as never)).toThrow(TypeError);
    });
  });

  test("[55] set() takes the place of a flash value that waits, was seen or not, and of none that comes later", async () => {
    for (const isSeen of [false, true]) {
      const visit = visitor();
      await visit((session) => session.flash("notice", "hello"));
      await visit(async (session) => {
        if (isSeen) await session.get("notice");
        session.set("notice", "now");
        expect(await session.get("notice")).toBe("now");
        expect(await session.keys()).toEqual(["notice"]);
      });
      const read = async (session: Session): Promise<unknown> => [
        await session.pull("notice"),
        await session.get("notice"),
      ];
      expect((await visit(read)).result).toEqual(["now", undefined]);
    }
  });

  test("[55] delete() and clear() leave nothing to be seen of what was shown", async () => {
    for (const drop of [(session: Session) => session.delete("notice"), (session: Session) => session.clear()]) {
      const visit = visitor();
      await visit((session) => session.flash("notice", "hello"));
      await visit(async (session) => {
        expect(await session.get("notice")).toBe("hello");
        drop(session);
        expect([await session.get("notice"), await session.keys()]).toEqual([undefined, []]);
      });
      expect((await visit((session) => session.size())).result).toBe(0);
    }
  });

  test("[55] after delete() and clear() of what was just recorded, the key is like any other", async () => {
    for (const drop of [(session: Session) => session.delete("notice"), (session: Session) => session.clear()]) {
      const visit = visitor();
      await visit((session) => session.set("other", 1));
      await visit(async (session) => {
        session.flash("notice", "mine");
        drop(session);
        await session.save();
        await visit((rival) => rival.flash("notice", "theirs"));
        session.set("other", 2);
        await session.save();
        expect(await session.has("notice")).toBe(true);
        expect(await session.get("notice")).toBe("theirs");
      });
      expect((await visit((session) => session.get("notice"))).result).toBeUndefined();
    }
  });

  test("[55] what was shown is removed once: the same text that another request puts there stays", async () => {
    const visit = visitor();
    await visit((session) => session.flash("notice", "hello"));
    await visit(async (session) => {
      expect(await session.get("notice")).toBe("hello");
      await session.save();
      await visit((other) => other.flash("notice", "hello"));
      session.set("other", 1);
      await session.save();
    });
    expect((await visit((session) => session.get("notice"))).result).toBe("hello");
  });

  test("[55] keys() tells of what was shown, and of what waits, once each", async () => {
    const visit = visitor();
    await visit((session) => (session.flash("a", 1), session.flash("b", 1), session.set("a", 2)));
    await visit(async (session) => {
      expect(await session.get("a")).toBe(1);
      await session.save();
      expect((await session.keys()).toSorted()).toEqual(["a", "b"]);
    });
  });

  test("[55] set() takes the place of no flash value that another request has put there since", async () => {
    const visit = visitor();
    await visit((session) => session.set("other", 1));
    await visit(async (session) => {
      await session.get("other");
      await visit((rival) => rival.flash("notice", "theirs"));
      session.set("notice", "mine");
    });
    expect((await visit((session) => session.get("notice"))).result).toBe("theirs");
    expect((await visit((session) => session.get("notice"))).result).toBe("mine");
  });

  test("[55] flash() of the text that was just shown is for the request after", async () => {
    const visit = visitor();
    await visit((session) => session.flash("notice", "hello"));
    await visit(async (session) => {
      expect(await session.get("notice")).toBe("hello");
      session.flash("notice", "hello");
    });
    expect((await visit((session) => session.get("notice"))).result).toBe("hello");
    expect((await visit((session) => session.get("notice"))).result).toBeUndefined();
  });

  test("[55] two requests that show one value at once both store what they want", async () => {
    const visit = visitor();
    await visit((session) => session.flash("notice", "hello"));
    await visit(async (session) => {
      expect(await session.get("notice")).toBe("hello");
      expect((await visit((rival) => (rival.set("b", 1), rival.get("notice")))).result).toBe("hello");
      session.set("a", 1);
      await session.save();
      // The other request has removed the flash value from the record, but this session still shows it.
      expect([await session.get("notice"), (await session.keys()).toSorted()]).toEqual(["hello", ["a", "b", "notice"]]);
    });
    expect({ ...(await visit((session) => session.all())).result }).toEqual({ a: 1, b: 1 });
  });
});
