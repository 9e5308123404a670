import { LowRankError } from '../../../errors.js';

/** A part of a plan, counted from 1. `shards` defaults to the number in the plan. */
export interface Shard {
  readonly shard: number;
  readonly shards?: number;
}

/**
 * Reads the shard from the environment of a scheduler. Slurm numbers the tasks of an array from
 * SLURM_ARRAY_TASK_MIN in steps of SLURM_ARRAY_TASK_STEP, SLURM_ARRAY_TASK_COUNT of them; an
 * Indexed Job of Kubernetes counts from 0 in JOB_COMPLETION_INDEX and does not give their number.
 *
 * @throws LowRankError `ERR_ARGUMENT` if the numbers contradict each other.
 */
export function shardOfEnvironment(environment: Readonly<Record<string, string | undefined>>): Shard | undefined {
  const number = (name: string) => {
    const text = environment[name];
    if (text === undefined || text === '') return undefined;
    if (/^\d{1,9}$/.test(text)) return Number(text);
    throw new LowRankError('ERR_ARGUMENT', `${name}: expected a whole number, got ${JSON.stringify(text)}`);
  };
  const id = number('SLURM_ARRAY_TASK_ID');
  const count = number('SLURM_ARRAY_TASK_COUNT');
  if (id !== undefined && count !== undefined) {
    const index = (id - (number('SLURM_ARRAY_TASK_MIN') ?? 0)) / (number('SLURM_ARRAY_TASK_STEP') || 1);
    if (Number.isInteger(index) && index >= 0 && index < count) return { shard: index + 1, shards: count };
    throw new LowRankError(
      'ERR_ARGUMENT',
      `SLURM_ARRAY_TASK_ID ${id}: not in an evenly numbered array of ${count} tasks`,
      {
        hint: 'Number the array evenly, such as --array=0-7, or pass --shard i/n.',
      },
    );
  }
  const completion = number('JOB_COMPLETION_INDEX');
  return completion === undefined ? undefined : { shard: completion + 1 };
}
