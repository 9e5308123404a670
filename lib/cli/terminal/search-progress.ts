import { nameOfCandidate, type Score, type Trial } from '../../search/log-lines.js';
import type { SearchProgress } from '../../search/progress.js';
import { accuracyInterval, significanceOf } from '../../search/significance.js';
import { formatCount, formatSeconds, formatShare } from '../../text/format.js';
import { printable } from '../../text/printable.js';
import { type Column, formatTable, shorten } from './table.js';
import type { Output } from './terminal.js';

const REDRAW_MS = 100;
/** The name of the baseline trial. */
export const UNEDITED = 'unedited model';
/** Rows of the live table. */
const BEST = 5;

/** Redraws a table of the best trials on a terminal; elsewhere prints a line for each trial. */
export class SearchTable {
  readonly #output: Output;
  readonly #trials: Trial[] = [];
  #drawn = Number.NEGATIVE_INFINITY;
  #height = 0;
  #isAnnounced = false;

  constructor(output: Output) {
    this.#output = output;
  }

  readonly show = (progress: SearchProgress): void => {
    const { trial, warning } = progress;
    if (trial !== undefined) this.#trials.push(trial);
    this.#announce(progress);
    if (warning !== undefined) {
      this.end();
      this.#output.lines([`warning: ${printable(warning)}`]);
    }
    if (this.#output.isTerminal) this.#draw(progress);
    else if (trial !== undefined) this.#output.lines([describeTrial(progress, trial, this.#trials[0]!)]);
  };

  /** Clears the table. Call before any other output. */
  end(): void {
    if (this.#height > 0) this.#output.write(`${up(this.#height)}\u001b[J`);
    this.#height = 0;
  }

  /** Says before the first candidate what is ahead. */
  #announce({ phase, total, remainingSeconds }: SearchProgress): void {
    if (this.#isAnnounced || phase !== 'grid') return;
    this.#isAnnounced = true;
    if (remainingSeconds === undefined) return;
    this.end();
    this.#output.lines([`${formatCount(total)} candidates, at most about ${formatSeconds(remainingSeconds)}`]);
  }

  #draw(progress: SearchProgress): void {
    const now = performance.now();
    if (progress.trial === undefined && now - this.#drawn < REDRAW_MS) return;
    this.#drawn = now;
    const width = (this.#output.columns ?? 80) - 1;
    const complete = this.#trials.filter(({ verdict }) => verdict === 'complete');
    const best = complete.sort((a, b) => order(a.score, b.score)).slice(0, BEST);
    const { bold } = this.#output.colors;
    const rows = best.map((trial) => [nameOfTrial(trial), formatScore(trial.score), formatLoss(trial.score)]);
    const lines = [shorten(describeSearch(progress), width), ...formatTable(COLUMNS, rows, width, bold)];
    this.end();
    this.#output.lines(lines);
    this.#height = lines.length;
  }
}

const COLUMNS: readonly Column[] = [
  { title: 'best so far' },
  { title: 'validation', align: 'right' },
  { title: 'log loss', align: 'right' },
];

/** Names all interventions of a trial. */
export function nameOfTrial({ candidate, upon }: Pick<Trial, 'candidate' | 'upon'>): string {
  if (candidate === undefined) return UNEDITED;
  return [...upon, candidate].map(nameOfCandidate).join(' + ');
}

/** Formats an accuracy with its 95 % interval in whole percents, or a perplexity. */
export function formatScore(score: Score): string {
  const { accuracy, perplexity } = score;
  const between = accuracyInterval(score);
  if (accuracy !== undefined && between !== undefined) {
    return `${formatShare(accuracy)} (${Math.floor(100 * between.low)} to ${Math.ceil(100 * between.high)})`;
  }
  return perplexity === undefined ? '' : `perplexity ${perplexity.toPrecision(5)}`;
}

export function formatLoss({ logLoss }: Omit<Score, 'questions'>): string {
  return logLoss === undefined ? '' : logLoss.toFixed(4);
}

function describeSearch({
  phase,
  done,
  total,
  candidate,
  asked,
  questions,
  round,
  tokens,
  seconds,
  remainingSeconds,
}: SearchProgress) {
  const left = remainingSeconds === undefined ? '' : `, about ${formatSeconds(remainingSeconds)} left`;
  const what = candidate === undefined ? '' : ` ${nameOfCandidate(candidate)}`;
  const counted = phase === 'grid' || phase === 'greedy' ? ` ${done}/${total}` : '';
  const answers = phase === 'write' ? '' : ` ${asked}/${questions}`;
  const run = tokens === undefined ? '' : ` (${formatCount(tokens.done)}/${formatCount(tokens.total)} tokens)`;
  const stage = round === undefined ? PHASES[phase] : `round ${round.number}/${round.of}`;
  return printable(`${stage}${counted}${what}${answers}${run}, ${formatSeconds(seconds)}${left}`);
}

const PHASES = {
  base: UNEDITED,
  grid: 'grid',
  greedy: 'composing',
  test: 'test questions',
  write: 'writing the winner',
} as const;

/** @param base the unedited model, to which changes are relative */
function describeTrial({ phase, done, total, round, resumed }: SearchProgress, trial: Trial, base: Trial): string {
  const { verdict, score, change, accepted, problem } = trial;
  const place =
    trial.stage === 'base'
      ? ''
      : round === undefined
        ? `${phase} ${done + 1}/${total} `
        : `round ${round.number}/${round.of} `;
  const values = [formatScore(score), formatLoss(score) && `log loss ${formatLoss(score)}`].filter(
    (text) => text !== '',
  );
  const chance = significanceOf(trial, base)?.isSignificant === false ? ', not significant' : '';
  const gain =
    trial.candidate === undefined || change.accuracy === undefined
      ? ''
      : `, ${change.accuracy < 0 ? '' : '+'}${(100 * change.accuracy).toFixed(2)} points${chance}`;
  const end = {
    complete: accepted === undefined ? '' : accepted ? ', accepted' : ', reverted',
    hopeless: `, stopped early after ${score.questions} questions`,
    outranked: `, outranked after ${score.questions} questions`,
    behind: `, cannot catch up after ${score.questions} questions`,
    failed: `, failed: ${problem}`,
  }[verdict];
  const before = resumed ? ', from the log' : '';
  return printable(`${place}${nameOfTrial(trial)}: ${values.join(', ')}${gain}${end}${before}`);
}

function order(a: Score, b: Score): number {
  // Without an accuracy, the questions are texts.
  const loss = ({ accuracy, logLoss, perplexity }: Score) =>
    (accuracy === undefined ? (perplexity ?? logLoss) : logLoss) ?? 0;
  return (b.accuracy ?? 0) - (a.accuracy ?? 0) || loss(a) - loss(b);
}

function up(lines: number): string {
  return `\u001b[${lines}A\r`;
}
