// Here each isolate keeps its own sessions in memory. In production a Worker runs in many isolates, so give it a store, as the other
// examples of Workers do.
export { app as default } from "./app.ts";
