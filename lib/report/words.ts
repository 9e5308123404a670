import { type Candidate, nameOfCandidate, type Score } from '../search/log-lines.js';
import { type Content, nameOf } from './html.js';

/** Renders the names of interventions that are in a model together. */
export function specs(candidates: readonly Candidate[]): Content {
  return candidates.map((candidate, i) => [i > 0 ? ' + ' : '', nameOf(nameOfCandidate(candidate))]);
}

/** Returns the metrics that at least one of the scores has. */
export function metricsIn(scores: readonly (Score | undefined)[]): ('accuracy' | 'logLoss' | 'perplexity')[] {
  return (['accuracy', 'logLoss', 'perplexity'] as const).filter((metric) =>
    scores.some((score) => score?.[metric] !== undefined),
  );
}
