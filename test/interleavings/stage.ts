import type { SessionStore } from "../../mod.ts";
import { kill, passTime, type Process, quiet } from "../setup/processes.ts";

/** What becomes of a call of a store. */
export type Fate =
  | "done"
  /** It is done now. Its answer waits until the test lets it go on once more. */
  | "done, answered later"
  /** Nothing is done, and the answer is an error. */
  | "rejects"
  /** It is done, and the answer is an error. */
  | "done, rejects"
  /** It is sent twice, and the answer is the second one. */
  | "done twice"
  /** Time passes until a time limit in its process. The call itself stays pending. */
  | "times out"
  /** Its process ends. Its pending calls may still be done. */
  | "crashes"
  /** The call is done, and then its process ends. */
  | "done, crashes";

/** A call that waits until the test lets it go on. */
export interface Waiting {
  readonly process: Process;
  readonly label: string;
  /** Whether the call is done and only its answer waits. */
  readonly isDone: boolean;
  letGo(fate: Fate): Promise<void>;
}

/** Every call of a store waits here, so that a test decides which call goes on and which one fails. */
export class Stage {
  readonly #waiting: Waiting[] = [];
  readonly #onCrash: (process: Process) => void;
  readonly #hear: (line: string) => void;

  constructor({
    onCrash = () => {},
    hear = () => {},
  }: { onCrash?: (process: Process) => void; hear?: (line: string) => void } = {}) {
    this.#onCrash = onCrash;
    this.#hear = hear;
  }

  /** The waiting calls, in the order of their arrival. */
  get waiting(): readonly Waiting[] {
    return this.#waiting;
  }

  /** Lets a call go on, and returns when all running code waits again. */
  async step(next: Waiting, fate: Fate): Promise<void> {
    await next.letGo(fate);
    await quiet();
  }

  /** Waits until the test lets the call go on, and then makes it. */
  call<T>(process: Process, label: string, act: () => T | Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      let answer: (() => void) | undefined;
      const hear = (what: string): void => this.#hear(`${label} ${what}`);
      const leave = (): void => this.#leave(waiting);
      const enter = (): unknown => this.#waiting.push(waiting);
      const crash = (): void => this.#crash(process);
      const waiting: Waiting = {
        process,
        label,
        get isDone() {
          return answer !== undefined;
        },
        async letGo(fate) {
          if (fate === "times out") {
            hear("times out");
            passTime(process);
            return;
          }
          leave();
          if (answer !== undefined) {
            hear("answers");
            return answer();
          }
          if (fate === "rejects" || fate === "crashes") {
            hear(fate);
            if (fate === "rejects") reject(new Error("The store was told to fail"));
            else crash();
            return;
          }
          const attempt = async (): Promise<() => void> => {
            const done = await act();
            hear(`${fate}: ${inWords(done)}`);
            return () => resolve(done);
          };
          // An error that the call itself throws is its answer.
          const failed = (error: unknown) => (): void => reject(error);
          if (fate === "done twice") await attempt().catch(failed);
          const answered = await attempt().catch(failed);
          if (!process.isAlive) return;
          if (fate === "done, answered later") {
            answer = answered;
            enter();
          } else if (fate === "done, rejects") reject(new Error("The store was told to fail"));
          else if (fate === "done, crashes") crash();
          else answered();
        },
      };
      enter();
    });
  }

  #leave(waiting: Waiting): void {
    const at = this.#waiting.indexOf(waiting);
    if (at >= 0) this.#waiting.splice(at, 1);
  }

  #crash(process: Process): void {
    kill(process);
    // A command that was sent may still arrive, but nobody receives its answer.
    for (const each of this.#waiting.slice()) if (each.process === process && each.isDone) this.#leave(each);
    this.#onCrash(process);
  }
}

/** A store as one process sees it. Each call waits on the stage. */
export function stagedStore(stage: Stage, process: Process, store: SessionStore, whose = ""): SessionStore {
  const { exact: _, ...traits } = store.traits;
  const call = <T>(verb: string, key: string, act: () => T | Promise<T>): Promise<T> =>
    stage.call(process, `${whose}${verb} ${key.slice(0, 4)}`, act);
  return {
    traits,
    load: (key) => call("load", key, () => store.load(key)),
    save: (key, write) =>
      call(write.expected === null ? "create" : write.changed.size === 0 ? "touch" : "change", key, () =>
        store.save(key, write),
      ),
    delete: (key, expected) => call("delete", key, () => store.delete(key, expected)),
  };
}

function inWords(answer: unknown): string {
  if (answer === null) return "nothing there";
  return typeof answer === "object" ? "a record" : String(answer);
}
