import { describe, expect, test } from "vitest";
import type { Session, SessionEvent, SessionOptions } from "../../mod.ts";
import { encryption } from "../../src/encryption.ts";
import { cookieJar } from "../../src/testing.ts";
import { cookieOf, openStore, visitor } from "../setup/sessions.ts";

const secrets = ["a secret of at least thirty-two bytes"];
const present = async <Result>(
  options: SessionOptions,
  Cookie: string,
  use: (session: Session) => Result | Promise<Result>,
): Promise<Result> => (await visitor(options, { jar: cookieJar() })(use, { headers: { Cookie } })).result;
const flipped = (text: string, at: number): string =>
  text.slice(0, at) + (text[at] === "A" ? "B" : "A") + text.slice(at + 1);
/** The bytes of a sealed text. The last character of a part may contain unused bits. */
const bytesOf = (sealed: string): string =>
  sealed[0] +
  [sealed.slice(1, 17), sealed.slice(17, 39), sealed.slice(39)]
    .map((part) => Buffer.from(part, "base64url").toString("hex"))
    .join();

describe("encryption", () => {
  test.each<[string, () => SessionOptions]>([
    ["encryption()", () => ({ encryption: encryption() })],
    ["encryption({ secrets })", () => ({ encryption: encryption({ secrets }) })],
  ])("[ASVS 11.2.5] [ASVS 11.3.3] %s: no session when any byte of the record differs", async (_, using) => {
    const { store, records } = openStore();
    const events: SessionEvent[] = [];
    const options = { store, ...using() };
    const watched = { ...options, onEvent: (event: SessionEvent) => events.push(event) };
    const cookies: string[] = [];
    for (const user of ["ada", "bob"])
      cookies.push(cookieOf(await visitor(options)((session) => session.set("user", user))));
    const [own = "", other = ""] = records.keys();
    const record = records.get(own)!;
    const sealed = record.fields.get("*") ?? "";
    expect(sealed).not.toMatch(/ada|user/);
    const look = async (fields: ReadonlyMap<string, string>): Promise<unknown> => {
      records.set(own, { ...record, fields });
      return await present(watched, cookies[0] ?? "", (session) => session.all());
    };
    const put = (text: string): Map<string, string> => new Map(record.fields).set("*", text);
    expect(await look(put(sealed))).toEqual({ user: "ada" });
    events.length = 0;
    const metadata = record.fields.get("@") ?? "";
    // Metadata with an instant that is one millisecond later: an attacker could have written them.
    const moved = metadata.replace(/\b\d{13}\b/, (instant) => String(Number(instant) + 1));
    expect(moved).not.toBe(metadata);
    const wrong = [
      ...Array.from(sealed, (_each, at) => [flipped(sealed, at), sealed.slice(0, at)])
        .flat()
        .filter((text) => bytesOf(text) !== bytesOf(sealed))
        .map(put),
      // The sealed field of another session, and the session's own one with changed metadata.
      put(records.get(other)?.fields.get("*") ?? ""),
      new Map(record.fields).set("@", moved),
      // A record that looks as if it had never been encrypted.
      new Map([
        ["@", metadata],
        ["=user", '"mallory"'],
      ]),
      new Map([
        ["@", metadata],
        ["=user", '"mallory"'],
        ["*", ""],
      ]),
      new Map(records.get(other)?.fields),
    ];
    for (const fields of wrong) expect(await look(fields)).toEqual({});
    // Fields beside the sealed field are ignored.
    expect(await look(put(sealed).set("=user", '"mallory"'))).toEqual({ user: "ada" });
    expect(events.filter(({ type }) => type === "rejected")).toHaveLength(wrong.length);
  });

  test("[ASVS 11.3.4] uses no nonce twice", async () => {
    const { store, records } = openStore();
    const nonces = new Set<string>();
    const visit = visitor({ store, encryption: encryption() });
    for (let n = 0; n < 100; n++) {
      await visit((session) => session.set("n", n));
      nonces.add([...records.values()][0]?.fields.get("*")?.slice(1, 17) ?? "");
    }
    expect(nonces.size).toBe(100);
  });
});
