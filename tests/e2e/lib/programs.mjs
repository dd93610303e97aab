// Finds the programs that the tests start.

import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";

/** The first of the names that is in the PATH. */
export function onPath(names, debianPackage) {
  for (const folder of (process.env.PATH ?? "").split(delimiter)) {
    for (const name of names) {
      try {
        accessSync(join(folder, name), constants.X_OK);
        return join(folder, name);
      } catch { /* not this one */ }
    }
  }
  throw new Error(`there is no ${names[0]} in the PATH: apt-get install ${debianPackage}`);
}
