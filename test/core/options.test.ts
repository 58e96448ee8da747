import { describe, expect, test } from "vitest";
import { memoryStore, SessionManager, type Session, type SessionOptions, withSession } from "../../mod.ts";
import { visitor } from "../setup/sessions.ts";

const set = (session: Session): void => session.set("a", 1);
const get = (session: Session): Promise<unknown> => session.get("a");

describe("misuse", () => {
  const wrong: [string, unknown, typeof TypeError | typeof RangeError][] = [
    ["__Host- with a domain", { cookie: { name: "__Host-a", domain: "shop.example" } }, TypeError],
    ["the default name with a domain", { cookie: { domain: "shop.example" } }, TypeError],
    ["__Host- with another path", { cookie: { path: "/app" } }, TypeError],
    ["__Host- with secure: false", { cookie: { secure: false } }, TypeError],
    ["__Secure- with secure: false", { cookie: { name: "__Secure-a", secure: false } }, TypeError],
    ["SameSite=None without secure", { cookie: { name: "a", sameSite: "None", secure: false } }, TypeError],
    ["partitioned without secure", { cookie: { name: "a", partitioned: true, secure: false } }, TypeError],
    ["a sameSite that is something else", { cookie: { sameSite: "lax" } }, TypeError],
    ["a cookie name with a space", { cookie: { name: "a b" } }, TypeError],
    ["an empty cookie name", { cookie: { name: "" } }, TypeError],
    ["a cookie name with =", { cookie: { name: "a=b" } }, TypeError],
    ["a path with a semicolon", { cookie: { name: "a", path: "/;Domain=x" } }, TypeError],
    ["a path without a slash", { cookie: { name: "a", path: "app" } }, TypeError],
    ["a domain with a semicolon", { cookie: { name: "a", domain: "a;b" } }, TypeError],
    ["a maxAge of NaN", { cookie: { maxAge: NaN } }, RangeError],
    ["a negative maxAge", { cookie: { maxAge: -1 } }, RangeError],
    ["a refresh that is something else", { cookie: { refresh: "sometimes" } }, TypeError],
    ["a header name with a space", { header: "X Session" }, TypeError],
    ["an empty header name", { header: "" }, TypeError],
    ["a scheme that is something else", { header: { name: "Authorization", scheme: "Basic" } }, TypeError],
    ["neither cookie nor header", { cookie: false }, TypeError],
    ["no transports", { transports: [] }, TypeError],
    ["transports that are no list", { transports: {} }, TypeError],
    ["an idleTimeout of 0", { idleTimeout: 0 }, RangeError],
    ["a negative idleTimeout", { idleTimeout: -1 }, RangeError],
    ["an infinite idleTimeout", { idleTimeout: Infinity }, RangeError],
    ["an idleTimeout that is text", { idleTimeout: "60" }, RangeError],
    ["an absoluteTimeout of 0", { absoluteTimeout: 0 }, RangeError],
    ["a negative touchInterval", { touchInterval: -1 }, RangeError],
    ["a touchInterval as long as idleTimeout", { idleTimeout: 60, touchInterval: 60 }, RangeError],
    ["a storeTimeout of NaN", { storeTimeout: NaN }, RangeError],
    ["a store that is something else", { store: {} }, TypeError],
    ["a store that is null", { store: null }, TypeError],
    ["a store without traits", { store: { ...memoryStore(), traits: undefined } }, TypeError],
    [
      "a store whose traits are misspelt",
      { store: { ...memoryStore(), traits: { ...memoryStore().traits, consistency: "evenutal" } } },
      TypeError,
    ],
    ["a load that is something else", { load: "soon" }, TypeError],
    ["a persist that is something else", { persist: "never" }, TypeError],
    ["an onStoreError that is something else", { onStoreError: "ignore" }, TypeError],
    ["an onEvent that is something else", { onEvent: {} }, TypeError],
    ["a generateId that is something else", { generateId: "id" }, TypeError],
    ["a now that is something else", { now: 0 }, TypeError],
    ["a schema that is something else", { schema: {} }, TypeError],
    ["a codec that is something else", { codec: {} }, TypeError],
    ["a transport that is something else", { transports: [{}] }, TypeError],
    ["a touch that is no function", { touch: false }, TypeError],
    ["a waitUntil that is no function", { waitUntil: {} }, TypeError],
    ["ids without toToken", { ids: { toId: () => null } }, TypeError],
    ["encryption without open", { encryption: { seal: () => new Map() } }, TypeError],
    ["plugins that are no list", { plugins: {} }, TypeError],
    ["a plugin without a name", { plugins: [{}] }, TypeError],
    ["two plugins of one name", { plugins: [{ name: "a" }, { name: "a" }] }, TypeError],
    ["a rotateEvery of 0", { rotateEvery: 0 }, RangeError],
    ["a rotateEvery that is no duration", { rotateEvery: { seconds: "1" } }, RangeError],
    ["an onReuse that is unknown", { rotateEvery: { seconds: 1, onReuse: "ban" } }, TypeError],
    ["an idleTimeout above its limit", { idleTimeout: 61, timeoutLimits: { idle: 60 } }, RangeError],
    ["an absoluteTimeout above its limit", { absoluteTimeout: 61, timeoutLimits: { absolute: 60 } }, RangeError],
    ["no absoluteTimeout under a limit", { absoluteTimeout: false, timeoutLimits: { absolute: 60 } }, RangeError],
    ["a limit that is no duration", { timeoutLimits: { idle: 0 } }, RangeError],
    ["a cookie that ends before it is sent again", { cookie: { maxAge: 1800 } }, RangeError],
    ["a store that is a promise", { store: Promise.resolve(memoryStore()) }, TypeError],
    ["a header that is true", { header: true }, TypeError],
    ["options that are a list", [], TypeError],
    ["options that are null", null, TypeError],
    ["options that are a store", memoryStore(), TypeError],
  ];

  test.each(wrong)("%s throws when the handler is wrapped", (_, options, error) => {
    const fine = options as SessionOptions;
    expect(() => withSession(() => new Response(), fine)).toThrow(error);
    expect(() => new SessionManager(fine)).toThrow(error);
  });

  test.each<[string, unknown, string]>([
    ["a lifetime as others call it", { maxAge: 60 }, "did you mean idleTimeout?"],
    ["a cookie's name outside of cookie", { name: "sid" }, "did you mean cookie?"],
    ["a store in place of the options", memoryStore(), "did you mean store?"],
  ])("%s: the message names the option that is meant", (_, options, message) => {
    expect(() => withSession(() => new Response(), options as SessionOptions)).toThrow(message);
  });

  test("a handler that is none throws when it is wrapped", () => {
    expect(() => withSession(undefined as unknown as () => Response)).toThrow(TypeError);
  });

  test("options are not changed, and may be frozen", async () => {
    const options = Object.freeze({ cookie: Object.freeze({ name: "s" }), plugins: Object.freeze([]) });
    const visit = visitor(options);
    await visit(set);
    expect((await visit(get)).result).toBe(1);
  });
});
