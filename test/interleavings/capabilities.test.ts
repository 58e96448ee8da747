import fc from "fast-check";
import { test } from "vitest";
import { runsOf } from "../setup/random.ts";
import { playProgram } from "./capabilities/play.ts";
import { programInWords, programs } from "./capabilities/program.ts";
import { violationsIn } from "./capabilities/verdict.ts";

test("a program keeps every promise", async () => {
  await fc.assert(
    fc.asyncProperty(programs, async (program) => {
      const history = await playProgram(program);
      const violations = violationsIn(history);
      if (violations.length > 0)
        throw new Error([...violations, "", programInWords(program), "", ...history.trace].join("\n"));
    }),
    runsOf(150),
  );
});
