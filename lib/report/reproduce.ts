import { DEFAULT_KIND, kindOf } from '../interventions/kinds/kinds.js';
import { formatCount } from '../text/format.js';
import type { Findings } from './findings.js';
import { type Content, element, nameOf, shortened } from './html.js';
import { many } from './numbers.js';
import { command, paragraph } from './page.js';
import { shellWords } from './shell.js';
import { facts } from './table.js';

/** Renders how to reproduce the search. */
export function reproduce(findings: Findings): Content {
  const { header } = findings;
  const { settings, command: typed } = header;
  const { source, questions, earlyStopping, engineOptions } = settings;
  const edit = editCommand(findings);
  const digest = (text: string) => element('code', {}, shortened(text));
  return [
    typed === undefined
      ? paragraph('The search was called as a function with the settings below.')
      : [paragraph('The command:'), command(shellWords(typed))],
    edit === undefined ? undefined : [paragraph('The chosen interventions alone, without the search:'), command(edit)],
    facts('Settings', [
      ['started', header.started],
      ['lowrank', header.lowrank],
      ['model', [nameOf(source.path), ` (${source.format}, family ${settings.family})`]],
      ['identity of the model', digest(source.digest)],
      ['engine', settings.engine],
      ['options of the engine', isNothing(engineOptions) ? undefined : nameOf(JSON.stringify(engineOptions))],
      [
        'validation',
        [
          nameOf(questions.validation.path),
          `, ${many(questions.validation.count, 'question', 'questions')}, digest `,
          digest(questions.validation.digest),
        ],
      ],
      [
        'test',
        questions.test && [
          nameOf(questions.test.path),
          `, ${many(questions.test.count, 'question', 'questions')}, digest `,
          digest(questions.test.digest),
        ],
      ],
      ['chosen by', settings.objective === 'accuracy' ? 'accuracy, then log loss' : 'perplexity'],
      ['candidates', formatCount(settings.candidates.length)],
      ['composition', settings.compose],
      [
        'early stopping',
        earlyStopping === undefined
          ? 'off'
          : `error ${earlyStopping.error}, first look after ${earlyStopping.first} questions`,
      ],
      ['rounds', settings.rounds && `${settings.rounds.map(formatCount).join(', ')} questions`],
      ['generated tokens', settings.generate],
      ['compatible with', settings.compat],
      ['seed', settings.seed],
      ['digest of the settings', digest(header.digest)],
    ]),
  ];
}

function isNothing(options: unknown): boolean {
  return options === undefined || options === null || JSON.stringify(options) === '{}';
}

function isFamily(word: string): boolean {
  return word === '--family' || word.startsWith('--family=');
}

/**
 * Returns the equivalent `lowrank laser` command; undefined if one command cannot make this edit.
 */
function editCommand({ header: { settings, command: typed }, interventions }: Findings): string[] | undefined {
  const kinds = new Set(interventions.map(({ candidate }) => candidate.kind));
  const [kind] = kinds;
  // One command has one kind. The seed affects random choices, and the last bits of every
  // decomposition.
  if (kind === undefined || kinds.size > 1) return undefined;
  return shellWords([
    'lowrank',
    'laser',
    settings.source.path,
    '-o',
    'edited',
    ...(typed === undefined || typed.some(isFamily) ? ['--family', settings.family] : []),
    ...(settings.quant === undefined ? [] : ['--quant', settings.quant]),
    ...(settings.shared ? ['--shared'] : []),
    ...(kind === DEFAULT_KIND ? [] : ['--intervention', kind]),
    ...(kindOf(kind).isRandom || settings.seed !== 0 ? ['--seed', String(settings.seed)] : []),
    ...interventions.flatMap(({ candidate }) => ['--at', candidate.spec]),
  ]);
}
