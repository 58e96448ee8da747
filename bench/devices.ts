/**
 * The cost of a user's list of sessions, by its length, on every engine.
 *
 * @module
 */
import { SessionManager } from "../mod.ts";
import { type UserSessions, userSessions } from "../src/user_sessions.ts";
import { type EngineName, openStore, startEngine } from "./engines.ts";

/** The cost of one user with this many sessions, in milliseconds of wall clock. */
export interface DevicesCost {
  readonly engine: string;
  readonly sessions: number;
  /** The time of each of the last logins, one after the other: it stores the session and the list. */
  readonly login: number;
  /** The same without `bind`. */
  readonly unbound: number;
  readonly list: number;
  readonly revoke: number;
  readonly revokeAll: number;
}

/** How many logins run at a time to fill the list, and how many are timed at the end. */
const AT_A_TIME = 16;
const TIMED = 30;

/** Measures each engine, and checks that every session is listed and ends. */
export async function measureDevices(names: readonly EngineName[], counts: readonly number[]): Promise<DevicesCost[]> {
  const rows: DevicesCost[] = [];
  for (const name of names) {
    const { address, stop } = await startEngine(name);
    const { store, close } = await openStore(name, address);
    const users = userSessions<Device>();
    // With many logins at once on a slow engine, a commit may take long.
    const sessions = new SessionManager({ store, plugins: [users], storeTimeout: 60 });
    for (const count of counts) rows.push({ engine: name, ...(await userWith(sessions, users, count)) });
    await close();
    await stop();
  }
  return rows;
}

interface Device {
  readonly browser: string;
  readonly place: string;
  readonly device: number;
}

async function userWith(
  sessions: SessionManager,
  users: UserSessions<Device>,
  count: number,
): Promise<Omit<DevicesCost, "engine">> {
  const user = `user with ${count}`;
  const logIn = async (device: number, isBound = true): Promise<void> => {
    const session = sessions.start(new Request("https://shop.example/"));
    session.set("user", user);
    if (isBound) await users.bind(session, user, { browser: "Firefox 153 on Linux", place: "Paris", device });
    await session.save();
  };
  let next = 0;
  const fill = async (): Promise<void> => {
    while (next < count - TIMED) await logIn(next++);
  };
  await Promise.all(Array.from({ length: AT_A_TIME }, fill));
  const login = await timed(async () => {
    while (next < count) await logIn(next++);
  });
  const unbound = await timed(async () => {
    for (let device = 0; device < TIMED; device++) await logIn(device, false);
  });
  const lists: number[] = [];
  const list = await timed(async () => lists.push((await users.list(user)).length));
  if (lists[0] !== count) throw new Error(`Of ${count} sessions ${lists[0]} are listed`);
  const [first] = await users.list(user);
  const revoke = await timed(async () => void (await users.revoke(first?.handle ?? "")));
  const ended: number[] = [];
  const revokeAll = await timed(async () => ended.push(await users.revokeAll(user)));
  if (ended[0] !== count - 1) throw new Error(`Of ${count - 1} sessions ${ended[0]} have ended`);
  return { sessions: count, login: login / TIMED, unbound: unbound / TIMED, list, revoke, revokeAll };
}

async function timed(task: () => Promise<unknown>): Promise<number> {
  const begun = performance.now();
  await task();
  return performance.now() - begun;
}
