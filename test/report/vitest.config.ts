import { defineConfig } from 'vitest/config';

// Shows reports in a real browser: npx vitest run --config test/report/vitest.config.ts
export default defineConfig({
  test: { include: ['test/report/**/*.test.ts'], pool: 'forks', testTimeout: 120_000, hookTimeout: 120_000 },
});
