import fc from "fast-check";
import { expect, test } from "vitest";
import { memoryStore, type Session, SessionManager } from "../../mod.ts";
import { runsOf } from "../setup/random.ts";
import { cookieOf, SHOP } from "../setup/sessions.ts";

type Call =
  | { readonly call: "set" | "flash"; readonly key: string; readonly ttl: number | undefined }
  | { readonly call: "get" | "has" | "pull" | "delete" | "update" | "take back"; readonly key: string }
  | { readonly call: "keepFlash"; readonly keys: readonly string[] }
  | { readonly call: "all" | "keys" | "clear" | "save" | "regenerate" }
  | { readonly call: "wait"; readonly seconds: number };

interface Ending {
  readonly value: number;
  readonly endsAt: number;
}

/** A session as its client sees it, without records, commits and changes: a call of `save` or `regenerate` shows nothing. */
class Model {
  #data = new Map<string, Ending>();
  #flash = new Map<string, Ending>();
  #shown = new Map<string, Ending>();
  #later = new Set<string>();
  #kept = new Set<string>();
  #keepsAll = false;

  /** The flash value that this request can see. */
  #seen(key: string, now: number): Ending | undefined {
    const shown = this.#shown.get(key);
    if (shown !== undefined || this.#later.has(key)) return shown;
    return alive(this.#flash.get(key), now);
  }

  #show(key: string, now: number): number | undefined {
    const seen = this.#seen(key, now);
    if (seen !== undefined) this.#shown.set(key, seen);
    return (seen ?? alive(this.#data.get(key), now))?.value;
  }

  #replace(key: string): void {
    this.#shown.delete(key);
    if (!this.#later.has(key)) this.#flash.delete(key);
  }

  #delete(key: string): void {
    this.#later.delete(key);
    this.#replace(key);
    this.#data.delete(key);
  }

  #keys(now: number): string[] {
    const all = new Set([...this.#data.keys(), ...this.#flash.keys(), ...this.#shown.keys()]);
    return [...all].filter((key) => (this.#seen(key, now) ?? alive(this.#data.get(key), now)) !== undefined).sort();
  }

  /** What a call returns. */
  run(call: Call, value: number, now: number): unknown {
    switch (call.call) {
      case "set":
        this.#replace(call.key);
        return void this.#data.set(call.key, { value, endsAt: now + (call.ttl ?? Infinity) * 1000 });
      case "flash":
        this.#later.add(call.key);
        return void this.#flash.set(call.key, { value, endsAt: now + (call.ttl ?? Infinity) * 1000 });
      case "take back":
        this.#later.add(call.key);
        return void this.#flash.delete(call.key);
      case "get":
        return this.#show(call.key, now);
      case "has":
        return (this.#seen(call.key, now) ?? alive(this.#data.get(call.key), now)) !== undefined;
      case "pull": {
        const found = this.#show(call.key, now);
        this.#delete(call.key);
        return found;
      }
      case "update": {
        const before = alive(this.#data.get(call.key), now);
        this.#replace(call.key);
        const next = { value: (before?.value ?? 0) + 1000, endsAt: before?.endsAt ?? Infinity };
        this.#data.set(call.key, next);
        return next.value;
      }
      case "delete":
        return this.#delete(call.key);
      case "keepFlash":
        this.#keepsAll ||= call.keys.length === 0;
        for (const key of call.keys) this.#kept.add(key);
        return undefined;
      case "all":
        return Object.fromEntries(this.#keys(now).map((key) => [key, this.#show(key, now)]));
      case "keys":
        return this.#keys(now);
      case "clear":
        this.#data = new Map();
        this.#flash = new Map();
        this.#begin();
        return undefined;
      default:
        return undefined;
    }
  }

  end(isPrefetch: boolean): void {
    for (const key of isPrefetch ? [] : this.#shown.keys())
      if (!this.#later.has(key) && !this.#kept.has(key) && !this.#keepsAll) this.#flash.delete(key);
    this.#begin();
  }

  #begin(): void {
    this.#shown = new Map();
    this.#later = new Set();
    this.#kept = new Set();
    this.#keepsAll = false;
  }
}

function alive(found: Ending | undefined, now: number): Ending | undefined {
  return found !== undefined && found.endsAt > now ? found : undefined;
}

type Data = Record<string, number>;

async function run(session: Session<Data>, call: Call, value: number): Promise<unknown> {
  switch (call.call) {
    case "set":
    case "flash":
      return session[call.call](call.key, value, call.ttl === undefined ? {} : { ttl: call.ttl });
    case "take back":
      // @ts-expect-error This removes a flash value that was set before.
      return session.flash(call.key, undefined);
    case "update":
      return await session.update(call.key, (before = 0) => before + 1000);
    case "keepFlash":
      return session.keepFlash(...call.keys);
    case "get":
      return await session.get(call.key);
    case "has":
      return await session.has(call.key);
    case "pull":
      return await session.pull(call.key);
    case "delete":
      return session.delete(call.key);
    case "all":
      return { ...(await session.all()) };
    case "keys":
      return (await session.keys()).sort();
    case "clear":
    case "save":
    case "regenerate":
      return await session[call.call]();
    default:
      return undefined;
  }
}

const key = fc.constantFrom("a", "b");
const ttl = fc.constantFrom(undefined, undefined, 5, 20);
const call: fc.Arbitrary<Call> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ call: fc.constant("flash" as const), key, ttl }) },
  { weight: 2, arbitrary: fc.record({ call: fc.constant("set" as const), key, ttl }) },
  {
    weight: 6,
    arbitrary: fc.record({
      call: fc.constantFrom("get", "get", "get", "has", "pull", "delete", "update", "take back"),
      key,
    }),
  },
  { weight: 3, arbitrary: fc.record({ call: fc.constant("keepFlash" as const), keys: fc.subarray(["a", "b"]) }) },
  {
    weight: 5,
    arbitrary: fc.record({ call: fc.constantFrom("save", "save", "save", "all", "keys", "clear", "regenerate") }),
  },
  { weight: 2, arbitrary: fc.record({ call: fc.constant("wait" as const), seconds: fc.constantFrom(1, 5, 20) }) },
);
const visit = fc.record({
  isPrefetch: fc.constantFrom(false, false, false, true),
  calls: fc.array(call, { maxLength: 7 }),
});

test("values, flash values and their times to live look the same, whenever a request saves or renews the id", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(visit, { minLength: 1, maxLength: 4 }), async (visits) => {
      let now = 1_700_000_000_000;
      let value = 0;
      let Cookie = "";
      const sessions = new SessionManager<Data>({ store: memoryStore(), now: () => now });
      const model = new Model();
      for (const { isPrefetch, calls } of [...visits, { isPrefetch: false, calls: [{ call: "all" } as const] }]) {
        const headers = { Cookie, ...(isPrefetch && { "Sec-Purpose": "prefetch" }) };
        const session = sessions.start(new Request(SHOP, { headers }));
        for (const each of calls) {
          if (each.call === "wait") now += each.seconds * 1000;
          value++;
          expect(await run(session, each, value), each.call).toEqual(model.run(each, value, now));
        }
        model.end(isPrefetch);
        Cookie = cookieOf({ cookies: (await sessions.commit(session)).getSetCookie() }) || Cookie;
      }
    }),
    runsOf(500),
  );
});
