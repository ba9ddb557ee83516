import assert from "node:assert/strict";
import { World } from "../simulation.ts";
import { planCronJob, type CronJob } from "./cron-job.ts";
import { nextAfter, parseSchedule } from "./cron.ts";
import { CRON_JOB, JOB } from "./kinds.ts";
import type { Job } from "./model.ts";

const next = (schedule: string, after: string, zone?: string): string => {
  const parsed = parseSchedule(schedule);
  if ("problem" in parsed) return parsed.problem;
  const at = nextAfter(parsed, Date.parse(after), zone);
  return at === undefined ? "never" : new Date(at).toISOString().slice(0, 16);
};
const TABLE: [string, string, string, string?][] = [
  ["*/5 * * * *", "2026-01-01T00:02:30Z", "2026-01-01T00:05"],
  ["0 * * * *", "2026-01-01T00:00:00Z", "2026-01-01T01:00"],
  ["30 4 1,15 * *", "2026-01-02T00:00:00Z", "2026-01-15T04:30"],
  ["0 9 * * mon-fri", "2026-01-02T10:00:00Z", "2026-01-05T09:00"],
  ["0 0 13 * 5", "2026-01-01T00:00:00Z", "2026-01-02T00:00"],
  ["0 0 * * 7", "2026-01-01T00:00:00Z", "2026-01-04T00:00"],
  ["0 0 29 2 *", "2026-01-01T00:00:00Z", "2028-02-29T00:00"],
  ["0 0 31 2 *", "2026-01-01T00:00:00Z", "never"],
  ["10-20/5 3 * jan *", "2026-01-01T03:15:00Z", "2026-01-01T03:20"],
  ["@daily", "2026-06-01T12:00:00Z", "2026-06-02T00:00"],
  ["0 8 * * *", "2026-07-01T00:00:00Z", "2026-07-01T06:00", "Europe/Berlin"],
  ["0 8 * * *", "2026-01-01T00:00:00Z", "2026-01-01T07:00", "Europe/Berlin"],
  ["0 0 1 * *", "2026-03-15T00:00:00Z", "2026-03-31T14:00", "Asia/Tokyo".replace("Tokyo", "Vladivostok")],
  ["* * * *", "2026-01-01T00:00:00Z", '"* * * *" has 4 fields instead of 5'],
  ["60 * * * *", "2026-01-01T00:00:00Z", '"60 * * * *": "60" is not from 0 to 59'],
  ["5-1 * * * *", "2026-01-01T00:00:00Z", '"5-1 * * * *": "5-1" is an empty range'],
  ["*/0 * * * *", "2026-01-01T00:00:00Z", '"*/0 * * * *": "*/0" is an empty range'],
  ["x * * * *", "2026-01-01T00:00:00Z", '"x * * * *": "x" is not from 0 to 59'],
];

describe("cron schedules", () => {
  for (const [schedule, after, expected, zone] of TABLE) it(`${schedule} after ${after} ${zone ?? ""}`, () => assert.equal(next(schedule, after, zone), expected));
});

describe("planCronJob", () => {
  const world = (spec: Record<string, unknown> = {}): World => {
    const w = new World();
    w.put(CRON_JOB, { metadata: { name: "tick" }, spec: { schedule: "* * * * *", jobTemplate: { spec: { template: { spec: { containers: [] } } } }, ...spec } });
    return w;
  };
  const run = (w: World): void => w.settle(() => w.all<CronJob>(CRON_JOB).map((cron) => planCronJob({ cron, jobs: w.all<Job>(JOB), now: w.now })));
  const finish = (w: World, name: string, type = "Complete"): void => w.edit(JOB, name, (j) => Object.assign(j, { status: { completionTime: "2026-01-01T00:00:30Z", conditions: [{ type, status: "True" }] } }));
  const jobs = (w: World): string[] => w.all(JOB).map((j) => j.metadata.name);

  it("starts one Job a minute, once, and says when to look again", () => {
    const w = world();
    run(w);
    assert.deepEqual(jobs(w), []);
    w.now += 61_000;
    run(w);
    run(w);
    assert.equal(jobs(w).length, 1);
    const cron = w.get<CronJob>(CRON_JOB, "tick");
    assert.equal(cron.status?.lastScheduleTime, "2026-01-01T00:01:00Z");
    assert.equal(cron.status?.active?.length, 1);
    assert.equal(planCronJob({ cron, jobs: w.all<Job>(JOB), now: w.now }).againInMs, 59_000);
  });

  it("after a long sleep starts only the latest, and honours the starting deadline", () => {
    const w = world();
    w.now += 5 * 3_600_000 + 30_000;
    run(w);
    assert.equal(jobs(w).length, 1);
    assert.equal(w.get<CronJob>(CRON_JOB, "tick").status?.lastScheduleTime, "2026-01-01T05:00:00Z");
    const late = world({ schedule: "0 * * * *", startingDeadlineSeconds: 60 });
    late.now += 3_600_000 + 90_000;
    run(late);
    assert.deepEqual(jobs(late), []);
  });

  it("obeys suspend, Forbid and Replace", () => {
    const suspended = world({ suspend: true });
    suspended.now += 90_000;
    run(suspended);
    assert.deepEqual(jobs(suspended), []);
    for (const [policy, expected] of [["Forbid", 1], ["Replace", 1], ["Allow", 2]] as const) {
      const w = world({ concurrencyPolicy: policy });
      w.now += 61_000;
      run(w);
      w.now += 60_000;
      run(w);
      assert.equal(jobs(w).length, expected, policy);
    }
  });

  it("keeps as many ended Jobs as it is told", () => {
    const w = world({ successfulJobsHistoryLimit: 1, failedJobsHistoryLimit: 0 });
    for (let i = 0; i < 3; i++) {
      w.now += 60_000;
      run(w);
      const latest = jobs(w).at(-1) ?? "";
      finish(w, latest, i === 2 ? "Failed" : "Complete");
      run(w);
    }
    assert.equal(jobs(w).length, 1);
  });

  it("says what is wrong with a schedule or a zone", () => {
    for (const spec of [{ schedule: "nonsense" }, { timeZone: "Mars/Olympus" }]) {
      const w = world(spec);
      run(w);
      assert.match(w.events.join(), /UnparseableSchedule/);
    }
  });
});
