/**
 * How many times as long code may take as the limits say. They were set on a fast server; loops of
 * small steps take half as long again on older ones, and more beside other work. While V8 counts every
 * block that runs, for `npm run test:coverage`, they take several times as long.
 */
export const SLOWNESS = process.env.NODE_V8_COVERAGE === undefined ? 2 : 4;
