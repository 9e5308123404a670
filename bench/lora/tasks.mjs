// The tasks of the LoRA bench, and its targets.

/** @import { LoraRival, LoraTask } from '../types.js' */

const DIMS = [1024, 4096];
const RANKS = [8, 64];
const BATCHES = [1, 32, 256];

/** One training step without the optimizer: forward and backward. */
/** @type {LoraTask[]} */
const steps = DIMS.flatMap((dim) =>
  RANKS.flatMap((r) =>
    BATCHES.map((batch) => ({ op: 'step', id: `step dim ${dim} r ${r} batch ${batch}`, dim, r, batch })),
  ),
);
/** @type {LoraTask[]} */
const updates = DIMS.flatMap((dim) => RANKS.map((r) => ({ op: 'adamw', id: `AdamW dim ${dim} r ${r}`, dim, r })));
/** @type {LoraTask[]} */
const resizes = [{ op: 'resize', id: 'resize 4096x4096 r 64 to 8', dim: 4096, r: 64, to: 8 }];

export const TASKS = [...steps, ...updates, ...resizes];

/** The rivals of each operation. @type {Record<LoraTask['op'], LoraRival[]>} */
export const RIVALS = {
  step: [
    { name: 'PyTorch, two products', variant: 'two', atLeast: 1 },
    { name: 'PyTorch, dense as in zeta', variant: 'dense', atLeast: 5 },
  ],
  adamw: [
    { name: 'torch.optim.AdamW', variant: 'adamw', atLeast: 1 },
    { name: 'torch.optim.AdamW(fused=True)', variant: 'adamw-fused' },
  ],
  resize: [{ name: 'PyTorch, SVD of the dense product', variant: 'dense-svd', atLeast: 20 }],
};
