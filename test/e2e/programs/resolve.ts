// Resolves names inside a pod, one JSON line per question: `resolve.ts lookup|A|AAAA|CNAME|SRV NAME [TIMES]`.
// `lookup` asks as applications do, with the search domains; the others ask for exactly the name.
import { lookup, Resolver } from "node:dns/promises";

const [how = "lookup", name = "", times = "1"] = process.argv.slice(2);
const resolver = new Resolver({ tries: 1, timeout: 8_000 });
const ask = async (): Promise<unknown> => {
  switch (how) {
    case "A": return (await resolver.resolve4(name)).sort();
    case "AAAA": return (await resolver.resolve6(name)).sort();
    case "CNAME": return resolver.resolveCname(name);
    case "SRV": return (await resolver.resolveSrv(name)).map((r) => `${r.name}:${r.port}`);
    default: return (await lookup(name, { all: true, family: 4 })).map((a) => a.address).sort();
  }
};
for (let i = 0; i < Number(times); i++) {
  const began = performance.now();
  const outcome = await ask().then((found) => ({ found }), (error: unknown) => ({ code: (error as { code?: string }).code ?? String(error) }));
  process.stdout.write(`${JSON.stringify({ ...outcome, ms: Math.round(performance.now() - began) })}\n`);
}
