import type { Command } from 'commander';
import { writeReport } from '../../report/report.js';
import { printable } from '../../text/printable.js';
import { printResult } from '../job.js';
import { jsonOption } from '../options.js';
import type { Terminal } from '../terminal/terminal.js';

const EXAMPLES = `
Examples:
  lowrank report found
  lowrank report found -o found.html
  lowrank laser model -o edited --at 26:fc_in:0.01 --json > edited.json && lowrank report edited.json
  lowrank compare model small --texts held-out.txt --json > compared.json && lowrank report compared.json

The report is a single file that loads nothing and runs no code. The search may still be running.`;

/** `lowrank report`: renders a search, an edit or a comparison as one HTML page. */
export function defineReport(command: Command, terminal: Terminal): void {
  command
    .argument(
      '<search>',
      'output folder of a search, or a file with the output of `lowrank laser` or `compare` with --json',
    )
    .option('-o, --out <file>', 'output file; default: report.html beside the log or file')
    .addOption(jsonOption())
    .addHelpText('after', EXAMPLES)
    .action((from: string, flags: ReportFlags) => runReport(from, flags, terminal));
}

interface ReportFlags {
  readonly out?: string;
  readonly json?: boolean;
}

async function runReport(from: string, flags: ReportFlags, terminal: Terminal): Promise<void> {
  const report = await writeReport(from, flags.out);
  const { out } = terminal;
  printResult(terminal, flags, { report }, () => out.lines([`${out.colors.green('wrote')} ${printable(report)}`]));
}
