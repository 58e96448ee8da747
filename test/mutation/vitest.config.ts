import { defineConfig } from "vitest/config";
import base from "../../vitest.config.ts";

/** The tests that mutants are held against: those of single files, which open no engine and take a second together. */
export default defineConfig({
  ...base,
  test: {
    ...base.test,
    include: ["test/{session_id,sealing,signing,expiry,changes,record}.test.ts", "test/transports/*.test.ts"],
    pool: "threads",
    maxWorkers: 1,
  },
});
