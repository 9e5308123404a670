// Writes llama.cpp's logits after each of the first 240 tokens of a text, as float32 rows, and prints
// how many there are, and all tokens:
// node logits-with-llama.mjs MODEL.gguf TEXT OUT [ADAPTER.gguf]
// Runs as a separate process, because its threads wait for each other in busy loops, and native code
// can crash a process.

import { readFile, writeFile } from 'node:fs/promises';

const [modelPath, text, out, adapter] = process.argv.slice(2);
if (!modelPath || !text || !out) throw new Error('usage: logits-with-llama.mjs MODEL.gguf TEXT OUT [ADAPTER.gguf]');
const peer = new URL('../peers/node_modules/node-llama-cpp/dist/index.js', import.meta.url);
const { getLlama } = await import(peer.href);
const llama = await getLlama({ gpu: false, build: 'never', maxThreads: 1, logLevel: 'error', progressLogs: false });
const model = await llama.loadModel({ modelPath });
const all = [...model.tokenize(await readFile(text, 'utf8'), false)];
const tokens = all.slice(0, 240);
const context = await model.createContext({
  contextSize: 256,
  flashAttention: false,
  experimentalKvCacheKeyType: 'F32',
  experimentalKvCacheValueType: 'F32',
  ...(adapter && { lora: { adapters: [{ filePath: adapter, scale: 1 }] } }),
});
const sequence = context.getSequence();
// Without these the sampler truncates the distribution.
const options = { temperature: 1, topK: 0, topP: 1, minP: 0 };
const rows = [];
for (let begin = 0; begin < tokens.length; begin += 16) {
  const piece = tokens.slice(begin, begin + 16).map((token) => [token, { generateNext: { logits: true, options } }]);
  for (const { next } of await sequence.controlledEvaluate(piece)) {
    const row = new Float32Array(next.logits.size);
    for (const [token, logit] of next.logits) row[token] = logit;
    rows.push(Buffer.from(row.buffer));
  }
}
await writeFile(out, Buffer.concat(rows));
process.stdout.write(JSON.stringify({ rows: rows.length, size: (rows[0]?.length ?? 0) / 4, tokens: all }));
await llama.dispose();
