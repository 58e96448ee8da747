import { execFileSync } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { saysAnything, sectionOf } from "../../scripts/changelog.ts";
import { renameAll, renamed } from "../../scripts/rename.ts";
import { published, readManifest, withAbsoluteLinks } from "../../scripts/stage.ts";

const manifest = {
  name: "sessions",
  version: "1.2.3",
  repository: { type: "git", url: "git+https://github.com/old-owner/old-name.git" },
};

describe("sectionOf() and saysAnything()", () => {
  const changelog =
    "# Changelog\n\n## Unreleased\n\n### Added\n\n-\n\n## 0.2.0 - 2026-01-31\n\n- A thing.\n\n## 0.1.0\n\n- The first.\n";

  test("find the text of a version, with or without a date", () => {
    expect(sectionOf(changelog, "0.2.0")).toBe("- A thing.");
    expect(sectionOf(changelog, "0.1.0")).toBe("- The first.");
    expect(sectionOf(changelog, "0.1")).toBe(undefined);
  });

  test("tell a section of headings alone from one that says something", () => {
    expect(saysAnything(sectionOf(changelog, "Unreleased") ?? "")).toBe(false);
    expect(saysAnything(sectionOf(changelog, "0.2.0") ?? "")).toBe(true);
    expect(saysAnything("")).toBe(false);
  });
});

describe("withAbsoluteLinks()", () => {
  test("makes relative links lead to the tag, and leaves others as they are", () => {
    const base = "https://github.com/old-owner/old-name";
    expect(
      withAbsoluteLinks(
        "[a](docs/a.md#part) ![b](./b.svg) [c](https://c.example/) [d](#d) [e](mailto:e@e.example)",
        manifest,
      ),
    ).toBe(
      `[a](${base}/blob/v1.2.3/docs/a.md#part) ![b](${base}/raw/v1.2.3/b.svg) [c](https://c.example/) [d](#d) [e](mailto:e@e.example)`,
    );
  });
});

describe("published()", () => {
  test("leaves out what only the checkout needs, and keeps the rest", async () => {
    const own = await readManifest();
    const result = published(own);
    for (const field of ["scripts", "workspaces", "devDependencies", "overrides", "allowScripts"])
      expect(result).not.toHaveProperty(field);
    for (const field of ["name", "version", "license", "repository", "exports", "dependencies", "engines", "type"]) {
      expect(result[field]).toEqual(own[field]);
    }
  });
});

describe("rename", () => {
  const move = { from: "old-owner/old-name", to: "New-Owner/new.name" };

  test("changes addresses, the sponsors' page, the owner and the scope on JSR", () => {
    expect(renamed("https://github.com/old-owner/old-name/issues", move, "sessions")).toBe(
      "https://github.com/New-Owner/new.name/issues",
    );
    expect(renamed("git+https://github.com/old-owner/old-name.git", move, "sessions")).toBe(
      "git+https://github.com/New-Owner/new.name.git",
    );
    expect(renamed("https://github.com/sponsors/old-owner", move, "sessions")).toBe(
      "https://github.com/sponsors/New-Owner",
    );
    expect(renamed("Us (https://github.com/old-owner)", move, "sessions")).toBe("Us (https://github.com/New-Owner)");
    expect(renamed("jsr:@old-owner/sessions", move, "sessions")).toBe("jsr:@new-owner/sessions");
  });

  test("leaves other owners, other projects, and the name on npm as they are", () => {
    for (const text of [
      "https://github.com/old-owner/old-name-2",
      "https://github.com/older/old-name",
      "https://github.com/old-owner/other",
      'import "sessions/hono"',
      "@old-owner/other",
    ]) {
      expect(renamed(text, move, "sessions")).toBe(text);
    }
  });

  test("changes the files of a checkout, all of them and no others, and can be undone", async () => {
    const root = await mkdtemp(join(tmpdir(), "with-session-rename-"));
    onTestFinished(() => rm(root, { recursive: true }));
    execFileSync("git", ["init", "-q"], { cwd: root });
    const files = {
      "package.json": JSON.stringify(manifest),
      "deno.json": '{ "name": "@old-owner/sessions" }',
      "README.md": "See https://github.com/old-owner/old-name and [this](docs/a.md).",
      "other.md": "Nothing of the kind.",
      ".gitignore": "ignored.md",
      "ignored.md": "https://github.com/old-owner/old-name",
    };
    for (const [file, text] of Object.entries(files)) await writeFile(join(root, file), text);
    expect((await renameAll(root, "someone/else")).toSorted()).toEqual(["README.md", "deno.json", "package.json"]);
    expect(await readFile(join(root, "README.md"), "utf8")).toBe(
      "See https://github.com/someone/else and [this](docs/a.md).",
    );
    expect(await readFile(join(root, "deno.json"), "utf8")).toBe('{ "name": "@someone/sessions" }');
    await renameAll(root, "old-owner/old-name");
    for (const [file, text] of Object.entries(files)) expect(await readFile(join(root, file), "utf8")).toBe(text);
  });

  test("refuses what is no owner and name", async () => {
    await expect(renameAll("/nowhere", "just-a-name")).rejects.toThrow("<owner>/<name>");
  });
});
