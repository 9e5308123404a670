import type { Checkpoint } from '../../lib/checkpoint/checkpoint.js';
import { LowRankError } from '../../lib/errors.js';
import { Model } from '../../lib/model/model.js';

/**
 * What the table of families makes of a checkpoint: names and configuration are a stranger's too.
 */
export function checkpointModel(checkpoint: Checkpoint): string {
  try {
    const { family, types } = new Model(checkpoint);
    return `${family.name} with ${types.length} types`;
  } catch (error) {
    if (error instanceof LowRankError) return error.code;
    throw error;
  }
}
