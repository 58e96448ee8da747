import { defineNitroConfig } from "nitro/config";

export default defineNitroConfig({ compatibilityDate: "2026-10-01", scanDirs: ["."] });
