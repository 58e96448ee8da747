/**
 * The API reference: a page for each entry of the package, made from the docstrings that `deno doc` reads.
 *
 * @module
 */
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { ROOT } from "../test/setup/command.ts";
import { denoDoc } from "../test/setup/deno_doc.ts";
import { type Entry, entries } from "../test/setup/entries.ts";
import { slugOf } from "./slug.ts";
import {
  type Callable,
  type Documentation,
  indented,
  type Members,
  membersText,
  type Method,
  methodText,
  namesIn,
  type Parameter,
  parametersText,
  type Property,
  type Tag,
  type TypeNode,
  typeParametersText,
  type TypeParameter,
  typeText,
} from "./types.ts";

/** A page, and its name in the navigation. */
export interface ApiPage {
  readonly text: string;
  /** From the root of the site, such as `/api/stores/file.html`. */
  readonly address: string;
  readonly markdown: string;
}

/** An export of one entry. */
interface ExportedSymbol {
  readonly name: string;
  readonly declarations: readonly Declaration[];
}

type Declaration = { readonly location: Location; readonly jsDoc?: Documentation } & (
  | { readonly kind: "function"; readonly def: Callable }
  | { readonly kind: "variable"; readonly def: { readonly tsType: TypeNode; readonly kind: string } }
  | {
      readonly kind: "typeAlias";
      readonly def: { readonly tsType: TypeNode; readonly typeParams?: readonly TypeParameter[] };
    }
  | {
      readonly kind: "interface";
      readonly def: Members & {
        readonly typeParams?: readonly TypeParameter[];
        readonly extends?: readonly TypeNode[];
      };
    }
  | {
      readonly kind: "class";
      readonly def: Members & {
        readonly typeParams?: readonly TypeParameter[];
        readonly extends?: string;
        readonly constructors?: readonly (Callable & { readonly jsDoc?: Documentation })[];
      };
    }
  | { readonly kind: "reference"; readonly def: { readonly target: Location } }
);

interface Location {
  readonly filename: string;
  readonly line: number;
  readonly col: number;
}

interface Modules {
  readonly nodes: {
    readonly [file: string]: { readonly module_doc?: Documentation; readonly symbols: readonly ExportedSymbol[] };
  };
}

/** The links to the documentation of the package's exports. */
interface Links {
  /** The link to a type from a page of the reference, or undefined if the package does not export it. */
  to(name: string, from: string): string | undefined;
}

/** The address of an entry's page. */
export function addressOfEntry(path: string): string {
  return `/api/${path === "." ? "with-session" : path.slice("./".length)}.html`;
}

/** All pages, the list of entries first. */
export async function apiPages(): Promise<ApiPage[]> {
  const { nodes } = await readDocstrings();
  const declared = new Map<string, Declaration[]>();
  for (const { symbols } of Object.values(nodes)) {
    for (const { declarations } of symbols) {
      for (const each of declarations) if (each.kind !== "reference") put(declared, keyOf(each.location), each);
    }
  }
  const modules = entries.map((entry) => {
    const found = nodes[pathToFileURL(join(ROOT, entry.source)).href];
    if (found === undefined) throw new Error(`deno doc says nothing of ${entry.source}`);
    const symbols = found.symbols.map(({ name, declarations }) => ({
      name,
      declarations: declarations.flatMap((each) => (each.kind === "reference" ? followed(each, declared) : [each])),
    }));
    symbols.sort((one, other) => rankOf(one) - rankOf(other));
    return { entry, documentation: found.module_doc ?? {}, symbols };
  });

  const homes = new Map<string, { readonly address: string; readonly anchor: string }[]>();
  for (const { entry, symbols } of modules) {
    const slugs = new Map<string, number>();
    for (const { name } of symbols) {
      const slug = slugOf(name);
      const count = slugs.get(slug) ?? 0;
      slugs.set(slug, count + 1);
      put(homes, name, { address: addressOfEntry(entry.path), anchor: count === 0 ? `#${slug}` : `#${slug}-${count}` });
    }
  }
  const links: Links = {
    to(name, from) {
      const places = homes.get(name) ?? [];
      const here = places.find(({ address }) => address === from);
      if (here !== undefined) return here.anchor;
      const [first] = places;
      return first === undefined ? undefined : first.address + first.anchor;
    },
  };
  const [main] = modules;
  const ofMain = new Set(main?.symbols.map(({ name }) => name));
  return [
    listOfEntries(modules),
    ...modules.map(({ entry, documentation, symbols }) =>
      pageOf(entry, documentation, symbols, entry.path === "." ? new Set() : ofMain, links),
    ),
  ];
}

