// Owns holding a reader of our own to the library's on spoilt messages.
import assert from "node:assert/strict";
import { seededRandom } from "@ambit/runtime";

/** Each reads a message, or says "refused". */
export type Reading = (bytes: Uint8Array) => unknown;

/** 20,000 times: octets of a good message changed, the message cut short, or two in a row. */
export function readsAlike(seed: number, good: Uint8Array, reference: Reading, ours: Reading): void {
  const random = seededRandom(seed);
  let refused = 0;
  let stricter = 0;
  for (let i = 0; i < 20_000; i++) {
    let bytes = Buffer.from(good);
    for (let k = 0; k <= random() * 3; k++) bytes[Math.floor(random() * bytes.length)] = Math.floor(random() * 256);
    if (random() < 0.2) bytes = bytes.subarray(0, Math.floor(random() * bytes.length));
    if (random() < 0.1) bytes = Buffer.concat([bytes, good]);
    const expected = reference(bytes);
    const got = ours(bytes);
    if (expected === "refused") refused++;
    // The library lets a nested message run past its end into what comes after it, or was cut out: then we refuse.
    if (got === "refused") stricter++;
    else assert.deepEqual(got, expected, `step ${i}: ${bytes.toString("hex")}`);
  }
  assert.ok(refused > 1000 && refused < 19_000 && stricter - refused < 100, `${refused} refused, ${stricter} by us`);
}
