import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';

// `unit` is mathematics and parsing, `jobs` runs whole jobs from file to file, `hazards` tries what
// could crash or hang a process, `large` needs gigabytes or more than 20 s, `interop` asks other
// programs (Python's safetensors, transformers and peft, llama.cpp, onnxruntime) whether they accept
// our output, `crash` kills jobs and resumes them. Native code can crash a process, so every file
// runs in its own.
interface Project {
  /** Time limit of a test or a hook, in seconds. */
  readonly seconds: number;
  /** Files that run at once. Default: 1, for tests that watch the clock or fill the memory. */
  readonly workers?: number;
  /** Projects of one group run side by side, groups one after the other. */
  readonly group: number;
}

// Two on two cores, where vitest's default is one.
const workers = Math.max(2, availableParallelism() - 1);

const PROJECTS: Readonly<Record<string, Project>> = {
  unit: { seconds: 60, workers, group: 0 },
  jobs: { seconds: 120, workers, group: 0 },
  hazards: { seconds: 180, group: 1 },
  large: { seconds: 600, group: 2 },
  interop: { seconds: 600, group: 2 },
  crash: { seconds: 1800, group: 2 },
};

export default defineConfig({
  test: {
    pool: 'forks',
    setupFiles: ['test/support/setup.ts'],
    projects: Object.entries(PROJECTS).map(([name, { seconds, workers = 1, group }]) => ({
      extends: true as const,
      test: {
        name,
        include: [`test/${name}/**/*.test.ts`],
        testTimeout: 1000 * seconds,
        hookTimeout: 1000 * seconds,
        maxWorkers: workers,
        sequence: { groupOrder: group },
      },
    })),
    coverage: { provider: 'v8', include: ['lib/**/*.ts'] },
  },
});
