import { describe, expect, test } from "vitest";
import { type Session } from "../../mod.ts";
import { visitor } from "../setup/sessions.ts";

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
});
