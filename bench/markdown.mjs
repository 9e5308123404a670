// Writes the results as RESULTS.md.

/** @import { CheckpointRun, LoraResult, MeasuredRow, Result, Row, Run } from './types.js' */

import { KINDS } from './cases.mjs';
import { LASER, OUR_GEMM, OUR_VALUES, OURS } from './contenders.mjs';
import { excessMeans, isMeasured, mebibytes, quality, seconds, small, times, vectorPath } from './format.mjs';
import { BUSY } from './measure.mjs';

/**
 * Renders the parts of the results that are there.
 *
 * @param {readonly Run[]} tables one for each set of vector instructions
 * @param {Run} [growth]
 * @param {Run<LoraResult>} [lora]
 * @param {CheckpointRun} [checkpoint]
 */
export function markdown(tables, growth, lora, checkpoint) {
  const parts = [
    '# Results of the bench',
    'Made by `npm run bench`; see [README.md](README.md) for how it measures.',
    tables.map((table) => [`## Table, ${vectorPath(table)}`, about(table), targets(table), tasks(table)]),
    growth && ['## Growth', about(growth), curves(growth)],
    lora && ['## LoRA', about(lora), loraTasks(lora)],
    checkpoint && ['## A whole checkpoint', checkpointRows(checkpoint)],
  ];
  return `${parts.flat(3).filter(Boolean).join('\n\n')}\n`;
}

/**
 * Formats a Markdown table.
 *
 * @param {string[]} head
 * @param {(string | number)[][]} rows
 */
export function grid(head, rows) {
  const line = (/** @type {(string | number)[]} */ cells) => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
}

/** @param {Omit<Run, 'results'> & { results: readonly { busy?: number }[] }} run */
function about(run) {
  const { date, command, minutes, machine, threads, rounds, versions, results } = run;
  const { cpu, cores, memoryGiB, system } = machine;
  const busiest = Math.max(...results.map(({ busy = 0 }) => busy));
  const listed = Object.entries(versions).map(([name, parts]) => {
    const text = Object.entries(parts).map(([part, version]) => `${part} ${version}`);
    return `- ${name}: ${text.join('; ')}`;
  });
  return [
    `\`${command}\`, ${date.slice(0, 10)}, ${minutes} minutes. ${cpu}, ${cores} cores, ${memoryGiB} GiB, ${system}; path ${vectorPath(run)}. ` +
      `${threads} threads each, ${rounds} rounds of short tasks. ` +
      `Before a task, other work took at most ${Math.round(100 * busiest)} % of the machine${busiest > BUSY ? ': too much to trust these times' : ''}.`,
    ['<details><summary>Versions</summary>', '', ...listed, '', '</details>'].join('\n'),
  ];
}

/** @param {Run} run */
function targets({ targets: lines }) {
  if (!lines?.length) return [];
  const rows = lines.map(({ task, against, atLeast, within, measured, excess, verdict }) => [
    task,
    against,
    within ? `at most ${within}x of it` : times(atLeast ?? 1),
    measured === undefined ? '' : times(measured),
    excess === undefined ? '' : small(excess),
    verdict,
  ]);
  return [
    '### Targets',
    `How many times the seconds of \`${OURS}\` the rival takes, and our excess, which has to be at most 1e-6.`,
    grid(['task', 'against', 'target', 'measured', 'our excess', ''], rows),
  ];
}

/** @param {Run} run */
function tasks({ results }) {
  const kinds = Object.entries(KINDS).filter(([kind]) => results.some((result) => result.kind === kind));
  return [
    '### Every task',
    `Ratio: seconds over those of \`${OURS}\` (of products, \`${OUR_GEMM}\`; of singular values, \`${OUR_VALUES}\`, where the error is the largest over s_1). Peak: the largest resident set of a process that did this one task once; ` +
      'in brackets, before it, with the runtime and the input loaded. Rounds: how many the median is of; `cold` means ' +
      'that the first call took more than 5 s and is one of them.',
    kinds.map(([kind, text]) => `- ${kind}: ${text}`).join('\n'),
    ...results.flatMap(section),
  ];
}

/** @param {Result} result */
function section(result) {
  const { id, rank = result.k, optimum, bound, rows, absent } = result;
  const title = `#### ${id}`;
  if (absent) return [title, `Not measured: ${absent}.`];
  const facts = [
    optimum && `k = ${rank}. |W - W_k| / |W| = ${small(optimum.relativeError)} (${optimum.from})`,
    optimum && !excessMeans(result) && 'W has a rank of at most k, so the error is given instead of the excess',
    bound &&
      `bound: ${seconds(bound.seconds)} at ${Math.round(bound.gigaflops)} GFLOP/s (${bound.measuredBy}); ` +
        `${OURS} takes ${times(bound.ratio)} as long`,
  ].filter(Boolean);
  const cells = rows.map((row) => [row.contender, ...(isMeasured(row) ? measured(result, row) : missing(row))]);
  return [
    title,
    facts.length > 0 && `${facts.join('. ')}.`,
    grid(['', 'median', 'ratio', 'quality', 'peak', 'rounds', ''], cells),
  ];
}

