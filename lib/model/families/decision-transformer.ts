import type { Family } from './family.js';
import { gpt2Block } from './gpt2.js';

export const decisionTransformer: Family = {
  name: 'decision_transformer',
  models: 'Decision Transformer',
  modelTypes: ['decision_transformer'],
  architectures: ['DecisionTransformer', 'DecisionTransformerGPT2'],
  orientation: 'in x out',
  namings: [{ prefixes: ['encoder.h.', 'h.'], matrices: gpt2Block }],
};
