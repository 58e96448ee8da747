import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import manifest from "../package.json" with { type: "json" };
import { ROOT } from "./setup/command.ts";

const folder = join(ROOT, ".github/workflows");
const workflows = readdirSync(folder).map((file) => ({ file, text: readFileSync(join(folder, file), "utf8") }));

describe.each(workflows)("$file", ({ text }) => {
  test("pins each action to a commit, and names its version", () => {
    const uses = text.split("\n").filter((line) => line.includes("uses:"));
    expect(uses.length).toBeGreaterThan(0);
    for (const line of uses) expect(line).toMatch(/uses: [\w-]+\/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$/);
  });

  test("gives no permission by default but to read", () => {
    expect(/^permissions:(.*\n(?: .*\n)*)/m.exec(text)?.[1]?.trim()).toMatch(/^(?:\{\}|contents: read)$/);
  });

  test("leaves no credentials in the checkout, and caches nothing", () => {
    const checkouts = text.split("actions/checkout@").slice(1);
    for (const each of checkouts) expect(each.split("- ")[0]).toContain("persist-credentials: false");
    expect(text).not.toMatch(/^\s+cache:|actions\/cache@/m);
  });

  test("runs only scripts that package.json has", () => {
    const scripts = Array.from(text.matchAll(/npm run ([\w:]+)/g), ([, name]) => name);
    expect(Object.keys(manifest.scripts)).toEqual(expect.arrayContaining(scripts));
  });
});

test("only jobs of the release workflow that publish may ask for an identity", () => {
  const jobs = workflows.flatMap(({ file, text }) =>
    text
      .split(/^(?=  \w+:$)/m)
      .filter((job) => job.includes("id-token: write"))
      .map((job) => `${file}: ${job.trim().split(":")[0]}`),
  );
  expect(jobs).toEqual(["release.yml: npm", "release.yml: jsr"]);
});
