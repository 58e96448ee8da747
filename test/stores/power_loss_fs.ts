/**
 * The functions of `node:fs/promises` that the file store calls, on a disk in memory that can lose its power. After a power failure, each
 * step that was not synced is on the disk or not, independently of the others: POSIX promises no more.
 */

interface Folder {
  readonly kind: "folder";
  /** The names as a program sees them. */
  readonly names: Map<string, Node>;
  /** The names that are certainly on the disk. */
  onDisk: Map<string, Node>;
  /** The steps that may be on the disk, in the order in which they were made. */
  pending: Step[];
}

interface File {
  readonly kind: "file";
  text: string;
  /** Undefined if the file was never synced. */
  onDisk: string | undefined;
}

type Node = Folder | File;

interface Step {
  readonly removed?: string;
  readonly added?: readonly [name: string, node: Node];
}

function newFolder(): Folder {
  return { kind: "folder", names: new Map(), onDisk: new Map(), pending: [] };
}

function failure(code: string): Error {
  return Object.assign(new Error(code), { code });
}

export class PowerLossDisk {
  #root: Folder = newFolder();
  #callsLeft = Infinity;

  /** After this many calls the process is dead: no call has an effect or an answer any more. */
  dieAfter(calls: number): void {
    this.#callsLeft = calls;
  }

  /** Cuts the power. `survives` decides for each step that was not synced. Then a new process begins. */
  cutPower(survives: () => boolean): void {
    this.#root = restored(this.#root, survives);
    this.#callsLeft = Infinity;
  }

  // The functions.

  async mkdir(path: string, { recursive = false }: { recursive?: boolean } = {}): Promise<string | undefined> {
    await this.#call();
    let first: string | undefined;
    let folder = this.#root;
    const parts = partsOf(path);
    for (const [i, name] of parts.entries()) {
      const next = folder.names.get(name);
      const isLast = i === parts.length - 1;
      if (next === undefined && !isLast && !recursive) throw failure("ENOENT");
      if (next !== undefined && isLast && !recursive) throw failure("EEXIST");
      if (next?.kind === "file") throw failure("ENOTDIR");
      if (next === undefined) first ??= `/${parts.slice(0, i + 1).join("/")}`;
      folder = next ?? link(folder, name, newFolder());
    }
    return first;
  }

  async open(path: string, flags: string): Promise<OpenFile> {
    await this.#call();
    const [folder, name] = this.#place(path);
    const found = name === "" ? folder : folder.names.get(name);
    if (flags === "wx" && found !== undefined) throw failure("EEXIST");
    if (flags !== "wx" && found === undefined) throw failure("ENOENT");
    const node = found ?? link(folder, name, { kind: "file", text: "", onDisk: undefined } satisfies File);
    return {
      writeFile: async (text) => {
        await this.#call();
        if (node.kind === "file") node.text = text;
      },
      sync: async () => {
        await this.#call();
        if (node.kind === "file") {
          node.onDisk = node.text;
        } else {
          node.onDisk = new Map(node.names);
          node.pending = [];
        }
      },
      close: () => this.#call(),
    };
  }

  async readdir(path: string): Promise<string[]> {
    await this.#call();
    const node = this.#find(path);
    if (node.kind === "file") throw failure("ENOTDIR");
    return [...node.names.keys()];
  }

  async readFile(path: string): Promise<string> {
    await this.#call();
    const node = this.#find(path);
    if (node.kind === "folder") throw failure("EISDIR");
    return node.text;
  }

  async rename(from: string, to: string): Promise<void> {
    await this.#call();
    const [source, oldName] = this.#place(from);
    const [target, newName] = this.#place(to);
    const node = source.names.get(oldName);
    if (node === undefined) throw failure("ENOENT");
    const there = target.names.get(newName);
    if (there?.kind === "folder" && there.names.size > 0) throw failure("ENOTEMPTY");
    source.names.delete(oldName);
    target.names.set(newName, node);
    if (source === target) {
      source.pending.push({ removed: oldName, added: [newName, node] });
    } else {
      source.pending.push({ removed: oldName });
      target.pending.push({ added: [newName, node] });
    }
  }

  async rmdir(path: string): Promise<void> {
    await this.#call();
    const [folder, name] = this.#place(path);
    const node = folder.names.get(name);
    if (node === undefined) throw failure("ENOENT");
    if (node.kind === "folder" && node.names.size > 0) throw failure("ENOTEMPTY");
    unlink(folder, name);
  }

  async rm(path: string, { recursive = false }: { recursive?: boolean } = {}): Promise<void> {
    await this.#call();
    try {
      const [folder, name] = this.#place(path);
      const node = folder.names.get(name);
      if (node === undefined) return;
      if (node.kind === "folder" && recursive) {
        for (const inner of node.names.keys()) await this.rm(`${path}/${inner}`, { recursive });
      }
      unlink(folder, name);
    } catch (error) {
      if (!(error instanceof Error && error.message === "ENOENT")) throw error;
    }
  }

  async #call(): Promise<void> {
    if (this.#callsLeft-- > 0) return;
    await new Promise<never>(() => {});
  }

  #place(path: string): [folder: Folder, name: string] {
    const parts = partsOf(path);
    const name = parts.pop() ?? "";
    let folder = this.#root;
    for (const part of parts) {
      const next = folder.names.get(part);
      if (next === undefined) throw failure("ENOENT");
      if (next.kind === "file") throw failure("ENOTDIR");
      folder = next;
    }
    return [folder, name];
  }

  #find(path: string): Node {
    const [folder, name] = this.#place(path);
    const node = folder.names.get(name);
    if (node === undefined) throw failure("ENOENT");
    return node;
  }
}

interface OpenFile {
  writeFile(text: string): Promise<void>;
  sync(): Promise<void>;
  close(): Promise<void>;
}

function partsOf(path: string): string[] {
  return path.split("/").filter((part) => part !== "");
}

function link<Kind extends Node>(folder: Folder, name: string, node: Kind): Kind {
  folder.names.set(name, node);
  folder.pending.push({ added: [name, node] });
  return node;
}

function unlink(folder: Folder, name: string): void {
  folder.names.delete(name);
  folder.pending.push({ removed: name });
}

function restored(folder: Folder, survives: () => boolean): Folder {
  const names = new Map(folder.onDisk);
  for (const { removed, added } of folder.pending) {
    if (!survives()) continue;
    if (removed !== undefined) names.delete(removed);
    if (added !== undefined) names.set(...added);
  }
  const after = newFolder();
  for (const [name, node] of names) after.names.set(name, node.kind === "file" ? read(node) : restored(node, survives));
  after.onDisk = new Map(after.names);
  return after;

  /** The contents of a file that was not synced: all of it, a part, or nothing. */
  function read(file: File): File {
    const written = survives() ? file.text : survives() ? file.text.slice(0, file.text.length / 2) : "";
    const text = file.onDisk ?? written;
    return { kind: "file", text, onDisk: text };
  }
}
