// Builds web/dist. With --check: builds aside and fails when the committed dist differs.
import { build } from "esbuild";
import { execFileSync } from "node:child_process";
import { cp, mkdtemp, readdir, readFile, rm, mkdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const dist = join(here, "dist");

async function buildInto(outdir) {
  await mkdir(outdir, { recursive: true });
  const common = {
    absWorkingDir: here,
    bundle: true,
    target: ["es2022"],
    charset: "utf8",
    legalComments: "none",
    sourcemap: true,
    // Paths in source maps must not depend on where the output goes.
    sourceRoot: "",
    logLevel: "warning",
  };
  const out = (name) => join(dist, name);
  const results = await Promise.all([
    build({ ...common, entryPoints: ["src/grtc/global.ts"], format: "iife", outfile: out("grtc.js"), write: false }),
    build({ ...common, entryPoints: ["src/grtc/index.ts"], format: "esm", outfile: out("grtc.mjs"), write: false }),
    build({ ...common, entryPoints: ["src/phone/main.ts"], format: "esm", minify: true, outfile: out("phone.js"), write: false }),
    build({ ...common, entryPoints: ["src/gadget/main.ts"], format: "esm", minify: true, outfile: out("gadget.js"), write: false }),
    build({ ...common, entryPoints: ["src/gadget/gadget.css"], minify: true, sourcemap: false, outfile: out("gadget.css"), write: false }),
    build({ ...common, entryPoints: ["src/dashboard/main.ts"], format: "esm", minify: true, outfile: out("dashboard.js"), write: false }),
    build({ ...common, entryPoints: ["src/dashboard/dashboard.css"], minify: true, sourcemap: false, outfile: out("dashboard.css"), write: false }),
    build({ ...common, entryPoints: ["src/phone/phone.css"], minify: true, sourcemap: false, outfile: out("phone.css"), write: false }),
  ]);
  const { writeFile } = await import("node:fs/promises");
  for (const { outputFiles } of results) {
    for (const file of outputFiles) await writeFile(join(outdir, file.path.slice(dist.length + 1)), file.contents);
  }
  for (const name of ["index.html", "favicon.svg"]) await cp(join(here, "src/phone", name), join(outdir, name));
  for (const page of ["gadget", "dashboard"]) await cp(join(here, "src", page, "index.html"), join(outdir, `${page}.html`));
  execFileSync(
    process.execPath,
    [join(here, "node_modules/dts-bundle-generator/dist/bin/dts-bundle-generator.js"), "--silent", "--no-banner",
      "--umd-module-name", "Grtc", "--export-referenced-types", "false", "--project", join(here, "tsconfig.dts.json"),
      "-o", join(outdir, "grtc.d.ts"), join(here, "src/grtc/index.ts")],
    { stdio: "inherit", cwd: here },
  );
}

async function contents(folder) {
  const names = (await readdir(folder).catch(() => [])).sort();
  return new Map(await Promise.all(names.map(async (name) => [name, await readFile(join(folder, name))])));
}

if (process.argv.includes("--check")) {
  const aside = await mkdtemp(join(tmpdir(), "grtc-dist-"));
  try {
    await buildInto(aside);
    const [fresh, committed] = await Promise.all([contents(aside), contents(dist)]);
    const names = [...new Set([...fresh.keys(), ...committed.keys()])].sort();
    const stale = names.filter((name) => !fresh.get(name)?.equals(committed.get(name) ?? Buffer.alloc(0)));
    if (stale.length > 0) {
      console.error(`web/dist is stale (${stale.join(", ")}): run 'npm run build' in web/ and commit the result`);
      process.exitCode = 1;
    }
  } finally {
    await rm(aside, { recursive: true });
  }
} else {
  await rm(dist, { recursive: true, force: true });
  await buildInto(dist);
}
