import { basename } from 'node:path';
import type { SearchHeader, SearchLine } from '../search/log-lines.js';
import { certificates } from './certificates.js';
import { costs } from './costs.js';
import { findingsOf } from './findings.js';
import { heatMaps } from './heat.js';
import { shortened } from './html.js';
import { intervals } from './intervals.js';
import { page } from './page.js';
import { reproduce } from './reproduce.js';
import { lead, result } from './result.js';
import { spectra } from './spectrum.js';
import { allTrials, composition } from './trials.js';

/**
 * Renders a search as one HTML page from the lines of its log: finished or not, even without any
 * trial. The page loads nothing and runs nothing.
 */
export function searchReport(lines: readonly [SearchHeader, ...SearchLine[]]): string {
  const findings = findingsOf(lines);
  const { path } = findings.header.settings.source;
  return page(`LASER search: ${shortened(basename(path) || path)}`, lead(findings), [
    { id: 'result', title: 'Result', content: result(findings) },
    { id: 'intervals', title: 'Confidence intervals', content: intervals(findings) },
    { id: 'heat-maps', title: 'Heat maps', content: heatMaps(findings) },
    { id: 'composition', title: 'Greedy composition', content: composition(findings) },
    { id: 'spectra', title: 'Spectra', content: spectra(findings) },
    { id: 'certificates', title: 'Certificates', content: certificates(findings) },
    { id: 'costs', title: 'Memory and time', content: costs(findings) },
    { id: 'reproduce', title: 'Reproduce', content: reproduce(findings) },
    { id: 'trials', title: 'All trials', content: allTrials(findings) },
  ]);
}
