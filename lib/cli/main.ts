#!/usr/bin/env node
import { runProgram } from './program.js';
import { processTerminal } from './terminal/terminal.js';

// The exit code is set, not forced, so that what was printed reaches a pipe before the process ends.
runProgram(process.argv.slice(2), processTerminal()).then((code) => {
  process.exitCode = code;
});
