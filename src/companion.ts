import { byteLength } from "./record_text.ts";
import { type SealingKey, sealingKey, sealWith, unsealWith } from "./sealing.ts";
import { mintToken } from "./session_id.ts";

/**
 * How long, in milliseconds, a change counts as recent: the store may not show it everywhere. Workers KV names 60 seconds "or
 * more" (https://developers.cloudflare.com/kv/concepts/how-kv-works/#consistency), so this is twice that.
 */
export const RECENT = 120_000;

/** What became of a field last: its text, null if it was removed, undefined if the text had no room in the cookie. */
export interface Entry {
  /** The instant of the change, in epoch milliseconds; later than every change that its writer had seen. */
  readonly at: number;
  readonly text: string | null | undefined;
}

/** What a client has seen of a session of late. */
export interface Memory {
  readonly entries: ReadonlyMap<string, Entry>;
  readonly lastSeenAt: number;
  /** Whether nothing of the session is older: it has begun of late, and every field is among the entries. */
  readonly isWhole: boolean;
}

/** What a client knows of an id that is over. */
export interface Ending {
  /** The id that took over, for as long as the old one leads there. */
  readonly heir?: string | undefined;
  readonly graceUntil?: number | undefined;
}

/** What a client told of one session, in one companion or several. */
export interface Told extends Memory {
  /** In how many companions: more than one if several responses were under way at once. */
  readonly companions: number;
  readonly ending?: Ending | undefined;
}

/** How texts get from the client and back to it. */
export interface Carrier {
  readonly carriesBeside: boolean;
  presentedBeside(): ReadonlyMap<string, string>;
  tellBeside(headers: Headers, name: string, text: string, maxAge: number): void;
}

/** Seals companions for one cookie. */
export interface CompanionSealer {
  seal(text: string, name: string): Promise<string>;
  unseal(sealed: string, name: string): Promise<string | null>;
}

/** Whether a change comes after another. Of two at one instant, which one does matters to nobody, if all agree. */
export function isLater(one: Entry, two: Entry): boolean {
  if (one.at !== two.at) return one.at > two.at;
  return rank(one.text) > rank(two.text);
}

/** In the order of texts: unknown, removed, and then by the texts themselves. */
function rank(text: string | null | undefined): string {
  return text === undefined ? "" : text === null ? "0" : `1${text}`;
}

/** All secrets open, the first one seals; for this purpose and this cookie's name alone. */
export function companionSealer(secrets: readonly string[], cookie: string): CompanionSealer {
  let keys: SealingKey[] | undefined;
  // Derived when the first companion comes or goes. They are kept as values: some runtimes bind a promise to one request.
  const allKeys = async (): Promise<SealingKey[]> =>
    (keys ??= await Promise.all(secrets.map((secret) => sealingKey(secret, `companion of ${cookie}`))));
  return {
    seal: async (text, name) => await sealWith((await allKeys())[0]!, text, name),
    async unseal(sealed, name) {
      for (const key of await allKeys()) {
        const text = await unsealWith(key, sealed, name);
        if (text !== null) return text;
      }
      return null;
    },
  };
}

/**
 * What one request's client carries of its recent changes, sealed, beside the id. Responses that are under way at once must
 * not replace each other's, so each goes under a name of its own, holds all that its request was told, and takes the
 * place of that. Whatever the client does with them, merging is harmless: the later change of each field counts.
 */
export class Companion {
  readonly #carrier: Carrier | undefined;
  readonly #sealer: CompanionSealer;
  readonly #now: () => number;
  #cookies: ReadonlyMap<string, string> | undefined;
  #told: Promise<ToldByName[]> | undefined;
  readonly #toTell: Map<string, Memory | Ending> = new Map();

  constructor(carrier: Carrier | undefined, sealer: CompanionSealer, now: () => number) {
    this.#carrier = carrier;
    this.#sealer = sealer;
    this.#now = now;
  }

  /** What the client told of the session under a store key. */
  of(key: string): Told | Promise<Told> {
    return this.isEmpty ? NOTHING_TOLD : this.#toldOf(key);
  }

  /** Whether the client has told nothing, as it is most of the time: nothing has changed for two minutes. */
  get isEmpty(): boolean {
    return this.#toTell.size === 0 && this.#presented.size === 0;
  }

  async #toldOf(key: string): Promise<Told> {
    const told = (await this.#allTold()).filter((each) => each.key === shortened(key));
    const said = this.#toTell.get(key);
    const memories = [...told.flatMap(({ memory }) => memory ?? []), ...(said && "entries" in said ? [said] : [])];
    const ending = said && !("entries" in said) ? said : told.find((each) => each.ending)?.ending;
    return { ...merged(memories), companions: told.length, ending };
  }

  /** Notes what the client is to be told of a session. */
  remember(key: string, memory: Memory): void {
    this.#toTell.set(key, memory);
  }

  /** Notes that an id is over for this client, whatever the store may show. */
  end(key: string, ending: Ending = {}): void {
    this.#toTell.set(key, ending);
  }

  /** Whether there is anything to tell, to a client that can be told. */
  get hasNews(): boolean {
    return this.#toTell.size > 0 && this.#carrier?.carriesBeside === true;
  }

