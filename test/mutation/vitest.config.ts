import { defineConfig } from "vitest/config";
import base from "../../vitest.config.ts";
import { unitTests } from "../setup/unit_tests.ts";

/** The tests that the judged files are held against: those of single files, which open no engine and take a second together. */
const NARROW = [
  "test/core/{session_id,metadata,expiry,cookie_header,cookie_transport,cookie_scopes,session_cookie,header_transport,request_transport}.test.ts",
  "test/crypto/{hmac,aes_gcm,secrets}.test.ts",
  "test/{signed_ids,encryption}.test.ts",
];
/** These look at the checkout, which is not whole in Stryker's copy, or at the text of the source. */
const OF_THE_CHECKOUT =
  /^test\/(?:docs|examples|exports|imports|types|workflows|scripts\/.*|requirements\/maps)\.test\.ts$|^test\/scripts\//;

/** `MUTATION_TESTS=unit` takes every unit test in place of the narrow ones: see `mutation.ts`. */
export default defineConfig(async () => ({
  ...base,
  test: {
    ...base.test,
    include:
      process.env["MUTATION_TESTS"] === "unit"
        ? (await unitTests()).filter((file) => !OF_THE_CHECKOUT.test(file))
        : NARROW,
    pool: "threads" as const,
    maxWorkers: 1,
  },
}));
