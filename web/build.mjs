// Bundles the portal's scripts into the package: `npm run portal`, after a change of web/ or of a package.

import { build } from "esbuild";
import { fileURLToPath } from "node:url";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));

await build({
  entryPoints: [here("app.js"), here("demo.js")],
  outdir: process.argv[2] ?? here("../duly/interfaces/web/static"),
  bundle: true,
  minify: true,
  format: "iife",
  target: "es2022",
  charset: "utf8",
  legalComments: "none",
  logLevel: "warning",
});
