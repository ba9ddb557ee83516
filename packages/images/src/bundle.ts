// Owns bundling: a component's TypeScript and the packages it uses become one file a thread.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { build, type Plugin } from "esbuild";

export interface Bundle {
  /** By file name, e.g. main.mjs. */
  readonly files: Readonly<Record<string, Uint8Array>>;
  /** Folders of the npm packages that are in it, or are loaded by it, relative to the repository. */
  readonly packages: readonly string[];
}

/** Packages of CommonJS call `require` for Node's own modules. */
const REQUIRE = 'import { createRequire as ambitCreateRequire } from "node:module"; const require = ambitCreateRequire(import.meta.url);';

/** A thread's file is named in the source as TypeScript; in the image its bundle lies beside the one that starts it. */
const THREADS = /new URL\("\.\/([\w-]+)\.ts", import\.meta\.url\)/g;
const threads = (known: readonly string[]): Plugin => ({
  name: "threads",
  setup(b) {
    b.onLoad({ filter: /packages\/[^/]+\/src\/.*\.ts$/ }, ({ path }) => {
      const text = readFileSync(path, "utf8");
      return { loader: "ts", contents: text.replace(THREADS, (_, name: string) => {
        if (!known.includes(name)) throw new Error(`${path} starts the thread ${name}.ts, which has no bundle`);
        return `new URL("./${name}.mjs", import.meta.url)`;
      }) };
    });
  },
});

/** `sources`: by bundle name, relative to `repo`. `plain`: one CommonJS file without threads, for a single executable. */
export async function bundle(repo: string, sources: Readonly<Record<string, string>>, plain = false): Promise<Bundle> {
  const done = await build({
    absWorkingDir: repo, entryPoints: Object.fromEntries(Object.entries(sources).map(([name, source]) => [name, source])),
    bundle: true, platform: "node", target: "node24", format: plain ? "cjs" : "esm", outdir: "out", outExtension: { ".js": plain ? ".cjs" : ".mjs" },
    write: false, metafile: true, legalComments: "none", logLevel: "silent", sourcemap: false,
    // Names and lines stay readable in stack traces.
    minify: false, external: ["koffi", "@grpc/proto-loader"], ...(plain ? {} : { banner: { js: REQUIRE } }), plugins: [threads(Object.keys(sources))],
  });
  const packages = new Set<string>();
  for (const input of Object.keys(done.metafile.inputs)) {
    const found = /^(.*node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(input)?.[1];
    if (found !== undefined) packages.add(found);
  }
  const files = Object.fromEntries(done.outputFiles.map((f) => [f.path.slice(join(repo, "out/").length), f.contents]));
  return { files, packages: [...packages].sort() };
}