async function readDocstrings(): Promise<Modules> {
  const { ok, stdout, output } = await denoDoc("--json");
  if (!ok) throw new Error(`deno doc failed:\n${output}`);
  const modules: Modules = JSON.parse(stdout);
  return modules;
}

function followed(
  { def: { target } }: { readonly def: { readonly target: Location } },
  declared: ReadonlyMap<string, Declaration[]>,
): Declaration[] {
  const found = declared.get(keyOf(target));
  if (found === undefined) throw new Error(`deno doc says nothing of ${keyOf(target)}`);
  return found.slice(0, 1);
}

function keyOf({ filename, line, col }: Location): string {
  return `${filename}:${line}:${col}`;
}

function put<Value>(map: Map<string, Value[]>, key: string, value: Value): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [value]);
  else list.push(value);
}

function listOfEntries(modules: readonly { readonly entry: Entry; readonly documentation: Documentation }[]): ApiPage {
  const lines = modules.map(({ entry: { path }, documentation }) => {
    const [sentence = ""] = proseOf(documentation, "/api/", { to: () => undefined }).split("\n\n", 1);
    return `- [\`${importOf(path)}\`](${addressOfEntry(path)}): ${sentence.replaceAll("\n", " ")}`;
  });
  const markdown = `# API reference\n\nEach page shows what one entry of the package exports. It is made from the docstrings, which editors show as well.\n\n${lines.join("\n")}\n`;
  return { text: "All entries", address: "/api/", markdown };
}

/** The page of one entry. If the main entry exports a symbol as well, that symbol is documented there. */
function pageOf(
  { path, source }: Entry,
  documentation: Documentation,
  symbols: readonly ExportedSymbol[],
  elsewhere: ReadonlySet<string>,
  links: Links,
): ApiPage {
  const address = addressOfEntry(path);
  const parts = [`---\noutline: 2\n---\n\n# \`${importOf(path)}\``, proseOf(documentation, address, links)];
  parts.push(...examplesOf(documentation, address, links));
  for (const { name, declarations } of symbols) {
    const isFunction = declarations.some(({ kind }) => kind === "function");
    parts.push(`## \`${name}${isFunction ? "()" : ""}\``);
    const isOwn = declarations.some(({ location }) => location.filename.endsWith(`/${source}`));
    if (elsewhere.has(name) && !isOwn) {
      const [sentence = ""] = proseOf(declarations[0]?.jsDoc, address, links).split("\n\n", 1);
      parts.push(
        `${sentence}\n\nIt is an export of [\`with-session\`](${links.to(name, "/api/") ?? ""}) as well, and documented there.`,
      );
      continue;
    }
    // The signature that implements overloads has no docstring, and cannot be called.
    const shown = declarations.length > 1 ? declarations.filter(({ jsDoc }) => jsDoc !== undefined) : declarations;
    for (const declaration of shown) parts.push(...declarationParts(name, declaration, address, links));
  }
  return { text: importOf(path), address, markdown: `${parts.filter((part) => part !== "").join("\n\n")}\n` };
}

/** The most important exports of the main entry come first, then functions and classes, then types. */
function rankOf({ name, declarations: [first] }: ExportedSymbol): number {
  const place = FIRST.indexOf(name);
  if (place !== -1 || first === undefined) return place;
  return FIRST.length + { function: 0, variable: 0, class: 1, interface: 2, typeAlias: 2, reference: 2 }[first.kind];
}

const FIRST: readonly string[] = [
  "withSession",
  "Session",
  "SessionManager",
  "SessionOptions",
  "CookieOptions",
  "HeaderOptions",
  "SessionInfo",
  "memoryStore",
  "isFresh",
  "SessionError",
  "SessionErrorCode",
  "SessionEvent",
];

function importOf(path: string): string {
  return `with-session${path.slice(1)}`;
}

