import type { Command } from 'commander';
import { writeReport } from '../../report/report.js';
import { printable } from '../../text/printable.js';
import type { Terminal } from '../terminal/terminal.js';

const EXAMPLES = `
Examples:
  lowrank report found
  lowrank report found -o found.html
  lowrank laser model -o edited --at 26:fc_in:0.01 --json > edited.json && lowrank report edited.json

The report is one file that loads nothing and runs nothing. A search need not be finished.`;

/** `lowrank report`: shows a search, or an edit, as one page of HTML. */
export function addReportCommand(program: Command, terminal: Terminal): void {
  program
    .command('report')
    .description('write a search, finished or not, or an edit as one page of HTML')
    .argument('<search>', 'the output folder of a search, or the file that `lowrank laser --json` printed')
    .option('-o, --out <file>', 'where to write it; report.html beside the log unless given')
    .option('--json', 'print one JSON document on standard output')
    .addHelpText('after', EXAMPLES)
    .action((from: string, flags: ReportFlags) => runReport(from, flags, terminal));
}

interface ReportFlags {
  readonly out?: string;
  readonly json?: boolean;
}

async function runReport(from: string, { out, json }: ReportFlags, terminal: Terminal): Promise<void> {
  const report = await writeReport(from, out);
  if (json) terminal.out.lines([JSON.stringify({ report }, null, 2)]);
  else terminal.out.lines([`${terminal.out.colors.green('wrote')} ${printable(report)}`]);
}
