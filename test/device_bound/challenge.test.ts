import { beforeEach, describe, expect, test } from "vitest";
import {
  isRegistrationChallenge,
  judgeChallenge,
  refreshChallenge,
  registrationChallenge,
} from "../../src/device_bound/challenge.ts";
import { type Signatures, signaturesUnder } from "../../src/device_bound/signatures.ts";

const NOW = 1_700_000_000_000;
const LOGIN = NOW - 1000;
const NEW = "a-new-secret-of-more-than-32-bytes!";
const OLD = "an-old-secret-of-more-than-32-bytes";
const BINDING = { id: "id", secret: "the secret of a session" };

let signatures: Signatures;

beforeEach(async () => {
  signatures = await signaturesUnder(undefined)(BINDING, []);
});

describe("signaturesUnder()", () => {
  test("verifies what it signed, for the same purpose and session alone", async () => {
    const signed = await signatures.sign("cookie", "text");
    expect(signed).toMatch(/^text\.[\w-]{43}$/);
    expect(await signatures.verify("cookie", signed)).toBe("text");
    expect(await signatures.verify("refresh", signed)).toBeNull();
    const other = await signaturesUnder(undefined)({ ...BINDING, secret: "another" }, []);
    expect(await other.verify("cookie", signed)).toBeNull();
    for (const changed of [
      `x${signed}`,
      signed.slice(0, -2),
      `${signed}A`,
      signed.replace("text", "test"),
      "text",
      "",
      ".",
    ])
      expect(await signatures.verify("cookie", changed), changed).toBeNull();
  });

  test("opens a text of twenty characters, and none that is empty or longer", async () => {
    const open = async (text: string): Promise<string | null> =>
      await signatures.verify("cookie", await signatures.sign("cookie", text));
    expect(await open("v")).toBe("v");
    expect(await open("v".repeat(20))).toBe("v".repeat(20));
    expect(await open("v".repeat(21))).toBeNull();
    expect(await open("")).toBeNull();
  });

  test("seals with the first secret and opens with each, and never without them", async () => {
    const by = async (...secrets: string[]): Promise<Signatures> => await signaturesUnder(secrets)(BINDING, []);
    const signed = await (await by(OLD)).sign("cookie", "text");
    expect(await (await by(NEW, OLD)).verify("cookie", signed)).toBe("text");
    expect(await (await by(NEW)).verify("cookie", signed)).toBeNull();
    expect(await signatures.verify("cookie", signed)).toBeNull();
    const next = await (await by(NEW, OLD)).sign("cookie", "text");
    expect(await (await by(NEW)).verify("cookie", next)).toBe("text");
    expect(await (await by(OLD)).verify("cookie", next)).toBeNull();
    expect(await (await by(NEW)).verify("cookie", await signatures.sign("cookie", "text"))).toBeNull();
  });
});

describe("isRegistrationChallenge()", () => {
  test("accepts a challenge for less than ten minutes, and one of a clock that is ahead", async () => {
    const challenge = await registrationChallenge(signatures, LOGIN, NOW);
    expect(await isRegistrationChallenge(signatures, challenge, LOGIN, NOW)).toBe(true);
    expect(await isRegistrationChallenge(signatures, challenge, LOGIN, NOW - 300_000)).toBe(true);
    expect(await isRegistrationChallenge(signatures, challenge, LOGIN, NOW + 599_999)).toBe(true);
    expect(await isRegistrationChallenge(signatures, challenge, LOGIN, NOW + 600_000)).toBe(false);
    // That of another login.
    expect(await isRegistrationChallenge(signatures, challenge, NOW, NOW)).toBe(false);
    expect(await isRegistrationChallenge(signatures, challenge, undefined, NOW)).toBe(false);
  });

  test("refuses what is none, such as the challenge of a refresh", async () => {
    expect(await isRegistrationChallenge(signatures, await refreshChallenge(signatures, 7, LOGIN), LOGIN, NOW)).toBe(
      false,
    );
    expect(await isRegistrationChallenge(signatures, "", LOGIN, NOW)).toBe(false);
    expect(await isRegistrationChallenge(signatures, `${NOW.toString(36)}.AA`, LOGIN, NOW)).toBe(false);
  });
});

describe("judgeChallenge()", () => {
  const judge = async (number: number, key: { proofs: number; provedAt: number }, now = NOW) =>
    await judgeChallenge(signatures, await refreshChallenge(signatures, number, LOGIN), key, LOGIN, now);

  test("says which number is due, and that of the last proof is repeated for less than a minute", async () => {
    const key = { proofs: 36, provedAt: NOW };
    expect(await judge(36, key)).toEqual({ state: "due", number: 36 });
    expect(await judge(37, key)).toEqual({ state: "due", number: 37 });
    expect(await judge(35, key, NOW + 59_999)).toEqual({ state: "repeated", number: 35 });
    expect(await judge(35, key, NOW + 60_000)).toMatchObject({ state: "old" });
    expect(await judge(34, key)).toMatchObject({ state: "old" });
  });

  test("takes a challenge that nobody gave, one for another purpose, or one of another login, for old, also before the first proof", async () => {
    const key = { proofs: 0, provedAt: NOW };
    for (const challenge of ["", "0.AA", await registrationChallenge(signatures, LOGIN, NOW)])
      expect(await judgeChallenge(signatures, challenge, key, LOGIN, NOW)).toMatchObject({ state: "old" });
    expect(await judge(0, key)).toEqual({ state: "due", number: 0 });
    const challenge = await refreshChallenge(signatures, 0, LOGIN);
    expect(await judgeChallenge(signatures, challenge, key, NOW, NOW)).toMatchObject({ state: "old" });
    expect(await judgeChallenge(signatures, challenge, key, undefined, NOW)).toMatchObject({ state: "old" });
  });
});
