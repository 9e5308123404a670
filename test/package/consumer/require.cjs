const check = require('./check.js');

check(require('lowrank')).then(console.log);
