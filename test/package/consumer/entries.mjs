export * as lowrank from 'lowrank';
export * as adapters from 'lowrank/adapters';
export * as checkpoint from 'lowrank/checkpoint';
export * as evaluate from 'lowrank/evaluate';
export * as search from 'lowrank/search';
