import { answer, at, choice, type Draft, type Fail, isRow, type Row } from './fields.js';

/** A request that the harness made: a context, and what was scored after it. */
interface HarnessRequest {
  readonly context: string;
  /** Undefined if text was generated. */
  readonly continuation: string | undefined;
}

/**
 * Reads the samples that lm-evaluation-harness writes with `--log_samples`
 * (`samples_<task>_<date>.jsonl`): the contexts that it gave a model, few-shot examples and chat
 * templates included, and the continuations that it scored. A task with several filters has several
 * rows for a question, of which the first counts. Requests without a context, which normalise the
 * others, are left out.
 */
export function harnessSamples(rows: readonly Row[], fail: Fail): Draft[] {
  const seen = new Set<unknown>();
  return rows.flatMap((row, i) => {
    const { doc_id: id, target } = row;
    if (seen.size === seen.add(id).size) return [];
    return [draftOf(requestsOf(row, at(fail, i)), String(target ?? ''), at(fail, i))];
  });
}

function draftOf(requests: readonly HarnessRequest[], target: string, fail: Fail): Draft {
  const [first] = requests as readonly [HarnessRequest];
  const { context, continuation } = first;
  if (requests.length === 1) {
    // The likelihood of one continuation, of a whole text, or a generated answer.
    if (continuation !== undefined) return answer(context, continuation, fail);
    return target === '' ? { kind: 'text', prompt: context } : answer(context, target.trim(), fail);
  }
  const choices = requests.map((request) => request.continuation ?? '');
  if (requests.some((request) => request.context !== context)) {
    return fail('its choices follow different contexts (as in WinoGrande), which cannot be asked as one question');
  }
  const byText = choices.findIndex((text) => text.trim() === target.trim());
  const label = /^\d+$/.test(target) ? Number(target) : byText;
  if (label < 0 || label >= choices.length) {
    return fail(`expected a "target" that is one of ${choices.length} choices, got ${JSON.stringify(target)}`);
  }
  return choice(context, choices, label);
}

/** Reads `{ gen_args_0: { arg_0, arg_1 } }`, or the `[[arg_0, arg_1]]` of older versions. */
function requestsOf({ arguments: given }: Row, fail: Fail): HarnessRequest[] {
  const listed = (value: unknown): unknown[] =>
    Array.isArray(value) ? value : isRow(value) ? Object.values(value) : fail('expected "arguments" of requests');
  const requests = listed(given).map((request) => {
    const [context, continuation] = listed(request);
    if (typeof context !== 'string') return fail('expected a context that is a string, as of a model that completes');
    return { context, continuation: typeof continuation === 'string' ? continuation : undefined };
  });
  const conditional = requests.filter(({ context }) => context !== '');
  const kept = conditional.length > 0 ? conditional : requests;
  return kept.length > 0 ? kept : fail('expected at least one request in "arguments"');
}
