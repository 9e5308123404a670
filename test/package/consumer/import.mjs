import check from './check.cjs';
import * as entries from './entries.mjs';

console.log(await check(entries));
