import { story } from "./proof_story.ts";

console.log(JSON.stringify(await story()));
