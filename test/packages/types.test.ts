import { readFileSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { entries } from "../setup/entries.ts";
import { createProject, deleteProjects, type Project, tools } from "./project.ts";

/** One version of each supported line. `7` is the compiler in Go. */
const COMPILERS = { "5.4": "5.4.5", "5.9": "5.9.3", "6": "6.0.3", "7": "7.0.2" };
const MODULES = [
  { module: "node16", moduleResolution: "node16" },
  { module: "nodenext", moduleResolution: "nodenext" },
  { module: "esnext", moduleResolution: "bundler" },
];
const CONSUMER = join(import.meta.dirname, "consumer");
const PEERS = { "hono": "4.13.19", "@types/node": "24.19.2" };
/** The AWS SDK has thousands of types. The only entry that needs them is left out here, because the checkout compiles it. */
const NEEDS_AWS = "./stores/dynamodb";

let project: Project;
const compilers = new Map<string, Project>();

beforeAll(async () => {
  const all = Object.entries(COMPILERS).map(async ([name, version]) => {
    compilers.set(name, await tools("typescript", { typescript: version }));
  });
  project = await createProject("types", PEERS);
  await Promise.all(all);
  const files = (await readdir(CONSUMER)).filter((file) => file !== "register.ts");
  const texts = await Promise.all(files.map(async (file) => [file, await readFile(join(CONSUMER, file), "utf8")]));
  const imports = entries
    .filter(({ path }) => path !== NEEDS_AWS)
    .map(({ path }, index) => `export * as entry${index} from "with-session${path.slice(1)}";`);
  await project.write({
    ...Object.fromEntries(texts.map(([file, text]) => [`plain/${file}`, text])),
    "plain/entries.ts": imports.join("\n"),
    // A declaration for a project applies to all of its files, so it gets a folder of its own.
    "registered/register.ts": await readFile(join(CONSUMER, "register.ts"), "utf8"),
  });
});
afterAll(deleteProjects);

describe.each(Object.keys(COMPILERS))("TypeScript %s", (name) => {
  test.each(MODULES)(
    "compiles a user's program, module $module, $moduleResolution, lib ES2020, skipLibCheck false",
    async (modules) => {
      const compilerOptions = {
        ...modules,
        target: "es2020",
        // The web's types. Each runtime has its own version of them.
        lib: ["ES2020", "DOM", "DOM.Iterable"],
        types: [],
        strict: true,
        exactOptionalPropertyTypes: true,
        noUncheckedIndexedAccess: true,
        skipLibCheck: false,
        noEmit: true,
      };
      const compiler = join(compilers.get(name)?.folder ?? "", "node_modules", ".bin", "tsc");
      const outputs = ["plain", "registered"].map(async (folder) => {
        const config = `tsconfig.${folder}.${name}.${modules.module}.json`;
        await project.write({ [config]: JSON.stringify({ compilerOptions, include: [folder] }) });
        const { output } = await project.run(compiler, "-p", config);
        return output;
      });
      const lines = (await Promise.all(outputs)).join("\n").split("\n");
      expect(lines.filter((line) => line !== "" && !isOfPeer(line))).toEqual([]);
    },
  );

  test("compiles each entry with the types of Node alone, without DOM", async () => {
    const compilerOptions = {
      module: "nodenext",
      target: "es2022",
      lib: ["ES2022"],
      types: ["node"],
      strict: true,
      skipLibCheck: false,
      noEmit: true,
    };
    const config = `tsconfig.node.${name}.json`;
    await project.write({ [config]: JSON.stringify({ compilerOptions, files: ["plain/entries.ts"] }) });
    const compiler = join(compilers.get(name)?.folder ?? "", "node_modules", ".bin", "tsc");
    const { output } = await project.run(compiler, "-p", config);
    expect(output.split("\n").filter((line) => line !== "" && !isOfPeer(line))).toEqual([]);
  });
});

/** An error in a peer's own declarations is not ours. */
function isOfPeer(line: string): boolean {
  return /node_modules\/(?!with-session\/)/.test(line) || /^ {2}/.test(line);
}

describe("the published declarations", () => {
  test("name no type that no entry exports", async () => {
    const dist = join(project.folder, "node_modules", "with-session", "dist");
    const exported = new Set<string>();
    const declared = new Map<string, string>();
    for (const file of await readdir(dist, { recursive: true })) {
      if (!file.endsWith(".d.ts")) continue;
      const text = readFileSync(join(dist, file), "utf8");
      const declarations = text.matchAll(
        /^(?:export )?(?:declare )?(?:abstract )?(?:interface|type|class|function|const) (\w+)/gm,
      );
      for (const [, name = ""] of declarations) declared.set(name, file);
      if (!entries.some(({ types }) => types === `dist/${file.replaceAll("\\", "/")}`)) continue;
      for (const [, list = ""] of text.matchAll(/export \{([^}]*)\}/g)) {
        for (const each of list.split(","))
          exported.add(
            each
              .trim()
              .replace(/^type /, "")
              .split(" as ")
              .at(-1) ?? "",
          );
      }
    }
    expect(declared.size).toBeGreaterThan(50);
    expect([...declared].filter(([name]) => !exported.has(name))).toEqual([]);
  });

  test("have Session as an interface, without private members", async () => {
    const dist = join(project.folder, "node_modules", "with-session", "dist");
    const files = (await readdir(dist)).filter((file) => file.endsWith(".d.ts"));
    const texts = await Promise.all(files.map((file) => readFile(join(dist, file), "utf8")));
    expect(texts.filter((text) => /^interface Session</m.test(text))).toHaveLength(1);
    expect(texts.join("\n")).not.toMatch(/\bclass Session\b/);
  });
});