function declarationParts(name: string, declaration: Declaration, address: string, links: Links): string[] {
  const { jsDoc } = declaration;
  const parts = [`\`\`\`ts\n${declarationText(name, declaration)}\n\`\`\``, proseOf(jsDoc, address, links)];
  const optional = declaration.kind === "function" ? optionalsOf(declaration.def) : new Set<string>();
  parts.push(...tagParts(jsDoc, optional, address, links));
  if (declaration.kind === "interface" || declaration.kind === "class") {
    parts.push(...memberParts(name, declaration.def, address, links));
  }
  const own = [...namesIn(declaration.def)].filter((each) => each !== name);
  const types = own.flatMap((each) => {
    const link = links.to(each, address);
    return link === undefined ? [] : [`[\`${each}\`](${link})`];
  });
  if (types.length > 0) parts.push(`Types: ${types.join(", ")}`);
  parts.push(...examplesOf(jsDoc, address, links));
  return parts;
}

function declarationText(name: string, declaration: Declaration): string {
  switch (declaration.kind) {
    case "function": {
      const { def } = declaration;
      return `function ${name}${parametersText(def)}${def.returnType === undefined ? "" : `: ${typeText(def.returnType)}`}`;
    }
    case "variable":
      return `${declaration.def.kind} ${name}: ${typeText(declaration.def.tsType)}`;
    case "typeAlias":
      return `type ${name}${typeParametersText(declaration.def.typeParams)} = ${typeText(declaration.def.tsType)}`.replace(
        " = \n",
        " =\n",
      );
    case "interface": {
      const { def } = declaration;
      const parents = def.extends === undefined ? "" : ` extends ${def.extends.map(typeText).join(", ")}`;
      return block(`interface ${name}${typeParametersText(def.typeParams)}${parents}`, membersText(def));
    }
    case "class": {
      const { def } = declaration;
      const parent = def.extends === undefined ? "" : ` extends ${def.extends}`;
      const constructors = (def.constructors ?? []).map((each) => `constructor${parametersText(each)};`);
      return block(`class ${name}${typeParametersText(def.typeParams)}${parent}`, [
        ...constructors,
        ...membersText(def),
      ]);
    }
    default:
      throw new Error(`The API reference cannot write ${name}, a ${declaration.kind}`);
  }
}

function block(head: string, members: readonly string[]): string {
  return members.length === 0
    ? `${head} {}`
    : `${head} {\n${members.map((member) => `${indented(member)}\n`).join("")}}`;
}

/** Properties are a list. Methods have headings, since they have parameters, errors and examples. */
function memberParts(
  name: string,
  {
    properties = [],
    methods = [],
    indexSignatures = [],
    ...others
  }: Members & { readonly constructors?: readonly { readonly jsDoc?: Documentation }[] },
  address: string,
  links: Links,
): string[] {
  const lines = properties.map((property) => propertyLine(property, address, links));
  for (const { jsDoc } of indexSignatures) lines.push(`- any other name: ${inline(proseOf(jsDoc, address, links))}`);
  const parts = lines.length === 0 ? [] : [lines.join("\n")];
  for (const { jsDoc } of others.constructors ?? []) {
    if (jsDoc === undefined) continue;
    parts.push(`### \`new ${name}()\``, proseOf(jsDoc, address, links), ...tagParts(jsDoc, new Set(), address, links));
  }
  for (const [method, overloads] of Map.groupBy(methods, (each) => each.name)) {
    parts.push(`### \`${name}.${method}()\``);
    for (const each of overloads) parts.push(...methodParts(each, address, links));
  }
  return parts;
}

function propertyLine({ name, jsDoc }: Property, address: string, links: Links): string {
  const value = defaultOf(jsDoc);
  const text = inline(proseOf(jsDoc, address, links));
  return `- \`${name}\`: ${text}${value === undefined ? "" : ` Default: ${value}.`}`;
}

function methodParts(method: Method, address: string, links: Links): string[] {
  const { jsDoc, functionDef } = method;
  return [
    `\`\`\`ts\n${methodText(method)}\n\`\`\``,
    proseOf(jsDoc, address, links),
    ...tagParts(jsDoc, optionalsOf(functionDef ?? method), address, links),
    ...examplesOf(jsDoc, address, links),
  ];
}

