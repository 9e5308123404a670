import { CheckpointError } from '../errors.js';

/** Tasks, and how they are divided among the shards of a plan. */
export interface PlannedTasks {
  readonly tasks: readonly { readonly tensor: string }[];
  /** For each shard the numbers of its tasks. */
  readonly divided: readonly (readonly number[])[];
}

/**
 * Makes the error for results that are not there, naming some of them and the shards to run.
 *
 * @param folder that of the results
 * @param missing the numbers of their tasks
 */
export function missingResults(
  folder: string,
  { tasks, divided }: PlannedTasks,
  missing: readonly number[],
): CheckpointError {
  const names = missing.slice(0, 3).map((task) => tasks[task]?.tensor);
  const isMissing = new Set(missing);
  const shards = divided.flatMap((own, i) => (own.some((task) => isMissing.has(task)) ? [i + 1] : []));
  const message = `lacks the results of ${missing.length} of ${tasks.length} tasks: ${names.join(', ')}${missing.length > 3 ? ', ...' : ''}`;
  return new CheckpointError('ERR_CHECKPOINT_IO', 'MissingResults', folder, message, {
    hint: `Run the missing shards; of ${divided.length} these are ${shards.slice(0, 20).join(', ')}${shards.length > 20 ? ', ...' : ''}.`,
  });
}
