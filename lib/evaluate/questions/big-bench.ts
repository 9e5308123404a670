import { answer, at, choice, type Draft, type Fail, isRow, string, strings } from './fields.js';
import type { QuestionFile } from './question-file.js';

/**
 * Reads a BIG-bench task. Its prefixes are put around each input, and trailing white space is
 * removed, as in LASER's source.
 */
export function bigBench({ document: task }: QuestionFile, fail: Fail): Draft[] {
  if (task === undefined || !Array.isArray(task.examples)) return fail('expected a task with "examples"');
  const affix = (name: string, otherwise: string) => {
    const value = task[name] ?? otherwise;
    return typeof value === 'string' ? value : fail(`expected a string "${name}"`);
  };
  const prefix = affix('task_prefix', '');
  const [before, after] = [affix('example_input_prefix', '\nQ: '), affix('example_output_prefix', '\nA: ')];
  const listed = affix('choice_prefix', '\n  choice: ');
  const listsChoices = task.append_choices_to_input !== false;
  return task.examples.flatMap((example: unknown, i): Draft[] => {
    const failHere = at(fail, i);
    if (!isRow(example)) return failHere('expected an object');
    const input = string(example, 'input', failHere);
    const scores = example.target_scores;
    if (!isRow(scores)) {
      const targets =
        typeof example.target === 'string' ? [example.target] : strings(example.target, 'target', failHere);
      // LASER leaves out questions with several right answers.
      return targets.length === 1
        ? [answer(`${prefix}${before}${input}${after}`.trim(), targets[0]!.trim(), failHere)]
        : [];
    }
    const choices = Object.keys(scores);
    const list = listsChoices ? choices.map((text) => `${listed}${text}`).join('') : '';
    const best = Math.max(...choices.map((text) => Number(scores[text])));
    const label = choices.findIndex((text) => Number(scores[text]) === best);
    return [choice(`${prefix}${before}${input}${list}${after}`.trim(), choices, label)];
  });
}

/**
 * Reads a task of BIG-Bench Hard (Suzgun et al. 2022): `examples` of `input` and `target`. The
 * input is the prompt, as in LASER's source. The choices are the options that the input lists, by
 * their letters or words; without a list the two targets of the task, such as Yes and No; otherwise
 * the target is an answer. Three rows of the set have a target that is none of their options; they
 * are left out.
 */
export function bigBenchHard({ rows }: QuestionFile, fail: Fail): Draft[] {
  const asked = rows.map((row, i) => {
    const failHere = at(fail, i);
    return { input: string(row, 'input', failHere).trimEnd(), target: string(row, 'target', failHere).trim() };
  });
  const targets = [...new Set(asked.map(({ target }) => target))].sort();
  return asked.flatMap(({ input, target }, i) => {
    const options = optionsIn(input);
    if (options === undefined && targets.length !== 2) return [answer(input, target, at(fail, i))];
    const choices = options ?? targets;
    const label = choices.indexOf(target);
    return label < 0 ? [] : [choice(input, choices, label)];
  });
}

/** Returns `(A)`, `(B)`, ... or the words of a list that ends an input; undefined without one. */
function optionsIn(input: string): string[] | undefined {
  const list = /\nOptions:\n(.*)$/s.exec(input)?.[1];
  const options = list?.split('\n').map((line) => /^(\([A-Z]\))|^- (.*)$/.exec(line));
  if (options === undefined || options.length < 2) return undefined;
  return options.every((option) => option !== null)
    ? options.map((option) => (option[1] ?? option[2]!).trim())
    : undefined;
}
