import { describe, expect, test } from "vitest";
import { z } from "zod";
import type { Plugin, SessionEvent, SessionStore } from "../../mod.ts";
import { publicReason } from "../../src/core/admission.ts";
import { bare, codeOf, cookieOf, counted, openStore, soon, visitor } from "../setup/sessions.ts";

/** Plugins that return the given answers from `admit`, and a list of the plugins that were called. */
function doors(...answers: unknown[]): { readonly plugins: Plugin[]; readonly asked: number[] } {
  const asked: number[] = [];
  const plugins = answers.map((answer, at): Plugin => {
    return { name: `door ${at}`, admit: () => (asked.push(at), answer as undefined) };
  });
  return { plugins, asked };
}

/** What a client gets when plugins judge its session: the session's value, the reason for a rejection, the cookies and the events. */
async function judged(plugins: readonly Plugin[], store: SessionStore = openStore().store) {
  const headers = { Cookie: cookieOf(await visitor({ store })((session) => session.set("n", 1))) };
  const events: SessionEvent[] = [];
  const { result, cookies } = await visitor({ store, plugins, onEvent: (event) => events.push(event) })(
    async (session) => [await session.get("n"), (await session.info()).ended],
    { headers },
  );
  return { result, cookies, events: bare(events) };
}

const door: Plugin = { name: "door", admit: ({ fields }) => (fields.has("=banned") ? "banned" : undefined) };

const lateNull = (): Promise<unknown> => soon(null);
const lateNothing = (): Promise<unknown> => soon(undefined);

describe("a session that is judged by plugins", () => {
  test("is let in when none refuses it, at once or later, also by null", async () => {
    for (const answers of [
      [],
      [undefined],
      [null, undefined],
      [lateNothing(), null],
      [lateNull(), lateNothing()],
      [false, soon(false)],
    ]) {
      const { plugins, asked } = doors(...answers);
      expect(await judged(plugins)).toEqual({ result: [1, null], cookies: [], events: [{ type: "loaded" }] });
      expect(asked).toEqual(answers.map((_, at) => at));
    }
  });

  test("is let in by plugins that judge nothing", async () => {
    expect((await judged([{ name: "silent", respond: () => {} }, ...doors(undefined).plugins])).result).toEqual([
      1,
      null,
    ]);
  });

  test("is refused by the first that gives a reason, and the others are not asked", async () => {
    const at = doors(undefined, "closed", "never");
    const refused = { result: [undefined, "closed"], cookies: [], events: [{ type: "rejected", reason: "closed" }] };
    expect(await judged(at.plugins)).toEqual(refused);
    expect(at.asked).toEqual([0, 1]);
    const later = doors(lateNothing(), soon("closed"), "never");
    expect(await judged(later.plugins)).toEqual(refused);
    expect(later.asked).toEqual([0, 1]);
  });

  test.each([true, 7, {}])("is not let in by one that answers neither a reason nor nothing: %j", async (answer) => {
    const { plugins, asked } = doors(answer, undefined);
    await expect(judged(plugins)).rejects.toThrow(
      'admit of the plugin "door 0" must return a reason or undefined; it returned ',
    );
    expect(asked).toEqual([0]);
  });

  test("is not judged where there is none", async () => {
    const { plugins, asked } = doors("closed");
    const schema = z.object({}).refine(() => false);
    const headers = { Cookie: `__Host-session=${"a".repeat(32)}` };
    for (const options of [{ plugins }, { schema }, { plugins, schema }])
      expect((await visitor<object>(options)((session) => session.info(), { headers })).result.ended).toBe("unknown");
    expect(asked).toEqual([]);
  });

  test.each([0, 1])("is judged by the schema as well, after %i plugins", async (count) => {
    const { store } = openStore();
    const client = { headers: { Cookie: cookieOf(await visitor({ store })((session) => session.set("n", 1))) } };
    const { plugins, asked } = doors(...Array.from({ length: count }, () => undefined));
    const ended = async (most: number): Promise<string | null> => {
      const schema = z.object({ n: z.number().max(most) });
      return (await visitor({ store, plugins, schema })((session) => session.info(), client)).result.ended;
    };
    expect([await ended(0), await ended(1)]).toEqual(["schema", null]);
    expect(asked).toHaveLength(2 * count);
  });

  test("is loaded once more after a conflict, and no more often", async () => {
    const { store: inner } = openStore();
    const { store, calls } = counted(inner);
    const client = { headers: { Cookie: cookieOf(await visitor({ store })((session) => session.set("n", 1))) } };
    await visitor({ store })(async (session) => {
      await session.get("n");
      await visitor({ store: inner })((other) => other.set("other", 1), client);
      calls.length = 0;
      session.set("n", 2);
    }, client);
    expect(calls).toEqual(["change", "load", "change"]);
  });

  test("is judged anew when another request got in between, so that what was refused meanwhile is not stored", async () => {
    const { store } = openStore();
    const begun = await visitor({ store })((session) => session.set("n", 1));
    const client = { headers: { Cookie: cookieOf(begun) } };
    const { result } = await visitor({ store, plugins: [door] })(async (session) => {
      await session.get("n");
      await visitor({ store })((other) => other.set("banned", true), client);
      session.set("n", 2);
      return await codeOf(() => session.save());
    }, client);
    expect(result).toBe("ERR_SESSION_GONE");
    expect((await visitor({ store })((session) => session.get("n"), client)).result).toBe(1);
  });

  test.each([
    [true, "ERR_SESSION_GONE"],
    [false, "stored"],
  ])(
    "is judged anew under the id that it got from another request meanwhile (banned: %s)",
    async (isBanned, expected) => {
      const { store } = openStore();
      const client = { headers: { Cookie: cookieOf(await visitor({ store })((session) => session.set("n", 1))) } };
      const { result } = await visitor({ store, plugins: [door] })(async (session) => {
        await session.get("n");
        await visitor({ store })(async (other) => {
          if (isBanned) other.set("banned", true);
          await other.regenerate({ grace: 60 });
        }, client);
        session.set("n", 2);
        return await session.save().then(
          () => "stored",
          (error: unknown) => Object(error).code,
        );
      }, client);
      expect(result).toBe(expected);
    },
  );
});

test("publicReason() tells nobody that an id was replaced just now", () => {
  expect(publicReason("replaced")).toBe("retired");
  for (const reason of ["retired", "unknown", "made up"]) expect(publicReason(reason)).toBe(reason);
});
