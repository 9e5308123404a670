/**
 * How many times as long code may take as in `npm test`: while V8 counts every block that runs, for
 * `npm run test:coverage`, loops of small steps take several times as long.
 */
export const SLOWNESS = process.env.NODE_V8_COVERAGE === undefined ? 1 : 4;
