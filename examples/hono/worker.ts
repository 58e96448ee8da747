// One isolate keeps its sessions in memory here: a Worker in the world has many, so give it a store, as the other examples of Workers do.
export { app as default } from "./app.ts";
