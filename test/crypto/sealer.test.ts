import { expect, test } from "vitest";
import { sealerFor } from "../../src/crypto/sealer.ts";

const OLD = "an-old-secret-of-more-than-32-bytes";
const NEW = "a-new-secret-of-more-than-32-bytes!";

test("sealerFor() opens what it sealed, for the same purpose and context alone", async () => {
  const sealer = sealerFor("cookies", [NEW]);
  const sealed = await sealer.seal("text", "name", []);
  expect(sealed).not.toContain("text");
  expect(await sealer.open(sealed, "name", [])).toBe("text");
  expect(await sealer.open(sealed, "another", [])).toBeNull();
  expect(await sealerFor("notes", [NEW]).open(sealed, "name", [])).toBeNull();
  expect(await sealerFor("cookies", [OLD]).open(sealed, "name", [])).toBeNull();
});

test("sealerFor() seals with the first secret, and opens with each of them", async () => {
  const old = await sealerFor("cookies", [OLD]).seal("text", "", []);
  const both = sealerFor("cookies", [NEW, OLD]);
  expect(await both.open(old, "", [])).toBe("text");
  const sealed = await both.seal("text", "", []);
  expect(await sealerFor("cookies", [NEW]).open(sealed, "", [])).toBe("text");
  expect(await sealerFor("cookies", [OLD]).open(sealed, "", [])).toBeNull();
});

test("sealerFor() takes the secrets from the arguments of the runtime", async () => {
  const sealer = sealerFor("cookies", (env: { readonly SECRET: string }) => [env.SECRET]);
  const sealed = await sealer.seal("text", "", [{ SECRET: NEW }]);
  expect(await sealer.open(sealed, "", [{ SECRET: NEW }])).toBe("text");
  expect(await sealer.open(sealed, "", [{ SECRET: OLD }])).toBeNull();
});
