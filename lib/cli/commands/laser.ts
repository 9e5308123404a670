import { type Command, Option } from 'commander';
import { FORMATS_IN_WORDS } from '../../checkpoint/formats.js';
import type { PlanOptions } from '../../edit/plan.js';
import {
  type CheckpointPlan,
  type EditedMatrix,
  type EditReport,
  editCheckpoint,
  planCheckpoint,
} from '../../edit/run.js';
import { LowRankError } from '../../errors.js';
import { type Edit, nameOf } from '../../interventions/edit.js';
import { asKind, DEFAULT_KIND, KIND_NAMES, kindOf } from '../../interventions/kinds/kinds.js';
import { type Intervention, paperIntervention, parseAt, parseTensorSpec } from '../../interventions/spec.js';
import { METHODS, type Method } from '../../lowrank/approximate.js';
import { FAMILIES } from '../../model/families.js';
import type { WritableType } from '../../tensor/dtype.js';
import { formatBytes, formatError, formatShape, formatShare } from '../../text/format.js';
import { byteSize } from '../byte-size.js';
import { interruptible } from '../interrupt.js';
import { collect, decimal, wholeNumber } from '../options.js';
import { RESUME_HINT, withResumeHint } from '../resume-hint.js';
import { GLOBS, printSkipped } from '../terminal/globs.js';
import { describeOutput } from '../terminal/output-summary.js';
import { ProgressLine } from '../terminal/progress.js';
import { type Column, formatTable } from '../terminal/table.js';
import type { Output, Terminal } from '../terminal/terminal.js';

