import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { open } from '../../lib/checkpoint/open.js';
import { type NewTensor, writeSafetensors } from '../../lib/checkpoint/safetensors/file.js';
import type { AskOptions, Engine, Session } from '../../lib/evaluate/engines/engine.js';
import { judge } from '../../lib/evaluate/engines/grade.js';
import type { Question } from '../../lib/evaluate/questions/question.js';
import type { ExampleResult } from '../../lib/evaluate/result.js';
import { fromFloat32, toFloat32 } from '../../lib/tensor/convert.js';
import { gaussian } from './matrices.js';

/** Width and inner width of the two layers. */
export const D = 16;
const F = 24;
export const FC_IN = (layer: number) => `model.layers.${layer}.mlp.gate_proj.weight`;
export const FC_OUT = (layer: number) => `model.layers.${layer}.mlp.down_proj.weight`;

/** A vector of normal numbers. */
function vector(length: number, seed: number): Float32Array {
  return gaussian([1, length], seed).data;
}

/** m x n, row-major: scale u v^T + noise. */
function rankOnePlusNoise(m: number, n: number, scale: number, noise: number, seed: number): Float32Array {
  const [u, v] = [unit(vector(m, seed)), unit(vector(n, seed + 1))];
  const e = gaussian([m, n], seed + 2).data;
  return Float32Array.from({ length: m * n }, (_, i) => scale * u[Math.floor(i / n)]! * v[i % n]! + noise * e[i]!);
}

function unit(x: Float32Array): Float32Array {
  const norm = Math.hypot(...x);
  return x.map((value) => value / norm);
}

function times(w: Float32Array, x: Float32Array): Float32Array {
  const n = x.length;
  return Float32Array.from({ length: w.length / n }, (_, i) => {
    let sum = 0;
    for (let j = 0; j < n; j++) sum += w[i * n + j]! * x[j]!;
    return sum;
  });
}

/**
 * A model whose answer is the sign of p . sum over layers of W_out W_in x. Layer 1's fc_in is a
 * strong direction, by which the right answers are made, under noise; layer 0 is nothing but noise.
 * So a truncation of layer 1's fc_in helps, as do reductions of layer 0, and most other
 * interventions hurt: LASER in 16 dimensions.
 */
export async function writeLinearModel(folder: string, noise = 0.45): Promise<string> {
  const tensors = new Map<string, NewTensor>();
  const add = (name: string, shape: number[], data: Float32Array) =>
    tensors.set(name, { dtype: 'F32', shape, bytes: fromFloat32(data, 'F32') });
  add('model.embed_tokens.weight', [32, D], gaussian([32, D], 90).data);
  add(FC_IN(0), [F, D], rankOnePlusNoise(F, D, 0, 0.12, 10));
  add(FC_OUT(0), [D, F], rankOnePlusNoise(D, F, 0, 0.3, 20));
  add(FC_IN(1), [F, D], rankOnePlusNoise(F, D, 4, noise, 30));
  add(FC_OUT(1), [D, F], rankOnePlusNoise(D, F, 1, 0.5, 40));
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'config.json'), JSON.stringify({ model_type: 'llama' }));
  await writeSafetensors(join(folder, 'model.safetensors'), tensors, new Map([['format', 'pt']]));
  return folder;
}

/** What the answer is read along. */
export const P = unit(vector(D, 77));

/** What the model is given for a question. */
export function inputOf(id: number): Float32Array {
  return vector(D, 1000 + id);
}

/** Yes-or-no questions whose right answer the strong direction of layer 1's fc_in gives. */
export async function linearQuestions(model: string, count: number, first = 0): Promise<Question[]> {
  const weights = await readWeights(model);
  const [u, v] = [unit(vector(F, 30)), unit(vector(D, 31))];
  const sign = Math.sign(dot(P, times(weights.get(FC_OUT(1))!, u)));
  return Array.from({ length: count }, (_, i) => {
    const label = sign * dot(v, inputOf(first + i)) > 0 ? 1 : 0;
    const choices = ['no', 'yes'];
    return { id: first + i, kind: 'choice' as const, prompt: `x${first + i}`, choices, label, answer: choices[label]! };
  });
}

function dot(a: Float32Array, b: Float32Array): number {
  return a.reduce((sum, value, i) => sum + value * b[i]!, 0);
}

async function readWeights(path: string): Promise<Map<string, Float32Array>> {
  const checkpoint = await open(path);
  try {
    const weights = new Map<string, Float32Array>();
    for (const { name } of checkpoint.tensors.values()) {
      weights.set(name, toFloat32(await checkpoint.read(name), 'F32'));
    }
    return weights;
  } finally {
    await checkpoint.close();
  }
}

/** Log-odds of yes. */
export function logOdds(weights: ReadonlyMap<string, Float32Array>, id: number): number {
  const layers = [0, 1].map((layer) =>
    times(weights.get(FC_OUT(layer))!, times(weights.get(FC_IN(layer))!, inputOf(id))),
  );
  return 2 * layers.reduce((sum, y) => sum + dot(P, y), 0);
}

/** An engine in this process, which counts what it is asked for. */
export class LinearEngine implements Engine {
  readonly name = 'onnx';
  loads = 0;
  asked = 0;
  readonly opened: string[] = [];
  /** Called before each answer; may throw. */
  onAnswer: ((id: number) => void) | undefined;

  async open(checkpoint: string): Promise<Session> {
    let weights = await readWeights(checkpoint);
    this.loads++;
    this.opened.push(checkpoint);
    const engine = this;
    return {
      checkpoint,
      async *ask(questions: readonly Question[], { signal }: AskOptions = {}): AsyncGenerator<ExampleResult> {
        for (const question of questions) {
          signal?.throwIfAborted();
          engine.onAnswer?.(question.id);
          engine.asked++;
          const odds = logOdds(weights, question.id);
          const logOf = (x: number) => -Math.log1p(Math.exp(-x));
          yield judge(question, { choiceLogProbs: [logOf(-odds), logOf(odds)], answerTokens: 1 });
        }
      },
      async reload() {
        weights = await readWeights(checkpoint);
        engine.loads++;
      },
      async close() {},
    };
  }

  async close(): Promise<void> {}
}
