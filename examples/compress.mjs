// Makes a model smaller from code: calibrate() looks at what its layers see, compressCheckpoint() puts
// factors in place of weights, and compare() measures what that costs, beside the same without
// calibration. The model is the small GPT-2 of noisy-recall/. Needs onnxruntime-node and
// @huggingface/tokenizers.

import { strict as assert } from 'node:assert';
import { copyFile, cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { calibrate, compressCheckpoint, expandCheckpoint } from 'lowrank/checkpoint';
import { compare, onnxEngine } from 'lowrank/evaluate';

const example = join(import.meta.dirname, 'noisy-recall');
const graph = join(example, 'model', 'model.onnx');
const folder = await mkdtemp(join(tmpdir(), 'lowrank-example-'));
const at = (name) => join(folder, name);
const engine = onnxEngine();
try {
  await writeFile(at('texts.txt'), (await prompts('validation.jsonl')).join('\n'));
  const { vectors, layers } = await calibrate(graph, at('moments.safetensors'), { texts: at('texts.txt') });
  console.log(`${vectors} tokens seen by ${layers} layers`);

  // The weights of the graph are those of the checkpoint: that is compressed, and is multiplied out again
  // for the graph to run. A model in one .onnx file could be compressed itself.
  await cp(join(example, 'model'), at('model'), { recursive: true, filter: (path) => basename(path) !== 'model.onnx' });
  const keep = 0.8;
  for (const [name, by] of [
    ['calibrated', { calibration: at('moments.safetensors') }],
    ['uncalibrated', { uncalibrated: true }],
  ]) {
    const { bytes } = await compressCheckpoint(at('model'), at(`${name}-factors`), { keep, ...by });
    assert.ok(bytes.after < 0.82 * bytes.before);
    console.log(`${name}: ${bytes.before} -> ${bytes.after} bytes`);
    await expandCheckpoint(at(`${name}-factors`), at(name));
    await copyFile(graph, join(at(name), 'model.onnx'));
  }

  const texts = (await prompts('test.jsonl')).slice(0, 100);
  const models = [at('calibrated'), at('uncalibrated')].map((path) => join(path, 'model.onnx'));
  const { candidates } = await compare(graph, models, { engine, texts, runs: 0 });
  for (const { checkpoint, divergence, agreement } of candidates) {
    const quality = `KL ${divergence.value.toExponential(1)} nats, same next token ${agreement.value.toFixed(3)}`;
    console.log(`${basename(dirname(checkpoint))}: ${quality}`);
  }
  const [calibrated, uncalibrated] = candidates.map(({ divergence }) => divergence.value);
  assert.ok(calibrated < uncalibrated / 10, 'calibration saves more than nine tenths of the divergence');
} finally {
  await engine.close();
  await rm(folder, { recursive: true });
}

async function prompts(file) {
  const lines = await readFile(join(example, file), 'utf8');
  return lines
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line).prompt);
}
