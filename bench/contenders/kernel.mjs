// Prints the kernels that the addon has OpenBLAS use on this processor.

import { addon } from '../../dist/addon/load.js';

process.stdout.write(`${addon().info().kernel}\n`);
