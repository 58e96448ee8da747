/**
 * `node:fs/promises` as on Windows, on top of the real one:
 *
 * - A folder cannot be flushed.
 * - A folder cannot be renamed to a name that exists, even if that is an empty folder.
 * - A folder cannot be renamed while a file in it is open.
 *
 * Node 22 for Windows showed the first two under Wine; the error is the same for all three.
 */
import type { FileHandle } from "node:fs/promises";
import { resolve, sep } from "node:path";

type Fs = typeof import("node:fs/promises");

/** The functions that the file store calls, and how many files are open. */
export interface WindowsFs extends Pick<Fs, "mkdir" | "readdir" | "rm" | "rmdir"> {
  open(path: string, flags: string, mode?: number): Promise<FileHandle>;
  readFile(path: string, encoding: "utf8"): Promise<string>;
  rename(from: string, to: string): Promise<void>;
}

export function windowsFs(fs: Fs): WindowsFs {
  const opened: string[] = [];
  const close = (path: string): void => void opened.splice(opened.indexOf(resolve(path)), 1);

  return {
    mkdir: fs.mkdir,
    readdir: fs.readdir,
    rm: fs.rm,
    rmdir: fs.rmdir,

    async open(path, flags, mode) {
      const file = await fs.open(path, flags, mode);
      const isFolder = (await file.stat()).isDirectory();
      const closeReal = file.close.bind(file);
      opened.push(resolve(path));
      file.close = async () => {
        close(path);
        await closeReal();
      };
      if (isFolder) file.sync = () => Promise.reject(refusal("fsync"));
      return file;
    },

    async readFile(path, encoding) {
      opened.push(resolve(path));
      try {
        return await fs.readFile(path, encoding);
      } finally {
        close(path);
      }
    },

    async rename(from, to) {
      const isTaken = await fs.stat(to).then(
        () => true,
        () => false,
      );
      if (isTaken || opened.some((path) => path.startsWith(`${resolve(from)}${sep}`))) throw refusal("rename");
      await fs.rename(from, to);
    },
  };
}

function refusal(syscall: string): Error {
  const code = "EPERM";
  return Object.assign(new Error(`${code}: operation not permitted, ${syscall}`), { code, syscall });
}
