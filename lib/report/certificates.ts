import { nameOf as nameOfMatrix } from '../interventions/edit.js';
import { type Candidate, nameOfCandidate, type TrialMatrix } from '../search/log-lines.js';
import { formatCount, formatShare } from '../text/format.js';
import type { Findings } from './findings.js';
import { type Content, nameOf } from './html.js';
import { number, shape, small } from './numbers.js';
import { note } from './page.js';
import { table } from './table.js';
import { usesColumn } from './uses.js';

interface CertifiedMatrix {
  readonly candidate: Candidate;
  readonly matrix: TrialMatrix;
}

/** Renders how exact each matrix of the chosen model is. */
export function certificates({ interventions }: Findings): Content {
  const rows = interventions.flatMap(({ candidate, trial }) =>
    (trial?.matrices ?? []).map((matrix): CertifiedMatrix => ({ candidate, matrix })),
  );
  if (rows.length === 0) return undefined;
  return [
    table<CertifiedMatrix>(
      'The edit of each matrix, measured on the written numbers',
      [
        { title: 'matrix', holds: 'names', cell: ({ matrix }) => nameOf(nameOfMatrix(matrix)) },
        { title: 'by', holds: 'names', cell: ({ candidate }) => nameOf(nameOfCandidate(candidate)) },
        { title: 'shape', holds: 'numbers', cell: ({ matrix }) => shape(matrix.shape) },
        {
          title: 'components',
          holds: 'numbers',
          cell: ({ matrix: { rank, shape: sizes } }) =>
            rank === undefined ? undefined : `${formatCount(rank)} of ${formatCount(Math.min(...sizes.slice(-2)))}`,
        },
        { title: 'energy kept', holds: 'numbers', cell: ({ matrix }) => number(matrix.keptEnergy, formatShare) },
        { title: 'relative error', holds: 'numbers', cell: ({ matrix }) => number(matrix.relativeError, small) },
        { title: 'smallest possible', holds: 'numbers', cell: ({ matrix }) => number(matrix.smallestError, small) },
        { title: 'excess', holds: 'numbers', cell: ({ matrix }) => number(excessOf(matrix), small) },
        ...usesColumn(rows, ({ matrix }) => matrix.uses),
      ],
      rows,
    ),
    note(
      'Relative error: |W − Ŵ| / |W| in the Frobenius norm, after rounding to the stored type, in float64. Smallest possible: the error of the best matrix of this rank, ',
      'from the dropped singular values (Eckart and Young 1936). Excess: the first divided by the second, minus 1; about 0 is exact, and float32 rounding can make it slightly negative.',
    ),
  ];
}

function excessOf({ relativeError, smallestError }: TrialMatrix): number | undefined {
  return smallestError === undefined || !(smallestError > 0) ? undefined : relativeError / smallestError - 1;
}
