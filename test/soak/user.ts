/** A user of the shop who checks its promises: every acknowledged change must be there, and no ended session may come back. */

/** What the soak counts. */
export interface Counts {
  requests: number;
  /** Failed requests, by the error's code, or `no answer`. */
  readonly failures: Map<string, number>;
  /** Violations of a promise. */
  readonly lost: string[];
  readonly revived: string[];
  readonly signedOut: string[];
  readonly others: string[];
  /** How many times each action was done and acknowledged. */
  readonly done: Map<string, number>;
}

export function newCounts(): Counts {
  return { requests: 0, failures: new Map(), lost: [], revived: [], signedOut: [], others: [], done: new Map() };
}

/** The result of a request; `null` if it failed, so that it may have been done or not. */
interface Answer {
  readonly status: number;
  /** The token that the response sets; `undefined` if it sets none, `null` if it expires the token. */
  readonly token: string | null | undefined;
  readonly body: Readonly<Record<string, unknown>>;
}

/** One browser of a user. */
interface Device {
  /** Its session, if it has one. */
  token: string | null;
  isSignedIn: boolean;
  /** How many pears are in the basket: at least the acknowledged number, and at most the attempted number. */
  least: number;
  most: number;
}

const COOKIE = "session";
/** How many ended sessions a user remembers, in order to present them again. */
const REMEMBERED = 200;

/** A user with two browsers. */
export class User {
  readonly #name: string;
  readonly #counts: Counts;
  readonly #servers: () => readonly string[];
  readonly #devices: [Device, Device] = [newDevice(), newDevice()];
  readonly #ended: string[] = [];
  readonly #thinks: number;

  /**
   * @param servers The addresses of the servers that exist now
   * @param thinks The maximum number of milliseconds between two actions of the user
   */
  constructor(name: string, servers: () => readonly string[], counts: Counts, thinks = 30) {
    this.#thinks = thinks;
    this.#name = name;
    this.#servers = servers;
    this.#counts = counts;
  }

  /** Makes actions, one after the other, until the signal. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) await this.step();
  }

  /** Makes one action. */
  async step(): Promise<void> {
    const act = this.#next(pick(this.#devices));
    if (!(await act())) await pause(100);
    if (this.#thinks > 0) await pause(Math.random() * this.#thinks);
  }

  /** Checks everything once more, when the servers have no more faults. */
  async look(): Promise<void> {
    for (const device of this.#devices) await this.#read(device);
    for (const token of this.#ended) await this.#tryEnded(token);
  }

  #next(device: Device): () => Promise<boolean> {
    if (device.token === null) return () => this.#start(device);
    const chance = Math.random();
    if (!device.isSignedIn && chance < 0.3) return () => this.#logIn(device);
    if (chance < 0.35) return () => this.#add(device, 1);
    if (chance < 0.45) return () => this.#add(device, 6);
    if (chance < 0.75) return () => this.#read(device);
    if (chance < 0.78) return () => this.#empty(device);
    if (chance < 0.83) return () => this.#logIn(device);
    if (chance < 0.87) return () => this.#logOut(device);
    if (chance < 0.9) return () => this.#logOutDuringWrites(device);
    if (chance < 0.92 && device.isSignedIn) return () => this.#endOthers(device);
    return async () => this.#ended.length === 0 || (await this.#tryEnded(pick(this.#ended)));
  }

  async #start(device: Device): Promise<boolean> {
    const answer = await this.#ask("POST", "/api/session", null);
    if (answer === null || typeof answer.token !== "string") return false;
    Object.assign(device, newDevice(), { token: answer.token });
    return this.#did("start");
  }

  async #read(device: Device): Promise<boolean> {
    const { token, least, most } = device;
    if (token === null) return true;
    const answer = await this.#ask("GET", "/api/basket", token);
    if (answer === null) return false;
    if (answer.token === null) return this.#hasLost(device, "a read");
    this.#judge("a read", answer, least, most);
    const facts = await this.#ask("GET", "/api/session", token);
    if (facts === null) return false;
    if (facts.body["user"] !== (device.isSignedIn ? this.#name : null)) return this.#hasLost(device, "the facts");
    return this.#did("read");
  }

  /** Adds pears, with this many requests at the same time. */
  async #add(device: Device, times: number): Promise<boolean> {
    const { token, least } = device;
    device.most += times;
    const most = device.most;
    const answers = await Promise.all(Array.from({ length: times }, () => this.#addOne(token)));
    const heard = answers.filter((answer) => answer !== null);
    if (heard.some((answer) => answer.token !== undefined)) return this.#hasLost(device, "a write");
    const counts = heard.map((answer) => Number(answer.body["count"]));
    device.least = least + heard.length;
    // The concurrent requests are stored one after the other, so no two may see the same count.
    if (new Set(counts).size < counts.length)
      this.#counts.lost.push(`${this.#name}: two writes answered the same of ${counts.join(" ")}`);
    for (const answer of heard) {
      this.#judge("a write", answer, least + 1, most);
      this.#did(times === 1 ? "add" : "add, six at once");
    }
    return heard.length === times;
  }

  #addOne(token: string | null): Promise<Answer | null> {
    return this.#ask("POST", "/api/basket", token, { product: "Pear" });
  }

  async #empty(device: Device): Promise<boolean> {
    const answer = await this.#ask("DELETE", "/api/basket", device.token);
    device.least = 0;
    if (answer === null) return false;
    if (answer.token !== undefined) return this.#hasLost(device, "emptying");
    device.most = 0;
    return this.#did("empty");
  }

  async #logIn(device: Device): Promise<boolean> {
    const { token } = device;
    const answer = await this.#ask("POST", "/api/login", token, { user: this.#name });
    // Without an answer, the session may have an id that this browser does not know.
    if (answer === null) return await this.#giveUp(device);
    if (typeof answer.token !== "string") {
      this.#counts.others.push(`${this.#name}: a login without a new id, status ${answer.status}`);
      return await this.#giveUp(device);
    }
    if (token !== null) this.#remember(token);
    device.token = answer.token;
    device.isSignedIn = true;
    return this.#did("log in");
  }

