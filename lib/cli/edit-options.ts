import { type Command, Option } from 'commander';
import type { PlanOptions } from '../edit/plan.js';
import { asKind, DEFAULT_KIND, KIND_NAMES, kindOf } from '../interventions/kinds/kinds.js';
import { type Intervention, paperIntervention, parseAt, parseTensorSpec } from '../interventions/spec.js';
import type { Method } from '../lowrank/approximate.js';
import type { WritableType } from '../tensor/dtype.js';
import { byteSize } from './byte-size.js';
import {
  CHECKPOINT,
  collect,
  decimal,
  familyOption,
  methodOption,
  quantOption,
  seedOption,
  sharedOption,
  threadsOption,
  wholeNumber,
  wrongUsage,
} from './options.js';

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
  readonly flatten?: boolean;
  readonly family?: string;
}

/** Adds the checkpoint, and the options that select matrices and say how to edit them. */
export function addEditOptions(command: Command): Command {
  return command
    .argument('<checkpoint>', CHECKPOINT)
    .option('-o, --out <path>', 'output path; must not exist')
    .option('--at <layers:types:amount>', 'edit by layer and type; may be repeated', collect)
    .option('--tensor <glob:amount>', 'edit tensors by name; may be repeated', collect)
    .option('--lnum <n>', "the paper's flag: layer, -1 for all", wholeNumber(-1))
    .option('--lname <type>', "the paper's flag: type")
    .option('--rate <rate>', "the paper's flag: 0 keeps everything, 10 nothing, 9.9 one hundredth", decimal)
    .addOption(new Option('--intervention <kind>', 'kind of edit').choices(KIND_NAMES).default(DEFAULT_KIND))
    .addOption(methodOption())
    .addOption(seedOption('seed for the random start of krylov and for --intervention random'))
    .addOption(threadsOption())
    .option('--memory <size>', 'memory limit of the process, such as 2GB; jobs that do not fit are refused', byteSize)
    .addOption(quantOption('type in which to write quantised tensors that are edited'))
    .addOption(sharedOption())
    .option('--flatten', 'edit tensors of more than two dimensions, such as convolutions, as [first, all others]')
    .addOption(familyOption());
}

/** Translates flags into library options. */
export function planOptions(flags: EditFlags): PlanOptions {
  const { family, method, seed, threads, quant, shared, flatten, memory: maxMemory } = flags;
  return { interventions: readInterventions(flags), family, method, seed, threads, quant, shared, flatten, maxMemory };
}

/**
 * @throws {@link LowRankError} `ERR_ARGUMENT` if a flag is invalid, or no flag selects anything to
 *   edit.
 */
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
