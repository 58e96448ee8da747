/**
 * The portable suite in Vercel's edge-runtime.
 *
 * @module
 */
import { EdgeRuntime } from "edge-runtime";
import { bundle } from "./bundle.ts";

const script = await bundle("worker.ts", { format: "iife", globalName: "worker" });
const response: Response = await new EdgeRuntime().evaluate(`${script}; worker.default.fetch()`);
console.log(await response.text());
