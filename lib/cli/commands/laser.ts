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
import { printMatrices } from '../terminal/matrix-table.js';
import { describeOutput } from '../terminal/output-summary.js';
import { ProgressLine } from '../terminal/progress.js';
import type { Column } from '../terminal/table.js';
import type { Output, Terminal } from '../terminal/terminal.js';

interface LaserFlags extends EditFlags {
  readonly restart?: boolean;
  readonly dryRun?: boolean;
  readonly json?: boolean;
}

const EXAMPLES = `
Examples:
  lowrank laser gpt-j -o gpt-j-laser --at 26:fc_in:0.01
  lowrank laser llama -o llama-laser --at -4..:mlp:0.1 --at 30:q_proj,k_proj:k=256
  lowrank laser llama -o llama-laser --at last:fc_out:energy=0.95
  lowrank laser gpt-j -o gpt-j-laser --lnum 26 --lname fc_in --rate 9.9
  lowrank laser model -o pruned --intervention dropout --tensor 'blocks.*.ffn.weight:0.9'
  lowrank laser model.Q4_K_M.gguf -o edited.gguf --at 20-27:mlp:0.1 --quant Q8_0

Types: q_proj k_proj v_proj out_proj fc_in fc_up fc_out, attn, mlp, all, and dont (a plain copy).
Some families have more: q_a_proj kv_a_proj, cross_attn (cross_q_proj ...), shared_in shared_up shared_out.
Layers: 26, 20-27, 0,2,5-7, last or -1, -4.. (the last four), 20.. or all.
Amounts: 0.01 is rho, the share of the rank to keep: k = floor(rho min(m, n)); k=40 is the rank
itself; energy=0.95 the smallest rank that keeps this share of the squared singular values.
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
  { title: 'shape', drop: 2 },
  { title: 'dtype', drop: 1 },
  { title: 'intervention' },
  { title: 'k', align: 'right' },
];

function printPlan({ edits, family, memory, output: { bytes } }: CheckpointPlan, output: Output): void {
  if (family !== undefined) output.lines([`family ${family}`]);
  const rows = edits.map((edit) => [
    formatShape(edit.shape),
    formatType(edit),
    edit.identity ? 'none (full rank)' : edit.intervention.kind,
    formatPlanned(edit),
  ]);
  printEdits(PLAN_COLUMNS, rows, edits, output);
  output.lines([
    `${edits.length} ${edits.length === 1 ? 'matrix' : 'matrices'}, nothing written`,
    `output ${formatBytes(bytes)}`,
    `memory predicted ${formatBytes(memory.total)} (buffers ${formatBytes(memory.buffers)}, native ${formatBytes(memory.native)})`,
  ]);
}

const REPORT_COLUMNS: readonly Column[] = [
  { title: 'shape', drop: 1 },
  { title: 'k', align: 'right' },
  { title: 'energy kept', align: 'right' },
  { title: 'relative error', align: 'right' },
  { title: 'method', drop: 3 },
  { title: 'seconds', align: 'right', drop: 2 },
];

function printReport(report: EditReport, output: Output): void {
  const { edits, memory, resumed } = report;
  const rows = edits.map((edit) => [
    formatShape(edit.shape),
    formatRank(edit),
    formatShare(edit.keptEnergy),
    formatError(edit.relativeError),
    methodOf(edit),
    edit.seconds.toFixed(2),
  ]);
  printEdits(REPORT_COLUMNS, rows, edits, output);
  if (resumed !== undefined) {
    const { tensors, bytes } = resumed;
    output.lines([`resumed: ${tensors} ${tensors === 1 ? 'tensor' : 'tensors'} (${formatBytes(bytes)}) already done`]);
  }
  output.lines([
    `memory predicted ${formatBytes(memory.predicted.total)}, measured ${formatBytes(memory.measured.peakRss)} (native ${formatBytes(memory.measured.nativePeak)})`,
    ...describeOutput(report, report.seconds, output),
  ]);
}

/** Prints one row for each edit, with a column of uses if a weight is used in several places. */
function printEdits(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  edits: readonly Pick<EditedMatrix, 'tensor' | 'slice' | 'layer' | 'type' | 'uses'>[],
  output: Output,
): void {
  const shared = edits.some(({ uses }) => uses !== undefined);
  const all: readonly Column[] = shared ? [...columns, { title: 'uses', align: 'right' }] : columns;
  const matrices = edits.map((edit, i) => ({
    name: nameOf(edit),
    layer: edit.layer,
    types: edit.type === undefined ? [] : [edit.type],
    cells: shared ? [...rows[i]!, String(edit.uses ?? '')] : rows[i]!,
  }));
  printMatrices(all, matrices, output);
}

/** `Q4_K as Q8_0` if the type changes. */
function formatType({ dtype, writtenAs, identity }: Edit): string {
  return identity || writtenAs === dtype ? dtype : `${dtype} as ${writtenAs}`;
}

function formatRank({ rank, shape }: Pick<Edit, 'rank' | 'shape'>): string {
  return rank === undefined ? '' : `${rank} of ${Math.min(...shape.slice(-2))}`;
}

/** An energy becomes a rank when the matrix is decomposed. */
function formatPlanned(edit: Edit): string {
  const { amount } = edit.intervention;
  return 'energy' in amount ? `by energy ${amount.energy}` : formatRank(edit);
}

function methodOf({ certificate, intervention, rank, shape }: EditedMatrix): string {
  if (certificate !== undefined) return certificate.method;
  return rank === Math.min(...shape.slice(-2)) ? 'unchanged' : intervention;
}
