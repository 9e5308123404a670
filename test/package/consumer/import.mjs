import * as lowrank from 'lowrank';
import check from './check.js';

console.log(await check(lowrank));
