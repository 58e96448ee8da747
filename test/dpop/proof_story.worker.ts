import { story } from "./proof_story.ts";

export default {
  fetch: async (): Promise<Response> => Response.json(await story()),
};
