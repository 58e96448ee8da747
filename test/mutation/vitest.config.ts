import { defineConfig } from "vitest/config";
import base from "../../vitest.config.ts";
import { unitTests } from "../setup/unit_tests.ts";
import { GROUPS } from "./groups.ts";

/** These look at the checkout, which is not whole in Stryker's copy, or at the text of the source. */
const OF_THE_CHECKOUT =
  /^test\/(?:docs|examples|exports|imports|types|workflows|scripts\/.*|requirements\/maps)\.test\.ts$|^test\/scripts\//;

const group = GROUPS[process.env["MUTATION_GROUP"] ?? ""];

/** `MUTATION_GROUP` names the group whose tests are run; without one, every unit test is: see `mutation.ts`. */
export default defineConfig(async () => ({
  ...base,
  test: {
    ...base.test,
    include:
      group === undefined
        ? Object.values(await unitTests())
            .flat()
            .filter((file) => !OF_THE_CHECKOUT.test(file))
        : [...group.tests],
    pool: "threads" as const,
    maxWorkers: 1,
    // The tests of a group do not get in each other's way, and one thread for all of their files saves half of the time.
    isolate: group === undefined,
  },
}));
