const check = require('./check.cjs');

check({
  lowrank: require('lowrank'),
  adapters: require('lowrank/adapters'),
  checkpoint: require('lowrank/checkpoint'),
  evaluate: require('lowrank/evaluate'),
  search: require('lowrank/search'),
}).then(console.log);