/** Flags that select matrices and say how to edit them. */
export interface EditFlags {
  readonly out?: string;
  readonly at?: readonly string[];
  readonly tensor?: readonly string[];
  readonly lnum?: number;
  readonly lname?: string;
  readonly rate?: number;
  readonly intervention: string;
  readonly method: Method;
  readonly seed?: number;
  readonly threads?: number;
  readonly memory?: number;
  readonly quant?: WritableType;
  readonly shared?: boolean;
  readonly family?: string;
}

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
Layers: 26, 20-27, 0,2,5-7 or all. rho is the share of the rank to keep: k = floor(rho min(m, n)).
${GLOBS}
To resume a stopped job, run the same command again.`;

/** `lowrank laser`: edits matrices of a checkpoint and writes the result. */
export function defineLaser(command: Command, terminal: Terminal): void {
  addEditOptions(command.argument('<checkpoint>', CHECKPOINT))
    .option('--restart', 'discard the unfinished work of a stopped job and start again')
    .option('--dry-run', 'print the plan without writing anything')
    .option('--json', 'print one JSON document on standard output')
    .addHelpText('after', EXAMPLES)
    .action((checkpoint: string, flags: LaserFlags) => runLaser(checkpoint, flags, terminal));
}

/** Help of `--shared`, for every command that edits. */
export const SHARED = 'allow editing an ONNX weight that is used in several places; changes all of them';

export const CHECKPOINT = `${FORMATS_IN_WORDS} file, or a folder; never modified`;

/** Adds the options that select matrices and say how to edit them. */
export function addEditOptions(command: Command): Command {
  return command
    .option('-o, --out <path>', 'output path; must not exist')
    .option('--at <layers:types:rho>', 'edit by layer and type; may be repeated', collect)
    .option('--tensor <glob:rho>', 'edit tensors by name; may be repeated', collect)
    .option('--lnum <n>', "the paper's flag: layer, -1 for all", wholeNumber(-1))
    .option('--lname <type>', "the paper's flag: type")
    .option('--rate <rate>', "the paper's flag: 0 keeps everything, 10 nothing, 9.9 one hundredth", decimal)
    .addOption(new Option('--intervention <kind>', 'kind of edit').choices(KIND_NAMES).default(DEFAULT_KIND))
    .addOption(new Option('--method <method>', 'decomposition method').choices(METHODS).default('auto'))
    .option('--seed <n>', 'seed for the random start of krylov and for --intervention random', wholeNumber(0))
    .option('--threads <n>', 'number of threads for linear algebra', wholeNumber(1))
    .option('--memory <size>', 'memory limit of the process, such as 2GB; jobs that do not fit are refused', byteSize)
    .addOption(
      new Option('--quant <type>', 'type in which to write quantised tensors that are edited').choices([
        'Q8_0',
        'F16',
        'BF16',
        'F32',
      ]),
    )
    .option('--shared', SHARED)
    .addOption(
      new Option('--family <name>', 'model family, if config.json does not name it').choices(
        FAMILIES.map(({ name }) => name),
      ),
    );
}

/** Translates flags into library options. */
export function planOptions(flags: EditFlags): PlanOptions {
  const { family, method, seed, threads, quant, shared, memory: maxMemory } = flags;
  return { interventions: readInterventions(flags), family, method, seed, threads, quant, shared, maxMemory };
}

async function runLaser(checkpoint: string, flags: LaserFlags, terminal: Terminal): Promise<void> {
  const options = planOptions(flags);
  const { out, restart } = flags;
  if (flags.dryRun) {
    const plan = await planCheckpoint(checkpoint, options);
    printSkipped(plan.skipped, 'matrices', terminal.err);
    if (flags.json) terminal.out.lines([JSON.stringify(plan, null, 2)]);
    else printPlan(plan, terminal.out);
    return;
  }
  if (out === undefined) throw wrongUsage('missing output path: pass -o <path> or --dry-run');

  const progress = new ProgressLine(terminal.err);
  let report: EditReport;
  try {
    report = await interruptible(
      (signal) => editCheckpoint(checkpoint, out, { ...options, restart, signal, onProgress: progress.show }),
      (again) => {
        progress.end();
        terminal.err.lines([
          again ? `stopped; ${RESUME_HINT}` : 'stopping and keeping finished work; press Ctrl-C again to stop at once',
        ]);
      },
    );
  } catch (error) {
    progress.end();
    throw await withResumeHint(error, out, terminal);
  } finally {
    progress.end();
  }
  printSkipped(report.skipped, 'matrices', terminal.err);
  if (flags.json) terminal.out.lines([JSON.stringify(report, null, 2)]);
  else printReport(report, terminal.out);
}

/** @throws {@link LowRankError} `ERR_ARGUMENT` if a flag is invalid, or no flag selects anything to edit. */
function readInterventions({ at = [], tensor = [], intervention, ...paper }: EditFlags): Intervention[] {
  const kind = asKind(intervention);
  const interventions = [
    ...at.map((spec) => parseAt(spec, kind)),
    ...tensor.map((spec) => parseTensorSpec(spec, kind)),
  ];
  const { lnum, lname, rate } = paper;
  if (lnum !== undefined || lname !== undefined || rate !== undefined) {
    if (lname === undefined) throw wrongUsage('--lnum and --rate require --lname <type>');
    // `dont` needs no layer, and an intervention without an amount no rate.
    const needless = {
      lnum: lname === 'dont' ? -1 : undefined,
      rate: lname === 'dont' ? 0 : kindOf(kind).amount.needed ? undefined : 10,
    };
    const flags = { lnum: lnum ?? needless.lnum, rate: rate ?? needless.rate };
    if (flags.lnum === undefined) throw wrongUsage('--lname requires --lnum <n>; pass -1 for all layers');
    if (flags.rate === undefined) throw wrongUsage('--lname requires --rate <rate>, from 0 to 10');
    interventions.push(paperIntervention({ lname, lnum: flags.lnum, rate: flags.rate }, kind));
  }
  if (interventions.length === 0) {
    throw wrongUsage('nothing to edit: pass --at, --tensor, or --lnum with --lname and --rate');
  }
  return interventions;
}

function wrongUsage(message: string): LowRankError {
  return new LowRankError('ERR_ARGUMENT', message);
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
