import check from './check.js';
import * as entries from './entries.mjs';

console.log(await check(entries));
