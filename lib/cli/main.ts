#!/usr/bin/env node
import { runProgram } from './program.js';
import { processTerminal } from './terminal/terminal.js';

// Sets the exit code instead of exiting, so that all output reaches a pipe before the process ends.
runProgram(process.argv.slice(2), processTerminal()).then((code) => {
  process.exitCode = code;
});