  /** Tells the client what was noted, and to forget what that takes the place of. */
  async tell(headers: Headers): Promise<void> {
    if (this.#carrier === undefined) return;
    const now = this.#now();
    const told = await this.#allTold();
    for (const [key, content] of this.#toTell) {
      const name = mintToken();
      const text = "entries" in content ? memoryText(key, content, now) : endingText(key, content, now);
      this.#carrier.tellBeside(headers, name, await this.#sealer.seal(text, name), RECENT / 1000);
    }
    const replaced = new Set([...this.#toTell.keys()].map(shortened));
    for (const { name, key, ending } of told) {
      // What is worth nothing goes as well; that another id is over stays true.
      if (ending === undefined || replaced.has(key ?? "")) this.#carrier.tellBeside(headers, name, "", 0);
    }
    this.#toTell.clear();
  }

  get #presented(): ReadonlyMap<string, string> {
    return (this.#cookies ??= new Map(
      [...(this.#carrier?.presentedBeside() ?? [])].filter(([name]) => NAME_SHAPE.test(name)),
    ));
  }

  #allTold(): Promise<ToldByName[]> {
    return (this.#told ??= this.#unsealAll());
  }

  #unsealAll(): Promise<ToldByName[]> {
    const unseal = async ([name, sealed]: [string, string], index: number): Promise<ToldByName> => {
      const text = index < MOST_COMPANIONS ? await this.#sealer.unseal(sealed, name) : null;
      return { name, ...(text === null ? {} : fromText(text, this.#now())) };
    };
    return Promise.all([...this.#presented].map(unseal));
  }
}

const NOTHING_TOLD: Told = { entries: new Map(), lastSeenAt: 0, isWhole: false, companions: 0 };

/** A companion that the client presented; without a key if it is worth nothing. */
interface ToldByName {
  readonly name: string;
  readonly key?: string;
  readonly memory?: Memory;
  readonly ending?: Ending;
}

/** What {@linkcode mintToken} gives. Another name is another's cookie: it is left alone, however it is made. */
const NAME_SHAPE = /^[0-9a-f]{12}$/;
/** As many responses may well be under way at once; a client that presents more must not cost more. */
const MOST_COMPANIONS = 64;
/** In characters. Browsers keep 4 096 octets of a cookie; beside the session's own, and in every request, less is better. */
const MOST_SEALED = 3072;
/** In bytes: nonce and tag are 28 bytes, and base64 makes four characters of three bytes. */
const MOST_TEXT = (MOST_SEALED / 4) * 3 - 28;

function merged(memories: readonly Memory[]): Memory {
  const entries = new Map<string, Entry>();
  let lastSeenAt = 0;
  let isWhole = false;
  for (const memory of memories) {
    for (const [name, entry] of memory.entries) {
      const known = entries.get(name);
      if (known === undefined || isLater(entry, known)) entries.set(name, entry);
    }
    lastSeenAt = Math.max(lastSeenAt, memory.lastSeenAt);
    isWhole ||= memory.isWhole;
  }
  isWhole &&= [...entries.values()].every(({ text }) => text !== undefined);
  return { entries, lastSeenAt, isWhole };
}

/** Enough of a store key to tell the sessions of one client apart. */
function shortened(key: string): string {
  return key.slice(0, 32);
}

/** The form in which a companion is sealed. Instants are told as what is added to `now`, the instant of the companion. */
interface Text {
  readonly key: string;
  readonly now: number;
  readonly ending?: Ending;
  readonly seen?: number;
  readonly whole?: boolean;
  readonly fields?: [name: string, at: number, text?: string | null][];
}

function endingText(key: string, ending: Ending, now: number): string {
  return JSON.stringify({ key: shortened(key), now, ending } satisfies Text);
}

/**
 * A memory as a text that fits: the largest texts are left out first, and then, when there are none left, the oldest changes. A
 * place that lacks one of those lacks later ones as well, so that it is noticed all the same.
 */
function memoryText(key: string, { entries, lastSeenAt, isWhole }: Memory, now: number): string {
  const head = { key: shortened(key), now, seen: lastSeenAt - now };
  let room = MOST_TEXT - sizeOf({ ...head, whole: false, fields: [] });
  const newestFirst = [...entries].sort(([, one], [, two]) => two.at - one.at);
  const named = newestFirst.flatMap(([name, { at, text }]) => {
    const row: [string, number] = [name, at - now];
    const bare = sizeOf(row);
    // What is too long for certain need not be measured.
    const isLong = text === undefined || (text !== null && text.length > MOST_TEXT);
    room -= bare;
    return room < 0 ? [] : [{ row, text, more: isLong ? Infinity : sizeOf([...row, text]) - bare }];
  });
  const smallestFirst = named.sort((one, two) => one.more - two.more);
  const fields = smallestFirst.map(({ row, text, more }): [string, number, (string | null)?] => {
    if (text === undefined || more > room) return row;
    room -= more;
    return [...row, text];
  });
  // Where a name has found no room, no text has either.
  const whole = isWhole && fields.every((field) => field.length === 3);
  return JSON.stringify({ ...head, whole, fields } satisfies Text);
}

/** With the comma that follows. */
function sizeOf(value: unknown): number {
  return byteLength(JSON.stringify(value)) + 1;
}

/** What a companion says, unless it is too old. It was sealed here, so its shape is ours. */
function fromText(text: string, now: number): Omit<ToldByName, "name"> {
  const told: Text = JSON.parse(text);
  if (now - told.now >= RECENT) return {};
  const { key, ending, seen = 0, fields = [] } = told;
  if (ending !== undefined) return { key, ending };
  const all = fields.map(([name, at, value]) => [name, { at: told.now + at, text: value }] as const);
  const entries = new Map(all.filter(([, { at }]) => now - at < RECENT));
  const isWhole = told.whole === true && entries.size === all.length;
  return { key, memory: { entries, lastSeenAt: told.now + seen, isWhole } };
}
