import type { DpopKeyPair } from "../../../src/dpop_client.ts";
import { deviceKey, type DeviceKey } from "../../device_bound/browser.ts";
import { asDpopKeys } from "./owners.ts";
import { BROWSERS } from "./program.ts";

/** One for the thief, one for the header client, and two for each browser. */
export const KEYS: Promise<Keys> = makeKeys();

export interface Keys {
  readonly thief: DeviceKey;
  readonly client: DpopKeyPair;
  readonly browsers: readonly (readonly DeviceKey[])[];
}

async function makeKeys(): Promise<Keys> {
  const made = async (): Promise<DeviceKey> => await deviceKey();
  const browsers = Array.from({ length: BROWSERS }, async () => [await made(), await made()]);
  return { thief: await made(), client: await asDpopKeys(await made()), browsers: await Promise.all(browsers) };
}
