import { dirname } from "node:path";
import type { NextConfig } from "next";

// The frameworks of all examples are installed in the parent folder. Your own project does not need this line.
const config: NextConfig = { turbopack: { root: dirname(import.meta.dirname) } };

export default config;