function optionalsOf({ params = [] }: Callable): Set<string> {
  const isOptional = (each: Parameter): boolean =>
    each.kind === "assign" || ((each.kind === "identifier" || each.kind === "object") && each.optional === true);
  const nameOf = (each: Parameter): string =>
    each.kind === "assign" ? nameOf(each.left) : each.kind === "identifier" ? each.name : "options";
  return new Set(params.filter(isOptional).map(nameOf));
}

/** Parameters, result and errors. */
function tagParts(
  { tags = [] }: Documentation = {},
  optional: ReadonlySet<string>,
  address: string,
  links: Links,
): string[] {
  const of = (kind: string): Tag[] => tags.filter((tag) => tag.kind === kind);
  const text = (tag: Tag): string => inline(linked(tag.doc ?? "", address, links));
  const parts: string[] = [];
  const parameters = of("param").map(
    (tag) => `- \`${tag.name ?? ""}\`${optional.has(tag.name ?? "") ? " (optional)" : ""}: ${text(tag)}`,
  );
  if (parameters.length > 0) parts.push(`**Parameters**\n\n${parameters.join("\n")}`);
  for (const tag of of("return")) parts.push(`**Returns** ${lowered(text(tag))}`);
  const errors = of("throws").map((tag) => {
    const type = tag.tsType === undefined ? "Error" : typeText(tag.tsType);
    const link = links.to(type, address);
    return `- ${link === undefined ? `\`${type}\`` : `[\`${type}\`](${link})`}: ${lowered(text(tag))}`;
  });
  if (errors.length > 0) parts.push(`**Throws**\n\n${errors.join("\n")}`);
  return parts;
}

function examplesOf({ tags = [] }: Documentation = {}, address: string, links: Links): string[] {
  return tags
    .filter(({ kind }) => kind === "example")
    .map(({ doc = "" }) => {
      const at = doc.indexOf("```");
      const title = inline(linked(doc.slice(0, Math.max(at, 0)), address, links));
      const code = doc
        .slice(Math.max(at, 0))
        .trim()
        .replaceAll(/^```(\w+) ignore$/gm, "```$1");
      return `**Example**${title === "" ? "" : `: ${title}`}\n\n${code}`;
    });
}

/** The text of a docstring without its tags. Its headings are put one level below the heading of the export. */
function proseOf({ doc = "" }: Documentation = {}, address: string, links: Links): string {
  return linked(doc.replace(INLINE_DEFAULT, ""), address, links)
    .replaceAll(/^(#+ )/gm, "#$1")
    .trim();
}

/** Deno takes a default on the line of the sentence for text, and a default in words for an unknown tag. */
const INLINE_DEFAULT = /\s*@default (.*)$/;

function defaultOf({ doc = "", tags = [] }: Documentation = {}): string | undefined {
  const tag = tags.find(({ kind, value = "" }) => kind === "default" || value.startsWith("@default "));
  const value = tag?.value?.replace(/^@default /, "") ?? INLINE_DEFAULT.exec(doc)?.[1];
  if (value === undefined) return undefined;
  const code = value.trim().replace(/^\{(.*)\}$/s, "$1");
  // Values are shown as code, words as text.
  return /^[A-Z][^"(]* [a-z]|`|^[A-Z][a-z]+$/.test(code) ? lowered(code) : `\`${code}\``;
}

/** `{@linkcode Name}` as a link, or as code if the name has no documentation. */
function linked(text: string, address: string, links: Links): string {
  return text.replaceAll(/\{@link(?:code)? ([^}\s|]+)(?:[\s|]+([^}]+))?\}/g, (_all, name: string, shown?: string) => {
    if (/^https?:/.test(name)) return `[${shown ?? name}](${name})`;
    const link = links.to(name, address);
    return link === undefined ? `\`${shown ?? name}\`` : `[\`${shown ?? name}\`](${link})`;
  });
}

/** A text as one line of a list, ended as a sentence. */
function inline(text: string): string {
  const line = text.trim().replaceAll(/\s*\n\s*/g, " ");
  return line === "" || /[.:!?]$/.test(line) ? line : `${line}.`;
}

/** Begins a text in lower case, unless its first word is a name. */
function lowered(text: string): string {
  return /^[A-Z][a-z]* |^[A-Z][a-z]+\.?$/.test(text) ? text.charAt(0).toLowerCase() + text.slice(1) : text;
}
