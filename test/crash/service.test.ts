import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, readdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, describe, expect, it } from 'vitest';
import { weights, writeModel } from '../support/checkpoints.js';
import { temporaryPaths } from '../support/folder.js';

const service = join(import.meta.dirname, '..', '..', 'examples', 'service');
const installed = existsSync(join(service, 'node_modules'));
const why = installed ? '' : ' (skipped: no Fastify; npm --prefix examples/service ci --ignore-scripts)';
const at = temporaryPaths();

interface Answer {
  readonly status: number;
  // biome-ignore lint/suspicious/noExplicitAny: JSON documents of several forms.
  readonly body: any;
}

const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

/** Starts the service in this process, with its own folders. */
async function start(name: string, options: { slots?: number; queue?: number; memory?: number } = {}) {
  const [{ createApp }, { Jobs }, { Models }] = await Promise.all(
    ['app.mjs', 'jobs.mjs', 'files.mjs'].map((file) => import(join(service, file))),
  );
  const models = at(name, 'models');
  await mkdir(models, { recursive: true });
  const { slots = 1, queue = 10, memory = 2e9 } = options;
  const folder = at(name, 'data');
  const jobs = new Jobs({ folder, models: new Models(models), version: '1', slots, queue, memory });
  // On a busy machine, threads that wait for each other take many times as long.
  jobs.threads = 1;
  await jobs.open();
  const app = createApp(jobs);
  const url = await app.listen({ port: 0, host: '127.0.0.1' });
  const close = async () => {
    await jobs.close();
    await app.close();
  };
  closing.push(close);
  const ask = async (method: string, path: string, body?: object): Promise<Answer> => {
    const headers = { 'content-type': 'application/json' };
    const answer = await fetch(url + path, { method, ...(body && { headers, body: JSON.stringify(body) }) });
    return { status: answer.status, body: await answer.json() };
  };
  return { models, folder, url, ask, close: () => closing.splice(closing.indexOf(close), 1)[0]!() };
}

/** A model of some square matrices under GPT-J's names; many take long. */
async function model(path: string, layers: number, size: number, seed = 1): Promise<void> {
  const tensors = Array.from({ length: layers }, (_, i) => {
    return [`transformer.h.${i}.mlp.fc_in.weight`, weights([size, size], 'F32', seed + i)] as const;
  });
  await writeModel(path, new Map(tensors), { config: { model_type: 'gptj' } });
}

/** Reads server-sent events until one of them is `until`. */
async function events(url: string, until: (event: string, data: Answer['body']) => boolean): Promise<string[]> {
  const answer = await fetch(url);
  expect(answer.headers.get('content-type')).toBe('text/event-stream');
  const seen: string[] = [];
  let text = '';
  for await (const chunk of answer.body!) {
    text += Buffer.from(chunk).toString();
    for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
      const [, event, data] = /^event: (.*)\ndata: (.*)$/.exec(text.slice(0, end)) ?? [];
      text = text.slice(end + 2);
      if (event === undefined) continue;
      seen.push(event);
      if (until(event, JSON.parse(data!))) return seen;
    }
  }
  return seen;
}

const ended = (event: string) => event !== 'progress';

