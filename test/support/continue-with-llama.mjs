// Prints llama.cpp's greedy continuation of a prompt. Runs as a separate process, because its threads
// wait for each other in busy loops, and native code can crash a process.
// Usage: node continue-with-llama.mjs MODEL.gguf

const peer = new URL('../peers/node_modules/node-llama-cpp/dist/index.js', import.meta.url);
const { getLlama, LlamaCompletion } = await import(peer.href);
const llama = await getLlama({ gpu: false, build: 'never', maxThreads: 1, logLevel: 'error', progressLogs: false });
const model = await llama.loadModel({ modelPath: process.argv[2] ?? '' });
const context = await model.createContext({ contextSize: 256 });
const completion = new LlamaCompletion({ contextSequence: context.getSequence() });
const text = await completion.generateCompletion('Once upon a time', { maxTokens: 60, temperature: 0 });
process.stdout.write(text);
await llama.dispose();
