import type { ExampleResult } from '../result.js';
import { measure, requireResults } from './summary.js';

/**
 * Returns the dictionary of LASER's `DatasetMetrics.agg_to_dict` (study_utils/metric_utils.py),
 * with its keys: shares in percent, `avg f1 score` null if nothing was generated, 0 of 0 as 0.
 */
export function laserSummary(results: readonly ExampleResult[]): Record<string, number | null> {
  requireResults(results, 'results');
  const measured = results.filter(({ answerLogProb }) => answerLogProb !== undefined);
  const tokens = measured.reduce((sum, { answerTokens = 0 }) => sum + answerTokens, 0);
  const logProb = measured.reduce((sum, { answerLogProb = 0 }) => sum + answerLogProb, 0);
  const correct = results.filter((result) => result.correct).length;
  const f1s = results.map((result) => result.f1);
  const dictionary: Record<string, number | null> = {
    '0-1 correctness': (correct * 100) / Math.max(1, results.length),
    'avg f1 score': f1s.includes(undefined) ? null : sum(f1s as number[]) / Math.max(1, results.length),
    'mean log prob': measure(measured, 'meanLogProb') ?? 0,
    perplexity: Math.exp(-logProb / Math.max(1, tokens)),
    dataset_size: results.length,
    'total answer tokens': tokens,
    'num log probs': measured.length,
  };
  for (const k of [1, 5, 10]) {
    const ranked = results.filter(({ top, answer }) => answer !== undefined && (top?.length ?? 0) >= k);
    if (ranked.length === 0) continue;
    const hits = ranked.filter(({ rank }) => rank !== undefined && rank < k).length;
    dictionary[`top-${k} accuracy`] = (hits * 100) / Math.max(1, results.length);
  }
  return dictionary;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
