import { basename } from 'node:path';
import type { EditedMatrix, EditReport } from '../edit/edit-checkpoint.js';
import { nameOf as nameOfMatrix } from '../interventions/edit.js';
import { DEFAULT_KIND } from '../interventions/kinds/kinds.js';
import { formatBytes, formatCount, formatSeconds, formatShare } from '../text/format.js';
import { element, nameOf, shortened } from './html.js';
import { many, number, shape, small } from './numbers.js';
import { command, note, page, paragraph } from './page.js';
import { shellWords } from './shell.js';
import { facts, table } from './table.js';
import { usesColumn } from './uses.js';

/**
 * Renders the edit of a checkpoint as one HTML page, from the report of `editCheckpoint` or the
 * output of `lowrank laser --json`.
 */
export function editReport(report: EditReport): string {
  const { source, out, edits, family, memory, resumed } = report;
  const lead = element(
    'p',
    { class: 'lead' },
    many(edits.length, 'matrix', 'matrices'),
    ' of ',
    nameOf(source),
    ' edited and written to ',
    nameOf(out),
    '.',
  );
  const interventions = editCommand(report);
  return page(`LASER edit: ${shortened(basename(source) || source)}`, lead, [
    {
      id: 'matrices',
      title: 'Matrices',
      content: edits.length === 0 ? paragraph('Nothing was changed.') : matrices(edits),
    },
    { id: 'certificates', title: 'Certificates', content: certificates(edits) },
    {
      id: 'costs',
      title: 'Memory and time',
      content: facts('Memory and time', [
        ['total time', number(report.seconds, formatSeconds)],
        ['memory predicted', number(memory.predicted.total, formatBytes)],
        ['of which buffers', number(memory.predicted.buffers, formatBytes)],
        ['of which native', number(memory.predicted.native, formatBytes)],
        ['peak memory of the process', number(memory.measured.peakRss, formatBytes)],
        ['peak of the native work memory', number(memory.measured.nativePeak, formatBytes)],
        ['resumed from an earlier run', resumed && many(resumed.tensors, 'tensor', 'tensors')],
      ]),
    },
    {
      id: 'reproduce',
      title: 'Reproduce',
      content: [
        interventions === undefined
          ? paragraph('No single command makes these interventions.')
          : [paragraph('The edit as a command:'), command(interventions)],
        facts('Job', [
          ['source', nameOf(source)],
          ['result', nameOf(out)],
          ['family', family],
        ]),
      ],
    },
  ]);
}

function matrices(edits: readonly EditedMatrix[]) {
  return table<EditedMatrix>(
    'The edit of each matrix, measured on the written numbers',
    [
      { title: 'matrix', holds: 'names', cell: (edit) => nameOf(nameOfMatrix(edit)) },
      {
        title: 'by',
        holds: 'names',
        cell: ({ spec, intervention }) => [intervention === DEFAULT_KIND ? '' : `${intervention} `, nameOf(spec)],
      },
      { title: 'shape', holds: 'numbers', cell: (edit) => shape(edit.shape) },
      { title: 'type', cell: ({ dtype, writtenAs }) => (dtype === writtenAs ? dtype : `${dtype} as ${writtenAs}`) },
      {
        title: 'components',
        holds: 'numbers',
        cell: ({ rank, shape: sizes }) =>
          typeof rank === 'number' ? `${formatCount(rank)} of ${formatCount(Math.min(...sizes.slice(-2)))}` : undefined,
      },
      { title: 'energy kept', holds: 'numbers', cell: ({ keptEnergy }) => number(keptEnergy, formatShare) },
      { title: 'relative error', holds: 'numbers', cell: ({ relativeError }) => number(relativeError, small) },
      { title: 'time', holds: 'numbers', cell: (edit) => number(edit.seconds, formatSeconds) },
      ...usesColumn(edits, ({ uses }) => uses),
    ],
    edits,
  );
}

function certificates(edits: readonly EditedMatrix[]) {
  const certified = edits.flatMap((edit) => (edit.certificate ? [{ edit, certificate: edit.certificate }] : []));
  if (certified.length === 0) return undefined;
  return [
    table<(typeof certified)[number]>(
      'Certificates of the decompositions, before rounding to the stored type',
      [
        { title: 'matrix', holds: 'names', cell: ({ edit }) => nameOf(nameOfMatrix(edit)) },
        { title: 'method', cell: ({ certificate }) => certificate.method },
        { title: 'rank', holds: 'numbers', cell: ({ certificate }) => number(certificate.rank, formatCount) },
        {
          title: 'relative error',
          holds: 'numbers',
          cell: ({ certificate }) => number(certificate.relativeError, small),
        },
        // JSON has null in place of infinity.
        {
          title: 'excess at most',
          holds: 'numbers',
          cell: ({ certificate }) => number(certificate.excessBound ?? Number.POSITIVE_INFINITY, small),
        },
        {
          title: 'first dropped',
          holds: 'numbers',
          cell: ({ certificate }) => number(certificate.spectralError, small),
        },
        { title: 'native memory', holds: 'numbers', cell: ({ certificate }) => number(certificate.bytes, formatBytes) },
        { title: 'time', holds: 'numbers', cell: ({ certificate }) => number(certificate.seconds, formatSeconds) },
      ],
      certified,
    ),
    note(
      'Excess: how much larger the error is than that of the best matrix of this rank (Eckart and Young 1936), as a share. It is at most this; ',
      '∞ if float32 cannot distinguish the error from none.',
    ),
  ];
}

/** Returns the command; undefined if one command cannot make this edit. */
function editCommand({ source, out, edits, options }: EditReport): string[] | undefined {
  const kinds = new Set(edits.map(({ intervention }) => intervention));
  const [kind] = kinds;
  if (kind === undefined || kinds.size > 1) return undefined;
  const flagOf = new Map(edits.map(({ spec, layer }) => [spec, typeof layer === 'number' ? '--at' : '--tensor']));
  // The paper's flags are repeated unchanged, and only once.
  const isPaper = (spec: string) => flagOf.get(spec) === '--at' && spec.startsWith('--lnum ');
  if ([...flagOf.keys()].filter(isPaper).length > 1) return undefined;
  const { family, method, seed, threads, maxMemory, quant, shared, flatten } = options;
  const flags = { family, method: method === 'auto' ? undefined : method, seed, threads, memory: maxMemory, quant };
  return shellWords([
    'lowrank',
    'laser',
    source,
    '-o',
    out,
    ...(kind === DEFAULT_KIND ? [] : ['--intervention', kind]),
    ...(shared ? ['--shared'] : []),
    ...(flatten ? ['--flatten'] : []),
    ...[...flagOf].flatMap(([spec, flag]) => (isPaper(spec) ? spec.split(' ') : [flag, spec])),
    ...Object.entries(flags).flatMap(([name, value]) => (value === undefined ? [] : [`--${name}`, String(value)])),
  ]);
}
