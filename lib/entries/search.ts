/**
 * The search for the intervention that helps a model most, its log, and its report in HTML.
 *
 * @module lowrank/search
 */

export { writeReport } from '../report/report.js';
export type { GridOptions } from '../search/candidates.js';
export { estimateSearch, type SearchEstimate } from '../search/estimate.js';
export { readSearchLog } from '../search/log.js';
export type {
  Candidate,
  MatrixLine,
  Objective,
  RoundLine,
  Score,
  SearchCounts,
  SearchHeader,
  SearchLine,
  SearchSeconds,
  SearchSettings,
  SearchSummary,
  TestLine,
  Trial,
  TrialMatrix,
  Verdict,
} from '../search/log-lines.js';
export type { SearchProgress } from '../search/progress.js';
export type { EarlyStoppingOptions } from '../search/race.js';
export { search } from '../search/search.js';
export type { QuestionPart, SearchOptions } from '../search/settings.js';
