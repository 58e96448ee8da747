import { defineConfig } from "vitest/config";
import base from "../../vitest.config.ts";
import { unitTests } from "../setup/unit_tests.ts";
import { type Group, GROUPS } from "./groups.ts";

/** Tests that read the checkout, which is incomplete in Stryker's copy, or that read the source as text. */
const OF_THE_CHECKOUT =
  /^test\/(?:docs|examples|exports|imports|types|workflows|scripts\/.*|requirements\/maps)\.test\.ts$|^test\/scripts\//;

const group: Group | undefined = GROUPS[process.env["MUTATION_GROUP"] ?? ""];

/** `MUTATION_GROUP` names the group whose tests run. Without it, every unit test runs: see `mutation.ts`. */
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
    // One thread for all files of a group saves half of the time, if none of them replaces a module.
    isolate: group === undefined || group.replacesModules === true,
  },
}));
