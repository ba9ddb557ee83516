// Owns the text that tells mount(8) what to mount, in order.

export interface MountLine { readonly source: string; readonly target: string; readonly type: string; readonly options: readonly string[] }

const escape = (s: string): string => s.replace(/[\s\\#]/g, (c) => `\\${c.charCodeAt(0).toString(8).padStart(3, "0")}`);

/** Refuses what fstab cannot say: a NUL byte. */
export function renderFstab(lines: readonly MountLine[]): string {
  return lines.map((m) => {
    if (`${m.source}${m.target}`.includes("\0")) throw new Error("a mount path has a NUL byte");
    return `${escape(m.source)} ${escape(m.target)} ${m.type} ${m.options.map(escape).join(",")} 0 0\n`;
  }).join("");
}

/** overlayfs reads `:` and `,` in its options; a backslash keeps them. */
export const overlayPath = (path: string): string => path.replace(/[\\:,]/g, (c) => `\\${c}`);