  async #logOut(device: Device): Promise<boolean> {
    const { token } = device;
    if (token === null) return true;
    const answer = await this.#ask("POST", "/api/logout", token);
    // The device keeps the token until the logout is certain. Its next action is to try again.
    if (answer === null) return await this.#giveUp(device);
    Object.assign(device, newDevice());
    this.#remember(token);
    return this.#did("log out");
  }

  /** Sends writes and a logout at the same time. Whatever happens to the writes, the session must have ended. */
  async #logOutDuringWrites(device: Device): Promise<boolean> {
    const { token } = device;
    const writes = Array.from({ length: 3 }, () => this.#addOne(token));
    const isOut = await this.#logOut(device);
    await Promise.all(writes);
    return isOut;
  }

  /** Signs out a session whose state is unknown, with as many attempts as needed, and begins again. */
  async #giveUp(device: Device): Promise<boolean> {
    const { token } = device;
    Object.assign(device, newDevice());
    for (let tries = 0; token !== null && tries < 200; tries++) {
      await pause(100);
      const answer = await this.#ask("POST", "/api/logout", token);
      if (answer === null) continue;
      this.#remember(token);
      break;
    }
    return true;
  }

  async #endOthers(device: Device): Promise<boolean> {
    const answer = await this.#ask("POST", "/api/devices/end-others", device.token);
    const other = this.#devices.find((each) => each !== device);
    if (other === undefined || !other.isSignedIn) return answer !== null;
    if (answer === null) {
      await this.#giveUp(other);
      return false;
    }
    if (answer.status !== 200) return this.#hasLost(device, "ending the others");
    const { token } = other;
    Object.assign(other, newDevice());
    if (token !== null) this.#remember(token);
    return this.#did("end others");
  }

  /** Presents a session whose end was acknowledged. */
  async #tryEnded(token: string): Promise<boolean> {
    const answer = await this.#ask("GET", "/api/session", token);
    if (answer === null) return false;
    const { user, via } = answer.body;
    if (user !== null || via !== null) this.#counts.revived.push(`${this.#name}: ${JSON.stringify(answer.body)}`);
    return this.#did("try an ended session");
  }

  #remember(token: string): void {
    this.#ended.push(token);
    if (this.#ended.length > REMEMBERED) this.#ended.splice(Math.floor(Math.random() * REMEMBERED), 1);
  }

  #judge(what: string, { body }: Answer, least: number, most: number): void {
    const count = Number(body["count"]);
    if (count >= least && count <= most) return;
    this.#counts.lost.push(`${this.#name}: ${what} answered ${count}, which should be from ${least} to ${most}`);
  }

  /** A session that nobody has ended is missing. */
  #hasLost(device: Device, what: string): boolean {
    this.#counts.signedOut.push(`${this.#name}: ${what} did not find the session`);
    Object.assign(device, newDevice());
    return true;
  }

  #did(what: string): true {
    this.#counts.done.set(what, (this.#counts.done.get(what) ?? 0) + 1);
    return true;
  }

  async #ask(method: string, path: string, token: string | null, body?: object): Promise<Answer | null> {
    this.#counts.requests++;
    const headers: Record<string, string> = { "Content-Type": "application/json" };
    if (token !== null) headers["Cookie"] = `${COOKIE}=${token}`;
    const init = { method, headers, ...(body === undefined ? {} : { body: JSON.stringify(body) }) };
    try {
      const response = await fetch(pick(this.#servers()) + path, init);
      const answer = (await response.json()) as Readonly<Record<string, unknown>>;
      if (response.status >= 500) return this.#failed(String(answer["error"]));
      // Another request has ended the session meanwhile. The shop reports that.
      if (response.status === 409) return this.#failed("ERR_SESSION_GONE");
      return { status: response.status, token: tokenIn(response.headers), body: answer };
    } catch {
      return this.#failed("no answer");
    }
  }

  #failed(code: string): null {
    this.#counts.failures.set(code, (this.#counts.failures.get(code) ?? 0) + 1);
    return null;
  }
}

function newDevice(): Device {
  return { token: null, isSignedIn: false, least: 0, most: 0 };
}

function tokenIn(headers: Headers): string | null | undefined {
  for (const line of headers.getSetCookie()) {
    const value = new RegExp(`^${COOKIE}=([^;]*)`).exec(line)?.[1];
    if (value !== undefined) return value === "" || /; Max-Age=0/.test(line) ? null : value;
  }
  return undefined;
}

function pick<Value>(values: readonly Value[]): Value {
  const value = values[Math.floor(Math.random() * values.length)];
  if (value === undefined) throw new Error("There is nothing to choose from");
  return value;
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
