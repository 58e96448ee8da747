import { defineConfig } from "vitest/config";
import base from "../../vitest.config.ts";
import { ROOT } from "./command.ts";
import { unitTests } from "./unit_tests.ts";

/** For `npm run test:unit`. */
export default defineConfig(async () => {
  const { together, apart } = await unitTests();
  const project = (name: string, include: readonly string[], isolate: boolean): object => ({
    ...base,
    root: ROOT,
    test: { ...base.test, name, include, isolate },
  });
  return {
    root: ROOT,
    test: { projects: [project("together", together, false), project("apart", apart, true)] },
  };
});
