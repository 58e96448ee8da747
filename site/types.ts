/**
 * Writes a type of `deno doc --json` as TypeScript again.
 *
 * @module
 */

/**
 * The kinds of types that the package's exports use. An unknown kind throws, so that the reference is never silently
 * wrong.
 */
export type TypeNode =
  | { readonly kind: "keyword"; readonly value: string }
  | { readonly kind: "this" }
  | { readonly kind: "literal"; readonly repr: string; readonly value: { readonly kind: string } }
  | {
      readonly kind: "typeRef";
      readonly value: { readonly typeName: string; readonly typeParams?: readonly TypeNode[] };
    }
  | { readonly kind: "array" | "parenthesized"; readonly value: TypeNode }
  | { readonly kind: "union" | "intersection" | "tuple"; readonly value: readonly TypeNode[] }
  | { readonly kind: "typeOperator"; readonly value: { readonly operator: string; readonly tsType: TypeNode } }
  | { readonly kind: "indexedAccess"; readonly value: { readonly objType: TypeNode; readonly indexType: TypeNode } }
  | { readonly kind: "infer"; readonly value: { readonly typeParam: TypeParameter } }
  | { readonly kind: "typeQuery"; readonly value: string }
  | { readonly kind: "mapped"; readonly value: { readonly typeParam: TypeParameter; readonly tsType: TypeNode } }
  | {
      readonly kind: "conditional";
      readonly value: { readonly [part in "checkType" | "extendsType" | "trueType" | "falseType"]: TypeNode };
    }
  | { readonly kind: "fnOrConstructor"; readonly value: Callable & { readonly tsType: TypeNode } }
  | { readonly kind: "typeLiteral"; readonly value: Members };

/** A type parameter. */
export interface TypeParameter {
  readonly name: string;
  readonly constraint?: TypeNode;
  readonly default?: TypeNode;
}

/** A parameter of a function. A parameter with a default is `assign`. Deno does not always give the default. */
export type Parameter =
  | { readonly kind: "identifier"; readonly name: string; readonly optional?: boolean; readonly tsType?: TypeNode }
  | { readonly kind: "assign"; readonly left: Parameter; readonly tsType?: TypeNode }
  | { readonly kind: "rest"; readonly arg: Parameter; readonly tsType?: TypeNode }
  | { readonly kind: "object"; readonly optional?: boolean; readonly tsType?: TypeNode };

/** The parts that a function, a method and a constructor have in common. */
export interface Callable {
  readonly params?: readonly Parameter[];
  readonly typeParams?: readonly TypeParameter[];
  readonly returnType?: TypeNode;
}

/** The documentation of a declaration. */
export interface Documentation {
  readonly doc?: string;
  readonly tags?: readonly Tag[];
}

/** One tag of a docstring. */
export interface Tag {
  readonly kind: string;
  readonly name?: string;
  readonly value?: string;
  readonly doc?: string;
  readonly tsType?: TypeNode;
}

/** A property, documented. */
export interface Property {
  readonly name: string;
  readonly optional?: boolean;
  readonly readonly?: boolean;
  readonly tsType?: TypeNode;
  readonly jsDoc?: Documentation;
}

/** A method, documented. Those of classes have their parameters in `functionDef`. */
export interface Method extends Callable {
  readonly name: string;
  readonly optional?: boolean;
  readonly isStatic?: boolean;
  readonly functionDef?: Callable;
  readonly jsDoc?: Documentation;
}

/** The members of an interface, a class or a literal type. */
export interface Members {
  readonly properties?: readonly Property[];
  readonly methods?: readonly Method[];
  readonly indexSignatures?: readonly IndexSignature[];
}

/** `[name: string]: Type`. */
export interface IndexSignature {
  readonly params: readonly Parameter[];
  readonly tsType: TypeNode;
  readonly readonly?: boolean;
  readonly jsDoc?: Documentation;
}

/** The text of a type. A literal type with several members takes a line for each. */
export function typeText(type: TypeNode): string {
  switch (type.kind) {
    case "keyword":
      return type.value;
    case "this":
      return "this";
    case "literal":
      if (type.value.kind === "string") return JSON.stringify(type.repr);
      return type.value.kind === "template" ? `\`${type.repr}\`` : type.repr;
    case "typeRef":
      return type.value.typeName + listOf(type.value.typeParams);
    case "array":
      return `${typeText(type.value)}[]`;
    case "parenthesized":
      return `(${typeText(type.value)})`;
    case "union":
      return unionText(type.value.map(typeText));
    case "intersection":
      return type.value.map(typeText).join(" & ");
    case "tuple":
      return `[${type.value.map(typeText).join(", ")}]`;
    case "typeOperator":
      return `${type.value.operator} ${typeText(type.value.tsType)}`;
    case "indexedAccess":
      return `${typeText(type.value.objType)}[${typeText(type.value.indexType)}]`;
    case "infer":
      return `infer ${typeParameterText(type.value.typeParam)}`;
    case "typeQuery":
      return `typeof ${type.value}`;
    case "mapped": {
      const { typeParam, tsType } = type.value;
      const keys = typeParam.constraint === undefined ? "string" : typeText(typeParam.constraint);
      return `{ [${typeParam.name} in ${keys}]: ${typeText(tsType)} }`;
    }
    case "conditional": {
      const { checkType, extendsType, trueType, falseType } = type.value;
      return `${typeText(checkType)} extends ${typeText(extendsType)} ? ${typeText(trueType)} : ${typeText(falseType)}`;
    }
    case "fnOrConstructor":
      return `${parametersText(type.value)} => ${typeText(type.value.tsType)}`;
    case "typeLiteral":
      return literalText(type.value);
    default:
      throw new Error(`The API reference cannot write this type: ${JSON.stringify(type satisfies never)}`);
  }
}

