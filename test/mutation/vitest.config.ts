import { defineConfig } from "vitest/config";
import base from "../../vitest.config.ts";
import { unitTests } from "../setup/unit_tests.ts";
import { GROUPS } from "./groups.ts";

/** These look at the checkout, which is not whole in Stryker's copy, or at the text of the source. */
const OF_THE_CHECKOUT =
  /^test\/(?:docs|examples|exports|imports|types|workflows|scripts\/.*|requirements\/maps)\.test\.ts$|^test\/scripts\//;

/** `MUTATION_GROUP` names the group whose tests are run; without one, every unit test is: see `mutation.ts`. */
export default defineConfig(async () => ({
  ...base,
  test: {
    ...base.test,
    include:
      GROUPS[process.env["MUTATION_GROUP"] ?? ""]?.tests.slice() ??
      (await unitTests()).filter((file) => !OF_THE_CHECKOUT.test(file)),
    pool: "threads" as const,
    maxWorkers: 1,
    isolate: false,
  },
}));
