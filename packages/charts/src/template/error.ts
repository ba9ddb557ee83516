// Owns how a template's fault is told: file and line first.

/** Something in a template that is wrong, or outside the part of Go's template language that we read. */
export class TemplateError extends Error {
  readonly file: string;
  readonly line: number;
  constructor(file: string, line: number, message: string) {
    super(`${file}:${line}: ${message}`);
    this.file = file;
    this.line = line;
  }
}
