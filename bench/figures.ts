/** The value that this percentage of a list of measurements does not exceed. */
export function percentile(list: readonly number[], percent: number): number {
  const sorted = [...list].sort((left, right) => left - right);
  return sorted[Math.min(sorted.length - 1, Math.floor((sorted.length * percent) / 100))] ?? Number.NaN;
}

/** The median of a list of measurements. */
export function median(list: readonly number[]): number {
  return percentile(list, 50);
}
