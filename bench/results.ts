import type { Share, StepCost } from "./anatomy.ts";
import type { Contention } from "./contention.ts";
import type { DevicesCost } from "./devices.ts";
import type { CrowdCost, OptionCost, SizeCost } from "./growth.ts";
import type { LatencyCost } from "./latency.ts";
import type { RuntimeCosts } from "./in_process.ts";
import type { CounterCost, EntryWeight } from "./size.ts";
import type { WireCost } from "./wire.ts";

/** Microseconds of one way to do a task. */
export interface ChoiceCost {
  readonly task: string;
  readonly way: string;
  readonly isOurs: boolean;
  readonly microseconds: number;
}

/** The measurements, part by part. */
export interface Parts {
  readonly alone: readonly RuntimeCosts[];
  readonly inProcess: readonly RuntimeCosts[];
  readonly steps: readonly StepCost[];
  readonly wire: readonly WireCost[];
  readonly latency: readonly LatencyCost[];
  readonly sizes: readonly SizeCost[];
  readonly options: readonly OptionCost[];
  readonly crowds: readonly CrowdCost[];
  readonly contention: readonly Contention[];
  readonly pauses: readonly Contention[];
  readonly devices: readonly DevicesCost[];
  readonly entries: readonly EntryWeight[];
  readonly counters: readonly CounterCost[];
  readonly shares: readonly Share[];
  readonly choices: readonly ChoiceCost[];
}

export type PartName = keyof Parts;

/** The measurements, with their dates and the machine: the content of `results.json`. */
export interface Results extends Partial<Parts> {
  /** The day on which each part was measured. */
  readonly dates: { readonly [Name in PartName]?: string };
  readonly machine: { readonly cpu: string; readonly cores: number; readonly node: string };
  readonly versions: Readonly<Record<string, string>>;
}
