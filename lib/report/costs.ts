import { formatBytes, formatCount, formatSeconds } from '../text/format.js';
import type { Findings } from './findings.js';
import type { Content } from './html.js';
import { number } from './numbers.js';
import { note } from './page.js';
import { facts } from './table.js';

/** Renders the cost of the search. */
export function costs({ counts, seconds: spent, test, trials }: Findings): Content {
  if (trials.length === 0) return undefined;
  const { svds } = counts;
  const time = (exact: number) => number(exact, formatSeconds);
  const amount = (exact: number) => number(exact, formatCount);
  return [
    facts('Memory and time of all runs of this search', [
      ['total time', time(spent.total)],
      ['asking validation questions', time(spent.evaluate)],
      ['decomposing', time(spent.svd)],
      ['computing and writing the matrices', time(spent.edit)],
      ['asking test questions', test === undefined ? undefined : time(spent.test)],
      ['peak memory of the process', number(test?.memory.peakRss, formatBytes)],
      ['peak of the native work memory', number(test?.memory.nativePeak, formatBytes)],
      ['candidates tried', amount(counts.trials)],
      ['stopped early', amount(counts.stopped)],
      ['validation questions asked', amount(counts.asked)],
      ['decompositions computed', amount(svds.computed)],
      ['decompositions from the disk', amount(svds.disk)],
      ['decompositions from memory', amount(svds.memory)],
    ]),
    test === undefined ? note('Memory is recorded when a search ends.') : undefined,
  ];
}
