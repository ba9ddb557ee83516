// A mocha reporter: one line per file while it runs, failures in full, and the counts as JSON for the closing line.
import { writeFileSync } from "node:fs";
import { relative } from "node:path";
import Mocha from "mocha";

export default class Reporter extends Mocha.reporters.Base {
  constructor(runner, options) {
    super(runner, options);
    const counts = { passes: 0, failures: 0, pending: 0 };
    let file;
    let inFile = { passes: 0, failures: 0, start: Date.now() };
    const flush = () => {
      if (file !== undefined) process.stdout.write(`${inFile.failures > 0 ? "✗" : "✓"} ${relative(process.cwd(), file)} (${inFile.passes} passed${inFile.failures > 0 ? `, ${inFile.failures} FAILED` : ""}, ${Date.now() - inFile.start} ms)\n`);
    };
    const enter = (test) => {
      if (test.file === file || test.file === undefined) return;
      flush();
      file = test.file;
      inFile = { passes: 0, failures: 0, start: Date.now() };
    };
    runner.on("test", enter);
    runner.on("pass", (test) => { enter(test); counts.passes++; inFile.passes++; });
    runner.on("fail", (test) => { enter(test); counts.failures++; inFile.failures++; });
    runner.on("retry", (test, error) => process.stdout.write(`! second try: ${test.fullTitle()}: ${String(error?.message).split("\n")[0]}\n`));
    runner.on("pending", (test) => { counts.pending++; process.stdout.write(`- skipped: ${test.fullTitle()}\n`); });
    runner.once("end", () => {
      flush();
      if (this.failures.length > 0) Mocha.reporters.Base.list(this.failures);
      if (options?.reporterOptions?.output) writeFileSync(options.reporterOptions.output, JSON.stringify(counts));
    });
  }
}
