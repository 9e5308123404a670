// What the LoRA bench measures, and what lowrank is to reach in it.

const DIMS = [1024, 4096];
const RANKS = [8, 64];
const BATCHES = [1, 32, 256];

/** One training step without the optimizer: forward and backward. */
const steps = DIMS.flatMap((dim) =>
  RANKS.flatMap((r) =>
    BATCHES.map((batch) => ({ op: 'step', id: `step dim ${dim} r ${r} batch ${batch}`, dim, r, batch })),
  ),
);
const updates = DIMS.flatMap((dim) => RANKS.map((r) => ({ op: 'adamw', id: `AdamW dim ${dim} r ${r}`, dim, r })));
const resizes = [{ op: 'resize', id: 'resize 4096x4096 r 64 to 8', dim: 4096, r: 64, to: 8 }];

export const TASKS = [...steps, ...updates, ...resizes];

/** The rivals of each operation; the first word chooses the program, the rest the variant. `atLeast`: the target. */
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
