// Loads the service: 50 jobs, 4 at a time, while their processes and twice the server itself are killed.
// Afterwards every job has its result, which equals that of editCheckpoint to the byte, none was made
// twice, and the processes together never took more memory than they may. Linux only (/proc).
//
// Usage: node load-test.mjs [--jobs 50] [--memory 1.5e9]

import { strict as assert } from 'node:assert';
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { randn } from 'lowrank';
import { editCheckpoint } from 'lowrank/checkpoint';

const { values } = parseArgs({ options: { jobs: { type: 'string' }, memory: { type: 'string' } } });
const [JOBS, SLOTS, MODELS, LAYERS, SIZE] = [Number(values.jobs ?? 50), 4, 10, 6, 512];
const MEMORY = Number(values.memory ?? 1.5e9);
const SERVER_KILLS = 2;

const folder = await mkdtemp(join(tmpdir(), 'lowrank-load-'));
const [models, data] = [join(folder, 'models'), join(folder, 'data')];
const seen = { peak: 0, childKills: 0, serverKills: 0 };
let server;
try {
  for (let i = 0; i < MODELS; i++) await writeModel(join(models, `model-${i}`), i);
  await start();
  const watch = watchMemory();

  const requests = Array.from({ length: JOBS }, (_, i) => ({
    model: `model-${i % MODELS}`,
    at: [`all:fc_in:${(0.05 * (1 + Math.floor(i / MODELS))).toFixed(2)}`],
  }));
  const ids = [];
  for (const request of requests) ids.push((await post(request, 202)).id);
  assert.equal(new Set(ids).size, JOBS);
  for (const [i, request] of requests.entries()) assert.equal((await post(request, 200)).id, ids[i], 'asked twice');

  await killUntilDone();
  watch.stop = true;

  const jobs = await get('/jobs');
  assert.equal(jobs.length, JOBS, 'nothing lost');
  for (const job of jobs) assert.equal(job.state, 'done', JSON.stringify(job.error));
  const results = new Set();
  for (const [i, id] of ids.entries()) {
    const made = await fetch(`${server.url}/jobs/${id}/files/${requests[i].model}/model.safetensors`);
    const digest = sha256(Buffer.from(await made.arrayBuffer()));
    const out = join(folder, `expected-${i}`);
    // The same threads as in the service, on which the last bits depend.
    const threads = server.threads;
    await editCheckpoint(join(models, requests[i].model), out, { interventions: requests[i].at, threads });
    assert.equal(digest, sha256(await readFile(join(out, 'model.safetensors'))), `job ${i} differs`);
    await rm(out, { recursive: true });
    results.add(digest);
  }
  assert.equal(results.size, JOBS, 'each result once');
  assert.ok(seen.peak <= MEMORY, `${seen.peak} bytes of ${MEMORY}`);
  assert.equal(seen.serverKills, SERVER_KILLS);
  assert.ok(seen.childKills > 0);
  console.log(`${JOBS} jobs, ${SLOTS} at a time: all done, equal to editCheckpoint to the byte, none twice`);
  console.log(`killed ${seen.childKills} processes of jobs, and the server ${seen.serverKills} times`);
  console.log(`memory at most ${(seen.peak / 1e6).toFixed(0)} MB of ${(MEMORY / 1e6).toFixed(0)} MB`);
} finally {
  server?.process.kill('SIGKILL');
  await sleep(500);
  await rm(folder, { recursive: true, force: true, maxRetries: 5 });
}

/** Kills a process of a job every half second, and the server twice, until all jobs are done. */
async function killUntilDone() {
  const begin = Date.now();
  for (let turn = 1; ; turn++) {
    await sleep(500);
    const jobs = await get('/jobs');
    const done = jobs.filter(({ state }) => state === 'done').length;
    if (done === JOBS) return;
    assert.ok(Date.now() - begin < 20 * 60_000, `${done} of ${JOBS} jobs after 20 minutes`);
    if (seen.serverKills < SERVER_KILLS && done > ((seen.serverKills + 1) * JOBS) / (SERVER_KILLS + 2)) {
      seen.serverKills++;
      server.process.kill('SIGKILL');
      await start();
      continue;
    }
    const running = jobs.filter(({ state }) => state === 'running');
    const { processes } = await get('/health');
    // A job is given up when it was killed too often: that is another test.
    if (running.every(({ kills }) => kills < 3) && processes.length > 0 && kill(processes[turn % processes.length])) {
      seen.childKills++;
    }
  }
}

function kill(pid) {
  try {
    return process.kill(pid, 'SIGKILL');
  } catch {
    return false;
  }
}

/** Starts the server on the same folders as before. */
async function start() {
  const env = { ...process.env, MODELS: models, DATA: data, PORT: '0', JOBS: String(SLOTS), MEMORY: String(MEMORY) };
  const child = spawn(process.execPath, [join(import.meta.dirname, 'server.mjs')], {
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  for await (const line of createInterface({ input: child.stdout })) {
    const url = /^listening on (\S+)/.exec(line)?.[1];
    if (url === undefined) continue;
    server = { process: child, url, threads: (await (await fetch(`${url}/health`)).json()).threads };
    return;
  }
  throw new Error('the server did not start');
}

async function post(body, expected) {
  const headers = { 'Content-Type': 'application/json' };
  const answer = await fetch(`${server.url}/edit`, { method: 'POST', headers, body: JSON.stringify(body) });
  const document = await answer.json();
  // A short job may be done before it is asked for again, which is the same answer.
  assert.equal(answer.status, expected, JSON.stringify(document));
  return document;
}

async function get(path) {
  return (await fetch(server.url + path)).json();
}

/** Adds up the memory of the server and of its processes ten times a second. */
function watchMemory() {
  const watch = { stop: false };
  const look = async () => {
    while (!watch.stop) {
      const pids = [server.process.pid, ...(await get('/health').catch(() => ({ processes: [] }))).processes];
      const sizes = await Promise.all(pids.map((pid) => rssOf(pid)));
      seen.peak = Math.max(
        seen.peak,
        sizes.reduce((sum, bytes) => sum + bytes, 0),
      );
      await sleep(100);
    }
  };
  look();
  return watch;
}

async function rssOf(pid) {
  const text = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
  return 1024 * Number(/^VmRSS:\s+(\d+)/m.exec(text)?.[1] ?? 0);
}

/** Writes random weights under GPT-J's names. */
async function writeModel(path, seed) {
  const bytes = 4 * SIZE * SIZE;
  const names = Array.from({ length: LAYERS }, (_, i) => `transformer.h.${i}.mlp.fc_in.weight`);
  const place = (i) => ({ dtype: 'F32', shape: [SIZE, SIZE], data_offsets: [i * bytes, (i + 1) * bytes] });
  const header = Buffer.from(JSON.stringify(Object.fromEntries(names.map((name, i) => [name, place(i)]))));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  const weights = names.map((_, i) => Buffer.from(randn([SIZE, SIZE], { seed: 100 * seed + i }).data.buffer));
  await mkdir(path, { recursive: true });
  await writeFile(join(path, 'config.json'), JSON.stringify({ model_type: 'gptj' }));
  await writeFile(join(path, 'model.safetensors'), Buffer.concat([length, header, ...weights]));
}

function sha256(bytes) {
  return createHash('sha256').update(bytes).digest('hex');
}
