import { describe, expect, test } from "vitest";
import { Exchange } from "../../src/transports/exchange.ts";
import type { Transport } from "../../src/transports/transport.ts";

const request = new Request("https://shop.example/");

/** A transport that presents `id`, and says in its own header what it is told. */
function transport(name: string, id: string | null | Promise<string | null>, more: Partial<Transport> = {}): Transport {
  return {
    read: () => id,
    write: (headers, text, context) =>
      headers.set(name, `${text} for ${context.maxAge}, ${context.request === request}`),
    clear: (headers, context) => headers.set(name, `forget, ${context.request === request}`),
    ...more,
  };
}

/** The headers that an exchange has written. */
const written = (write: (headers: Headers) => void): Record<string, string> => {
  const headers = new Headers();
  write(headers);
  return Object.fromEntries(headers);
};

describe("presented()", () => {
  test("is the word of the first transport that has one, and no later one is asked", async () => {
    const unasked = transport("c", null, {
      read: () => {
        throw new Error("asked");
      },
    });
    expect(new Exchange([transport("a", null), transport("b", "id"), unasked], request).presented()).toBe("id");
    const slow = new Exchange([transport("a", null), transport("b", Promise.resolve("id")), unasked], request);
    expect(await slow.presented()).toBe("id");
  });

  test("is null when none has one, at once or later", async () => {
    expect(new Exchange([transport("a", null), transport("b", null)], request).presented()).toBeNull();
    const slow = [transport("a", Promise.resolve(null)), transport("b", Promise.resolve(null))];
    expect(await new Exchange(slow, request).presented()).toBeNull();
  });

  test("goes on to the next transport when one that takes its time has nothing", async () => {
    const exchange = new Exchange([transport("a", Promise.resolve(null)), transport("b", "id")], request);
    expect(await exchange.presented()).toBe("id");
    expect(written((headers) => exchange.forget(headers))).toHaveProperty("b");
  });
});

describe("who answers", () => {
  const answer = async (transports: Transport[]): Promise<Record<string, string>> => {
    const exchange = new Exchange(transports, request);
    await exchange.presented();
    return written((headers) => exchange.tell(headers, "new", 60));
  };
  const asks = (): boolean => true;

  test("is the transport that presented the id, at once or later", async () => {
    expect(await answer([transport("a", null, { asks }), transport("b", "id")])).toMatchObject({
      b: "new for 60, true",
    });
    expect(await answer([transport("a", null, { asks }), transport("b", Promise.resolve("id"))])).toHaveProperty("b");
  });

  test("is the first that the client asks for when none presented an id", async () => {
    const transports = [
      transport("a", null),
      transport("b", null, { asks: () => false }),
      transport("c", null, { asks }),
    ];
    expect(Object.keys(await answer(transports))).toEqual(["c", "cache-control"]);
  });

  test("is the first when the client asks for none", async () => {
    const transports = [transport("a", null), transport("b", null, { asks: () => false })];
    expect(Object.keys(await answer(transports))).toEqual(["a", "cache-control"]);
  });
});

describe("isAmbient", () => {
  test.each([
    ["Cookie", true],
    ["cookie", true],
    ["X-Session-Id", false],
    // It may read a cookie all the same.
    [undefined, true],
  ])("of a transport that reads %s is %s", (varyOn, expected) => {
    const exchange = new Exchange([transport("a", "id", varyOn === undefined ? {} : { varyOn })], request);
    exchange.presented();
    expect(exchange.isAmbient).toBe(expected);
  });
});

describe("what caches and scripts are told", () => {
  test.each([
    ["tell()", (exchange: Exchange, headers: Headers) => exchange.tell(headers, "id", null), "id for null, true"],
    ["forget()", (exchange: Exchange, headers: Headers) => exchange.forget(headers), "forget, true"],
  ])("%s says no-store, and which header may be read", (_name, say, value) => {
    const plain = new Exchange([transport("a", null)], request);
    expect(written((headers) => say(plain, headers))).toEqual({ "a": value, "cache-control": "no-store" });
    const exposed = new Exchange([transport("a", null, { exposes: "X-Id" })], request);
    expect(written((headers) => say(exposed, headers))).toEqual({
      "a": value,
      "access-control-expose-headers": "X-Id",
      "cache-control": "no-store",
    });
  });

  test("lookedAt is each header that a transport was asked for, until one had an id", () => {
    const transports = [
      transport("a", null, { varyOn: "Cookie" }),
      transport("b", null),
      transport("c", "id", { varyOn: "X-Id" }),
      transport("d", "id", { varyOn: "X-Unasked" }),
    ];
    const exchange = new Exchange(transports, request);
    expect(exchange.lookedAt).toEqual([]);
    exchange.presented();
    expect(exchange.lookedAt).toEqual(["Cookie", "X-Id"]);
  });
});

describe("what travels beside the id", () => {
  const beside: Transport["beside"] = {
    read: (of) => new Map([["note", `seen, ${of === request}`]]),
    write: (headers, name, text, context) =>
      headers.set(name, `${text} for ${context.maxAge}, ${context.request === request}`),
  };
  const exchangeOf = async (...transports: Transport[]): Promise<Exchange> => {
    const exchange = new Exchange(transports, request);
    await exchange.presented();
    return exchange;
  };

  test("is what the transport that answers carries", async () => {
    const exchange = await exchangeOf(transport("a", null), transport("b", "id", { beside }));
    expect(exchange.carriesBeside).toBe(true);
    expect(Object.fromEntries(exchange.presentedBeside())).toEqual({ note: "seen, true" });
    expect(written((headers) => exchange.tellBeside(headers, "note", "text", 120))).toEqual({
      "note": "text for 120, true",
      "cache-control": "no-store",
    });
  });

  test("is nothing when that transport carries nothing", async () => {
    const exchange = await exchangeOf(transport("a", "id"), transport("b", null, { beside }));
    expect(exchange.carriesBeside).toBe(false);
    expect(exchange.presentedBeside().size).toBe(0);
    expect(written((headers) => exchange.tellBeside(headers, "note", "text", 120))).toEqual({});
  });
});