describe.skipIf(!installed)(`the service of the examples${why}`, () => {
  it('makes an edit, tells of its progress, and serves its files', async () => {
    const { models, url, ask } = await start('edit');
    await model(join(models, 'small'), 3, 64);
    const asked = { model: 'small', at: ['all:fc_in:k=5'] };
    const { status, body } = await ask('POST', '/edit', asked);
    expect([status, body.state]).toEqual([202, expect.stringMatching(/queued|running/)]);
    expect(await events(`${url}/jobs/${body.id}/events`, ended)).toEqual(expect.arrayContaining(['progress', 'done']));
    const done = await ask('GET', `/jobs/${body.id}`);
    expect(done.body.report.edits.map(({ rank }: { rank: number }) => rank)).toEqual([5, 5, 5]);
    expect(await ask('POST', '/edit', asked)).toMatchObject({ status: 200, body: { id: body.id, state: 'done' } });
    const { body: files } = await ask('GET', `/jobs/${body.id}/files`);
    expect(files.map(({ name }: { name: string }) => name)).toContain('small/model.safetensors');
    const config = await fetch(`${url}/jobs/${body.id}/files/small/config.json`);
    expect(await config.json()).toEqual({ model_type: 'gptj' });
    for (const path of ['../../jobs', '..%2F..%2Fjobs', 'small', 'small/none']) {
      expect((await fetch(`${url}/jobs/${body.id}/files/${path}`)).status).toBe(404);
    }
  });

  it('compresses', async () => {
    const { models, url, ask } = await start('compress');
    await model(join(models, 'small'), 2, 64);
    const { body } = await ask('POST', '/compress', { model: 'small', keep: 0.5, uncalibrated: true });
    expect((await events(`${url}/jobs/${body.id}/events`, ended)).at(-1)).toBe('done');
    const { body: job } = await ask('GET', `/jobs/${body.id}`);
    expect(job.report.bytes.after).toBeLessThan(0.6 * job.report.bytes.before);
  });

  it('refuses what it must not read, and what makes no sense', async () => {
    const { models, ask } = await start('refused');
    await model(join(models, 'small'), 1, 16);
    await model(at('refused', 'secret'), 1, 16);
    await symlink(at('refused', 'secret'), join(models, 'link'));
    await mkdir(join(models, 'linked'));
    await symlink(at('refused', 'secret', 'model.safetensors'), join(models, 'linked', 'model.safetensors'));
    const status = async (body: object) => (await ask('POST', '/edit', { at: ['0:fc_in:0.5'], ...body })).status;
    for (const outside of ['../secret', at('refused', 'secret'), 'link', 'small/../../secret', '.', 'linked']) {
      expect([outside, await status({ model: outside })]).toEqual([outside, 403]);
    }
    expect(await status({ model: 'none' })).toBe(404);
    for (const wrong of [
      { att: ['0:fc_in:0.5'] },
      { at: '0:fc_in:0.5' },
      { at: [5] },
      { model: 5 },
      { out: '/tmp/x' },
    ]) {
      expect([wrong, await status({ model: 'small', ...wrong })]).toEqual([wrong, 400]);
    }
    const named = await ask('POST', '/edit', { model: 'small', at: ['0:gate_proj:0.5'] });
    expect(named).toMatchObject({ status: 400, body: { error: { message: expect.stringContaining('`fc_in`') } } });
    expect(await ask('GET', '/jobs/none')).toMatchObject({ status: 404 });
    expect((await ask('GET', '/jobs')).body).toEqual([]);
  });

  it('fails a job that cannot be done, and says why', async () => {
    const { models, url, ask } = await start('failing');
    await model(join(models, 'small'), 1, 16);
    const { body } = await ask('POST', '/edit', { model: 'small', at: ['7:fc_in:0.5'] });
    expect((await events(`${url}/jobs/${body.id}/events`, ended)).at(-1)).toBe('failed');
    const { body: job } = await ask('GET', `/jobs/${body.id}`);
    expect(job.error).toMatchObject({ code: 'ERR_NOT_FOUND', message: expect.stringContaining('layers 0 to 0') });
    expect((await ask('GET', `/jobs/${body.id}/files`)).status).toBe(409);
  });

  it('refuses a job that does not fit into its share of the memory', async () => {
    const { models, url, ask } = await start('memory', { memory: 350e6 });
    const bytes = new Uint8Array(4 * 4000 * 4000);
    const tensors = new Map([
      ['transformer.h.0.mlp.fc_in.weight', { dtype: 'F32' as const, shape: [4000, 4000], bytes }],
    ]);
    await writeModel(join(models, 'wide'), tensors, { config: { model_type: 'gptj' } });
    const { body } = await ask('POST', '/edit', { model: 'wide', at: ['all:fc_in:0.5'] });
    expect((await events(`${url}/jobs/${body.id}/events`, ended)).at(-1)).toBe('failed');
    const { body: job } = await ask('GET', `/jobs/${body.id}`);
    expect(job.error).toMatchObject({ code: 'ERR_MEMORY', message: expect.stringContaining('200000000') });
  });

  it('gives up a job whose process is killed again and again', async () => {
    const { models, url, ask } = await start('killed');
    await model(join(models, 'large'), 30, 500);
    const { body } = await ask('POST', '/edit', { model: 'large', at: ['all:fc_in:k=400'] });
    const killing = setInterval(async () => {
      const { processes } = (await ask('GET', '/health')).body;
      for (const pid of processes) process.kill(pid, 'SIGKILL');
    }, 50);
    const last = await events(`${url}/jobs/${body.id}/events`, ended);
    clearInterval(killing);
    expect(last.at(-1)).toBe('failed');
    const { body: job } = await ask('GET', `/jobs/${body.id}`);
    expect(job).toMatchObject({ kills: 6, error: { code: 'ERR_KILLED' } });
  });

  it('bounds its queue, and cancels jobs that wait and that run', async () => {
    const { models, folder, url, ask } = await start('queue', { queue: 1 });
    await model(join(models, 'large'), 30, 500);
    const submit = (rank: number) => ask('POST', '/edit', { model: 'large', at: [`all:fc_in:k=${rank}`] });
    const running = (await submit(400)).body;
    await events(`${url}/jobs/${running.id}/events`, (_, { progress }) => progress?.done > 0);
    const waiting = (await submit(300)).body;
    expect(waiting.state).toBe('queued');
    expect(await submit(200)).toMatchObject({ status: 503, body: { error: { code: 'ERR_QUEUE' } } });
    for (const { id } of [waiting, running]) {
      expect((await ask('DELETE', `/jobs/${id}`)).body.state).toBe('cancelled');
    }
    expect(await readdir(join(folder, 'results'))).toEqual([]);
    expect((await submit(400)).status).toBe(202);
    expect((await ask('DELETE', `/jobs/${running.id}`)).body.state).toBe('cancelled');
  });

  it('resumes after a stop what it had begun, and what waited', async () => {
    const first = await start('stopped');
    await model(join(first.models, 'large'), 30, 500);
    const submit = (rank: number) => first.ask('POST', '/edit', { model: 'large', at: [`all:fc_in:k=${rank}`] });
    const [begun, waits] = [(await submit(400)).body, (await submit(3)).body];
    await events(`${first.url}/jobs/${begun.id}/events`, (_, { progress }) => progress?.done > 3);
    await first.close();
    await writeFile(join(first.folder, 'jobs', 'half.json.1.tmp'), '{"id"');
    const second = await start('stopped');
    for (const { id } of [begun, waits]) {
      expect((await events(`${second.url}/jobs/${id}/events`, ended)).at(-1)).toBe('done');
    }
    const { body } = await second.ask('GET', `/jobs/${begun.id}`);
    expect(body.report.resumed.tensors).toBeGreaterThan(0);
  });

  it('loses nothing and makes nothing twice when processes and the server are killed', async () => {
    const run = promisify(execFile);
    const { stdout } = await run(process.execPath, [join(service, 'load-test.mjs'), '--jobs', '12']);
    expect(stdout).toMatch(/^12 jobs, 4 at a time: all done, .*none twice\n/);
  });
});
