import { defineConfig } from "vitest/config";
import base from "../../vitest.config.ts";

/** The tests that mutants are held against: those of single files, which open no engine and take a second together. */
export default defineConfig({
  ...base,
  test: {
    ...base.test,
    include: [
      "test/core/{session_id,metadata,expiry,cookie_transport,cookie_scopes,session_cookie,header_transport,request_transport}.test.ts",
      "test/crypto/{hmac,aes_gcm,secrets}.test.ts",
      "test/{signed_ids,encryption}.test.ts",
    ],
    pool: "threads",
    maxWorkers: 1,
  },
});
