import { defineConfig } from 'vitest/config';

// `unit` is mathematics and parsing, `jobs` runs whole jobs from file to file, `interop` asks other programs
// (Python's safetensors, transformers and peft, llama.cpp, onnxruntime) whether they accept what we write, `crash` kills
// jobs and resumes them. Native code can take a process down, so every file runs in a process of its own.
const project = (name: string, folder: string, timeout: number) => ({
  extends: true as const,
  test: { name, include: [`test/${folder}/**/*.test.ts`], testTimeout: timeout, hookTimeout: timeout },
});

export default defineConfig({
  test: {
    pool: 'forks',
    projects: [
      project('unit', 'unit', 60_000),
      project('jobs', 'jobs', 120_000),
      project('hazards', 'hazards', 180_000),
      project('interop', 'interop', 600_000),
      project('crash', 'crash', 1_800_000),
    ],
    coverage: { provider: 'v8', include: ['lib/**/*.ts'] },
  },
});