/** The names of the types in a type, without its type parameters. */
export function namesIn(node: unknown, names: Set<string> = new Set()): Set<string> {
  if (typeof node !== "object" || node === null) return names;
  if ("typeName" in node && typeof node.typeName === "string" && !isTypeParameter(node)) {
    names.add(node.typeName.split(".", 1)[0] ?? "");
  }
  for (const [key, part] of Object.entries(node)) if (key !== "jsDoc") namesIn(part, names);
  return names;
}

function isTypeParameter(reference: object): boolean {
  const { resolution }: { readonly resolution?: unknown } = reference;
  return (
    typeof resolution === "object" && resolution !== null && "kind" in resolution && resolution.kind === "typeParam"
  );
}

/** Type parameters with their constraints and defaults, in angle brackets. */
export function typeParametersText(parameters: readonly TypeParameter[] = []): string {
  return parameters.length === 0 ? "" : `<${parameters.map(typeParameterText).join(", ")}>`;
}

/** Type parameters and parameters. Long ones take a line each. */
export function parametersText({ params = [], typeParams }: Callable): string {
  const texts = params.map(parameterText);
  const flat = texts.join(", ");
  const isLong = flat.length > WIDTH || texts.some((text) => text.includes("\n"));
  const list = isLong ? `\n${texts.map((text) => `${indented(text)},\n`).join("")}` : flat;
  return `${typeParametersText(typeParams)}(${list})`;
}

/** A property in the form of its declaration. */
export function propertyText({ name, readonly, optional, tsType }: Property): string {
  const type = tsType === undefined ? "unknown" : typeText(tsType);
  return `${readonly === true ? "readonly " : ""}${nameText(name)}${optional === true ? "?" : ""}: ${type};`;
}

/** A method in the form of its declaration. */
export function methodText({ name, optional, isStatic, functionDef, ...own }: Method): string {
  const callable = functionDef ?? own;
  const result = callable.returnType === undefined ? "" : `: ${typeText(callable.returnType)}`;
  const before = isStatic === true ? "static " : "";
  return `${before}${nameText(name)}${optional === true ? "?" : ""}${parametersText(callable)}${result};`;
}

/** All members of an interface or a class in the form of their declarations. */
export function membersText({ indexSignatures = [], properties = [], methods = [] }: Members): string[] {
  return [...indexSignatures.map(indexText), ...properties.map(propertyText), ...methods.map(methodText)];
}

/** Moves each line to the right. */
export function indented(text: string): string {
  return `  ${text.replaceAll("\n", "\n  ")}`;
}

/** How a parameter is written. */
export function parameterText(parameter: Parameter): string {
  const type = parameter.tsType === undefined ? "" : `: ${typeText(parameter.tsType)}`;
  switch (parameter.kind) {
    case "identifier":
      return `${parameter.name}${parameter.optional === true ? "?" : ""}${type}`;
    case "object":
      return `options${parameter.optional === true ? "?" : ""}${type}`;
    case "assign":
      return optionalText(parameter.left) + type;
    case "rest":
      return `...${parameterText(parameter.arg)}${type}`;
    default:
      throw new Error(`The API reference cannot write this parameter: ${JSON.stringify(parameter satisfies never)}`);
  }
}

function optionalText(parameter: Parameter): string {
  return parameterText(parameter.kind === "identifier" ? { ...parameter, optional: true } : parameter);
}

/** In characters: the width that fits on one line of a narrow page. */
const WIDTH = 56;

function unionText(texts: readonly string[]): string {
  const flat = texts.join(" | ");
  return flat.length > WIDTH && texts.length > 2
    ? texts.map((text) => `\n  | ${indented(indented(text)).trimStart()}`).join("")
    : flat;
}

function literalText(literal: Members): string {
  const members = membersText(literal);
  const flat = members.join(" ").replace(/;$/, "");
  if (members.length === 0) return "{}";
  if (members.length === 1 || flat.length <= WIDTH) return `{ ${flat} }`;
  return `{\n${members.map((member) => `${indented(member)}\n`).join("")}}`;
}

/** `readonly [name: string]: Type;` */
function indexText({ params, tsType, readonly }: IndexSignature): string {
  return `${readonly === true ? "readonly " : ""}[${params.map(parameterText).join(", ")}]: ${typeText(tsType)};`;
}

function typeParameterText({ name, constraint, default: value }: TypeParameter): string {
  const bound = constraint === undefined ? "" : ` extends ${typeText(constraint)}`;
  return `${name}${bound}${value === undefined ? "" : ` = ${typeText(value)}`}`;
}

function listOf(types: readonly TypeNode[] = []): string {
  return types.length === 0 ? "" : `<${types.map(typeText).join(", ")}>`;
}

/** Names that are not identifiers, such as `"@"`, are quoted; `[Symbol.hasInstance]` is not. */
function nameText(name: string): string {
  return /^(?:[\w$]+|\[.*\])$/.test(name) ? name : JSON.stringify(name);
}
