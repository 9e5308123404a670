import { existsSync } from 'node:fs';
import { join } from 'node:path';

/** The folder in which the engines and the programs that tests compare with are installed. */
export const peers = join(import.meta.dirname, '..', 'peers');

export const hasPeers = existsSync(join(peers, 'node_modules'));

/** For the names of suites that need them: says why they are skipped when they are. */
export const unlessNoPeers = hasPeers ? '' : ' (skipped: no engines; npm --prefix test/peers ci)';
