/** What helpers of tests import of vitest, outside of it. */
export const afterAll = (): void => undefined;
