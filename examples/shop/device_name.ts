/**
 * The browser and its system in words, from the User-Agent header. That header also contains the names of other browsers, for
 * compatibility.
 */
export function deviceName(userAgent: string | null): string {
  const found = (names: readonly (readonly [RegExp, string])[]): string | undefined =>
    names.find(([pattern]) => pattern.test(userAgent ?? ""))?.[1];
  const browser = found(browsers) ?? "Another browser";
  const system = found(systems);
  return system === undefined ? browser : `${browser} on ${system}`;
}

/** The same devices in the same order. Devices with the same name are numbered by their first sign-in, so that each name is different. */
export function withDistinctNames<Each extends { readonly name: string; readonly createdAt: number }>(
  devices: readonly Each[],
): Each[] {
  const byAge = devices.toSorted((a, b) => a.createdAt - b.createdAt);
  return devices.map((device) => {
    const alike = byAge.filter(({ name }) => name === device.name);
    return alike.length === 1 ? device : { ...device, name: `${device.name} (${alike.indexOf(device) + 1})` };
  });
}

// The first match counts: Edge also calls itself Chrome, and Chrome calls itself Safari.
const browsers = [
  [/\bEdg(?:e|A|iOS)?\//, "Edge"],
  [/\bFirefox\/|\bFxiOS\//, "Firefox"],
  [/Chrome\/|\bCriOS\//, "Chrome"],
  // Safari does not exist on Linux. GNOME Web, for example, calls itself so.
  [/X11; Linux.*\bSafari\//, "WebKit"],
  [/\bSafari\//, "Safari"],
] as const;

const systems = [
  [/\bAndroid\b/, "Android"],
  [/\biPhone\b|\biPad\b/, "iOS"],
  [/\bMac OS X\b/, "macOS"],
  [/\bWindows\b/, "Windows"],
  [/\bLinux\b/, "Linux"],
] as const;
