// All of sound/, one test after the other, in one process: they share its browsers, of which Firefox takes ten seconds to start.

import { readdirSync } from "node:fs";

const folder = new URL("sound/", import.meta.url);
for (const name of readdirSync(folder).sort()) {
  if (name.endsWith(".test.mjs")) await import(new URL(name, folder).href);
}
