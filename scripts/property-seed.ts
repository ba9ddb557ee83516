// Owns the chance of property tests: the same cases in every run, others when they are asked for.
import fc from "fast-check";

/** A landing must not be refused by a case that its change has nothing to do with; `pnpm property` is for finding those. */
const SEED = 20_260_101;
const { PROPERTY_SEED, PROPERTY_RUNS } = process.env;

// What a test says itself comes before this.
fc.configureGlobal({ seed: Number(PROPERTY_SEED ?? SEED), ...(PROPERTY_RUNS === undefined ? {} : { numRuns: Number(PROPERTY_RUNS) }) });
