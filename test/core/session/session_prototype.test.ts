import { describe, expect, test } from "vitest";
import { type Session, SessionManager } from "../../../mod.ts";

const sessions = new SessionManager();
const another = (): Session => sessions.start(new Request("https://shop.example/"));
const refused = (name: string): TypeError =>
  new TypeError(`session.${name} = … stores nothing: write session.set("${name}", …)`);

describe("a session", () => {
  test("refuses a property, in a module and in code of sloppy mode", () => {
    const session = another();
    expect(() => Object.assign(session, { user: "ada" })).toThrow(refused("user"));
    const assign: unknown = new Function("session", "session.user = 'ada'");
    expect(() => (assign as (session: Session) => void)(session)).toThrow(refused("user"));
    expect(() => Reflect.set(session, Symbol("user"), "ada")).toThrow(refused("Symbol(user)"));
    expect(Object.keys(session)).toEqual([]);
  });

  test("can have a method replaced, as a test does, and others keep theirs", () => {
    const session = another();
    const get = async (): Promise<number> => 7;
    Object.assign(session, { get });
    expect(session.get).toBe(get);
    expect(another().get).not.toBe(get);
  });

  test("[50] refuses an id that a program chooses, and has its own afterwards", async () => {
    const session = another();
    expect(() => Object.assign(session, { id: "a".repeat(32) })).toThrow(
      new TypeError("session.id = … is refused: the option generateId makes ids"),
    );
    expect(await session.id()).toBeNull();
    const id = async (): Promise<string> => "replaced by a test";
    Object.assign(session, { id });
    expect(session.id).toBe(id);
    // The test can replace it again, and can restore the method of the session.
    const usual = { writable: true, enumerable: true, configurable: true };
    expect(Object.getOwnPropertyDescriptor(session, "id")).toEqual({ ...usual, value: id });
    expect(await another().id()).toBeNull();
  });

  test("lets an object that was made on top of it have names of its own", () => {
    const wrapper: object = Object.create(another());
    Object.assign(wrapper, { user: "ada" });
    Object.assign(wrapper, { user: "grace" });
    expect(Object.entries(wrapper)).toEqual([["user", "grace"]]);
    Object.assign(wrapper, { id: 7 });
    expect(Reflect.get(wrapper, "id")).toBe(7);
    Object.assign(wrapper, { secret: 1 });
    expect(Reflect.deleteProperty(wrapper, "secret")).toBe(true);
    expect(() => Object.assign(Object.freeze(Object.create(another())), { user: "ada" })).toThrow(TypeError);
    expect(() => Object.assign(new Proxy(another(), {}), { user: "ada" })).toThrow(refused("user"));
  });

  test("shares no new name with other sessions", () => {
    const prototype: object = Object.getPrototypeOf(another());
    for (const shared of [prototype, Object.getPrototypeOf(prototype) as object])
      expect(() => Object.assign(shared, { user: "ada" })).toThrow(refused("user"));
    expect(() => Object.assign(prototype, { id: "a" })).toThrow("session.id = … is refused");
    expect("user" in another()).toBe(false);
  });

  test("has no other name, and is an object like any other", async () => {
    const session = another();
    expect(Reflect.get(session, "user")).toBeUndefined();
    expect("user" in session).toBe(false);
    expect(await session).toBe(session);
    expect(String(session)).toBe("[object Object]");
    expect(session instanceof Object).toBe(true);
  });
});
