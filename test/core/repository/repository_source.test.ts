import { expect, test } from "vitest";
import { memoryStore } from "../../../mod.ts";
import { cookieSessions } from "../../../src/cookie_sessions.ts";
import { isRepositorySource } from "../../../src/core/repository/repository_source.ts";

test("isRepositorySource() asks for the mark of a source, which no store has", () => {
  const source = cookieSessions({ secrets: ["a secret of at least thirty-two bytes"] });
  const foreign = { repositorySource: true };
  expect([source, foreign].map(isRepositorySource)).toEqual([true, true]);
  const others = [
    undefined,
    null,
    7,
    "repositorySource",
    {},
    memoryStore(),
    { repositorySource: false },
    { repositorySource: "true" },
    Object.assign(() => {}, foreign),
  ];
  expect(others.map(isRepositorySource)).toEqual(others.map(() => false));
});
