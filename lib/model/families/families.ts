import { albert } from './albert.js';
import { bart } from './bart.js';
import { bert } from './bert.js';
import { bloom } from './bloom.js';
import { clip } from './clip.js';
import { deberta } from './deberta.js';
import { decisionTransformer } from './decision-transformer.js';
import { deepseek } from './deepseek.js';
import { distilbert } from './distilbert.js';
import { falcon } from './falcon.js';
import type { Family } from './family.js';
import { gptBigcode } from './gpt-bigcode.js';
import { gptNeo } from './gpt-neo.js';
import { gptNeox } from './gpt-neox.js';
import { gptOss } from './gpt-oss.js';
import { gpt2 } from './gpt2.js';
import { gptj } from './gptj.js';
import { llama } from './llama.js';
import { modernbert } from './modernbert.js';
import { mpnet } from './mpnet.js';
import { opt } from './opt.js';
import { phi } from './phi.js';
import { phi3 } from './phi3.js';
import { t5 } from './t5.js';
import { vit } from './vit.js';

/**
 * The families whose matrices can be selected by (layer, type). The names are those of the
 * transformers library's state dicts, and of GGUF. The types follow the LASER paper's code, where
 * `fc_in` of a gated model is its gate.
 */
export const FAMILIES: readonly Family[] = [
  // Decoders.
  gptj,
  llama,
  deepseek,
  gptOss,
  phi,
  phi3,
  gpt2,
  gptBigcode,
  gptNeo,
  gptNeox,
  bloom,
  falcon,
  opt,
  decisionTransformer,
  // Encoders.
  bert,
  distilbert,
  albert,
  mpnet,
  deberta,
  modernbert,
  vit,
  // Two stacks of layers.
  t5,
  bart,
  clip,
];
