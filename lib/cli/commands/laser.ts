import type { Command } from 'commander';
import {
  type CheckpointPlan,
  type EditedMatrix,
  type EditReport,
  editCheckpoint,
  planCheckpoint,
} from '../../edit/edit-checkpoint.js';
import { type Edit, nameOf } from '../../interventions/edit.js';
import { formatBytes, formatError, formatShape, formatShare } from '../../text/format.js';
import { addEditOptions, type EditFlags, planOptions } from '../edit-options.js';
import { printResult, runJob } from '../job.js';
import { dryRunOption, jsonOption, requireOut, restartOption } from '../options.js';
import { RESUME_HINT } from '../resume-hint.js';
import { GLOBS, printSkipped } from '../terminal/globs.js';
import { describeOutput } from '../terminal/output-summary.js';
import { ProgressLine } from '../terminal/progress.js';
import { type Column, formatTable } from '../terminal/table.js';
import type { Output, Terminal } from '../terminal/terminal.js';

interface LaserFlags extends EditFlags {
  readonly restart?: boolean;
  readonly dryRun?: boolean;
  readonly json?: boolean;
}

const EXAMPLES = `
Examples:
  lowrank laser gpt-j -o gpt-j-laser --at 26:fc_in:0.01
  lowrank laser llama -o llama-laser --at 28-31:mlp:0.1 --at 30:q_proj,k_proj:0.5
  lowrank laser gpt-j -o gpt-j-laser --lnum 26 --lname fc_in --rate 9.9
  lowrank laser model -o pruned --intervention dropout --tensor 'blocks.*.ffn.weight:0.9'
  lowrank laser model.Q4_K_M.gguf -o edited.gguf --at 20-27:mlp:0.1 --quant Q8_0

Types: q_proj k_proj v_proj out_proj fc_in fc_up fc_out, attn, mlp, all, and dont (a plain copy).
Some families have more: q_a_proj kv_a_proj, cross_attn (cross_q_proj ...), shared_in shared_up shared_out.
Layers: 26, 20-27, 0,2,5-7 or all. rho is the share of the rank to keep: k = floor(rho min(m, n)).
${GLOBS}
To resume a stopped job, run the same command again.`;

/** `lowrank laser`: edits matrices of a checkpoint and writes the result. */
export function defineLaser(command: Command, terminal: Terminal): void {
  addEditOptions(command)
    .addOption(restartOption())
    .addOption(dryRunOption())
    .addOption(jsonOption())
    .addHelpText('after', EXAMPLES)
    .action((checkpoint: string, flags: LaserFlags) => runLaser(checkpoint, flags, terminal));
}

async function runLaser(checkpoint: string, flags: LaserFlags, terminal: Terminal): Promise<void> {
  const options = planOptions(flags);
  if (flags.dryRun) {
    const plan = await planCheckpoint(checkpoint, options);
    printSkipped(plan.skipped, 'matrices', terminal.err);
    printResult(terminal, flags, plan, () => printPlan(plan, terminal.out));
    return;
  }
  const out = requireOut(flags.out, ' or --dry-run');
  const report = await runJob(terminal, {
    progress: new ProgressLine(terminal.err),
    stopping: 'stopping and keeping finished work',
    stopped: `stopped; ${RESUME_HINT}`,
    resumes: () => out,
    work: (signal, onProgress) =>
      editCheckpoint(checkpoint, out, { ...options, restart: flags.restart, signal, onProgress }),
  });
  printSkipped(report.skipped, 'matrices', terminal.err);
  printResult(terminal, flags, report, () => printReport(report, terminal.out));
}

const PLAN_COLUMNS: readonly Column[] = [
  { title: 'tensor' },
  { title: 'shape' },
  { title: 'dtype' },
  { title: 'intervention' },
  { title: 'k', align: 'right' },
];

function printPlan({ edits, family, memory, output: { bytes } }: CheckpointPlan, output: Output): void {
  const { bold } = output.colors;
  if (family !== undefined) output.lines([`family ${family}`]);
  const rows = edits.map((edit) => [
    nameOf(edit),
    formatShape(edit.shape),
    formatType(edit),
    edit.identity ? 'none (full rank)' : edit.intervention.kind,
    formatRank(edit),
  ]);
  if (rows.length > 0) output.lines(formatTable(...withUses(PLAN_COLUMNS, rows, edits), output.columns, bold));
  output.lines([
    `${edits.length} ${edits.length === 1 ? 'matrix' : 'matrices'}, nothing written`,
    `output ${formatBytes(bytes)}`,
    `memory predicted ${formatBytes(memory.total)} (buffers ${formatBytes(memory.buffers)}, native ${formatBytes(memory.native)})`,
  ]);
}

const REPORT_COLUMNS: readonly Column[] = [
  { title: 'tensor' },
  { title: 'shape' },
  { title: 'k', align: 'right' },
  { title: 'energy kept', align: 'right' },
  { title: 'relative error', align: 'right' },
  { title: 'method' },
  { title: 'seconds', align: 'right' },
];

function printReport(report: EditReport, output: Output): void {
  const { edits, memory, resumed } = report;
  const { bold } = output.colors;
  const rows = edits.map((edit) => [
    nameOf(edit),
    formatShape(edit.shape),
    formatRank(edit),
    formatShare(edit.keptEnergy),
    formatError(edit.relativeError),
    methodOf(edit),
    edit.seconds.toFixed(2),
  ]);
  if (rows.length > 0) output.lines(formatTable(...withUses(REPORT_COLUMNS, rows, edits), output.columns, bold));
  if (resumed !== undefined) {
    const { tensors, bytes } = resumed;
    output.lines([`resumed: ${tensors} ${tensors === 1 ? 'tensor' : 'tensors'} (${formatBytes(bytes)}) already done`]);
  }
  output.lines([
    `memory predicted ${formatBytes(memory.predicted.total)}, measured ${formatBytes(memory.measured.peakRss)} (native ${formatBytes(memory.measured.nativePeak)})`,
    ...describeOutput(report, report.seconds, output),
  ]);
}

/** Adds a column of uses if a weight is used in several places. */
function withUses(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  edits: readonly { readonly uses?: number }[],
): [columns: readonly Column[], rows: readonly (readonly string[])[]] {
  if (edits.every(({ uses }) => uses === undefined)) return [columns, rows];
  const uses: Column = { title: 'uses', align: 'right' };
  return [[...columns, uses], rows.map((row, i) => [...row, String(edits[i]!.uses ?? '')])];
}

/** `Q4_K as Q8_0` if the type changes. */
function formatType({ dtype, writtenAs, identity }: Edit): string {
  return identity || writtenAs === dtype ? dtype : `${dtype} as ${writtenAs}`;
}

function formatRank({ rank, shape }: Pick<Edit, 'rank' | 'shape'>): string {
  return rank === undefined ? '' : `${rank} of ${Math.min(...shape.slice(-2))}`;
}

function methodOf({ certificate, intervention, rank, shape }: EditedMatrix): string {
  if (certificate !== undefined) return certificate.method;
  return rank === Math.min(...shape.slice(-2)) ? 'unchanged' : intervention;
}
