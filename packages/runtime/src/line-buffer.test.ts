import assert from "node:assert/strict";
import { LineBuffer } from "./line-buffer.ts";
import { seededRandom } from "./random.ts";

/** A buffer, and all that went out of it so far, piece by piece. */
function rig() {
  const out: string[] = [];
  return { lines: new LineBuffer((bytes) => out.push(Buffer.from(bytes).toString())), out };
}

describe("lines as octets", () => {
  it("come out as they were written, whatever the parts: short, long, of one octet a character or several, longer than the whole buffer", () => {
    const { lines, out } = rig();
    const random = seededRandom(3);
    const letters = ["a", "é", "€", "😀", "\u0080", "\ud800", "x".repeat(40), "ü".repeat(50), "y".repeat(100_000), "ß".repeat(200_000)];
    let expected = "";
    for (let i = 0; i < 400; i++) {
      const text = Array.from({ length: Math.floor(random() * 4) }, () => letters[Math.floor(random() ** (i % 50 === 0 ? 0.3 : 3) * letters.length)] ?? "").join(String(i));
      if (random() < 0.5) lines.text(text);
      else lines.octets(Buffer.from(text));
      expected += Buffer.from(text).toString();
      if (random() < 0.3) { lines.text("\n"); lines.end(); expected += "\n"; }
    }
    lines.flush();
    assert.equal(out.join("") === expected, true);
    assert.ok(out.length > 10, "it was full more than once");
  });

  it("wait for the turn's end, but not all that a turn has to say, and go out by whole lines", () => {
    const { lines, out } = rig();
    const line = `${"x".repeat(999)}\n`;
    for (let i = 0; i < 200; i++) { lines.text(line); lines.end(); }
    assert.ok(out.length > 1 && out.every((piece) => piece.endsWith("\n")), `${out.length}`);
    lines.flush();
    lines.flush();
    assert.equal(out.join(""), line.repeat(200));
  });
});