/**
 * @param {Result} result
 * @param {MeasuredRow} row
 */
function measured(result, row) {
  return [
    seconds(row.seconds),
    row.ratio === undefined ? '' : times(row.ratio),
    quality(result, row),
    `${mebibytes(row.peakRss)} (${mebibytes(row.baseRss)})`,
    `${row.rounds.length}${row.warmUp ? '' : ' cold'}`,
    row.note ?? '',
  ];
}

/** @param {Row} row */
const missing = ({ status, reason = '' }) => ['', '', '', '', '', `${status}: ${reason.replaceAll(/[|\n]+/g, ' ')}`];

/** @param {Run} run */
function curves({ results }) {
  const names = [...new Set(results.flatMap(({ rows }) => rows.map(({ contender }) => contender)))];
  const used = names.filter((name) =>
    results.some(({ rows }) => rows.some((row) => row.contender === name && row.seconds)),
  );
  const rows = results.map(({ m, rho = 1, rows: all, bound }) => {
    const of = (/** @type {string} */ name) => all.find(({ contender }) => contender === name);
    const cell = (/** @type {string} */ name) => {
      const row = of(name);
      return row?.seconds ? seconds(row.seconds) : (row?.status ?? '');
    };
    const excess = (/** @type {string} */ name) => {
      const value = of(name)?.excess;
      return value === undefined ? '' : small(value);
    };
    return [m, rho, ...used.map(cell), excess(OURS), excess(LASER), bound ? times(bound.ratio) : ''];
  });
  return [
    `Square matrices with the decaying spectrum. Last columns: the excess of \`${OURS}\` and of \`${LASER}\`, ` +
      `and the seconds of \`${OURS}\` over the bound (two passes over W with k columns and the rebuild, at the rate of ` +
      'OpenBLAS in the same rounds).',
    grid(['n', 'rho', ...used, 'our excess', 'excess of LASER', 'over the bound'], rows),
  ];
}

/**
 * Writes one line for each rival of each task.
 *
 * @param {Run<LoraResult>} run
 */
function loraTasks({ results }) {
  const rows = results.flatMap(({ id, rows: [ours, ...rivals] }) =>
    rivals.map(({ contender, seconds: theirs, ratio, atLeast }) => [
      id,
      seconds(ours?.seconds ?? 0),
      contender,
      seconds(theirs),
      times(ratio),
      ...(atLeast === undefined ? ['', ''] : [`${atLeast}x`, ratio >= atLeast ? 'reached' : 'not reached']),
    ]),
  );
  return [
    'A step is forward and backward: the gradients of x, A and B. Ratio: the seconds of the rival over those of lowrank.',
    grid(['task', 'lowrank', 'rival', 'its median', 'ratio', 'target', ''], rows),
  ];
}

/**
 * Writes what editing one layer of a sharded checkpoint costs, compared with `cp -r` and the
 * decompositions, and how much memory it takes.
 *
 * @param {CheckpointRun} run
 */
function checkpointRows({ date, at, path, largest, machine: { cpu, cores }, rows }) {
  const megabytes = (/** @type {number} */ bytes) => `${Math.round(bytes / 1e6)} MB`;
  const lines = rows.map(({ bytes, cp, cpSynced, laser, svd, ratio, peak, predicted }) => [
    `${(bytes / 1e9).toFixed(2)} GB`,
    ...[cp, cpSynced, laser, svd].map(seconds),
    ratio.toFixed(2),
    megabytes(peak),
    megabytes(predicted),
  ]);
  return [
    `\`node bench/checkpoint/run.mjs <scratch folder> --rounds ${rows[0]?.rounds.length} --save\`, ${date.slice(0, 10)}. ${cpu}, ${cores} cores; path ${path}. ` +
      `BF16 in shards, the shapes of a Llama of 2 B parameters; \`lowrank laser --at ${at}\`, which brings everything to the disk, ` +
      'as `cp -r` does not. Medians.',
    grid(
      ['checkpoint', '`cp -r`', '`cp -r` and `sync`', 'laser', 'its SVDs', '(laser - SVDs) / cp', 'peak', 'predicted'],
      lines,
    ),
    `Targets: at 4 GB at most 1.2 times \`cp -r\` beside the SVDs; a peak of at most ${megabytes(300e6 + 4 * largest)}, the same at both sizes.`,
  ];
}
