// The HTTP interface of the service.

import { createReadStream } from 'node:fs';
import { realpath, stat } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import fastify from 'fastify';
import { filesBelow, isInside, Refused } from './files.mjs';
import { KINDS } from './kinds.mjs';

/** Milliseconds between the comments that keep idle connections open. */
const HEARTBEAT = 15_000;
const ENDED = ['done', 'failed', 'cancelled'];

/** Creates the server, which listens to nothing yet. */
export function createApp(jobs, { logger = false } = {}) {
  // Unknown fields are errors, not left out: a misspelt option must not change what is made.
  const ajv = { customOptions: { removeAdditional: false, coerceTypes: false } };
  // Streams of events and idle connections would keep a server from closing.
  const app = fastify({ logger, ajv, forceCloseConnections: true });

  app.setErrorHandler((error, request, reply) => {
    const status = error instanceof Refused ? error.status : (error.statusCode ?? 500);
    if (status >= 500 && !(error instanceof Refused)) request.log.error(error);
    const code = error.validation ? 'ERR_ARGUMENT' : (error.code ?? 'ERR_UNEXPECTED');
    if (status === 503) reply.header('Retry-After', '10');
    return reply.code(status).send({ error: { code, message: error.message, hint: error.hint } });
  });

  for (const [kind, { schema }] of Object.entries(KINDS)) {
    const body = {
      type: 'object',
      required: ['model'],
      additionalProperties: false,
      properties: { model: { type: 'string', minLength: 1, maxLength: 1000 }, ...schema },
    };
    app.post(`/${kind}`, { schema: { body } }, async ({ body: { model, ...options } }, reply) => {
      const { job, created } = await jobs.submit({ kind, model, options });
      return reply
        .code(created ? 202 : 200)
        .header('Location', `/jobs/${job.id}`)
        .send(shown(job));
    });
  }

  const find = (id) => {
    const job = jobs.get(id);
    if (job === undefined) throw new Refused(404, 'ERR_NOT_FOUND', `${id}: no such job`);
    return job;
  };
  app.get('/health', async () => ({ processes: jobs.processes, threads: jobs.threads, share: jobs.share }));
  app.get('/jobs', async () => jobs.list().map(({ report: _, ...job }) => shown(job)));
  app.get('/jobs/:id', async ({ params }) => shown(find(params.id)));
  app.delete('/jobs/:id', async ({ params }) => shown(await jobs.cancel(find(params.id).id)));
  app.get('/jobs/:id/events', (request, reply) => sendEvents(find(request.params.id), jobs, reply));

  app.get('/jobs/:id/files', async ({ params }) => {
    const root = resultOf(find(params.id), jobs);
    const files = await filesBelow(root);
    return Promise.all(
      files.map(async (path) => ({ name: relative(dirname(root), path), bytes: (await stat(path)).size })),
    );
  });
  app.get('/jobs/:id/files/*', async ({ params }, reply) => {
    const root = dirname(resultOf(find(params.id), jobs));
    const missing = new Refused(404, 'ERR_NOT_FOUND', `${params['*']}: no such file`);
    const path = await realpath(join(root, params['*'])).catch(() => {
      throw missing;
    });
    const status = await stat(path);
    if (!isInside(await realpath(root), path) || !status.isFile()) throw missing;
    reply.header('Content-Length', status.size).type('application/octet-stream');
    return reply.send(createReadStream(path));
  });
  return app;
}

function resultOf(job, jobs) {
  if (job.state === 'done') return jobs.resultOf(job);
  throw new Refused(409, 'ERR_STATE', `the job is ${job.state}`, 'Its files exist once it is done.');
}

/** What clients see of a job. */
function shown({ digests: _, cancelled: __, ...job }) {
  return job;
}

/** Sends the state now and at every change, until the job has ended or the client has gone. */
function sendEvents(job, jobs, reply) {
  reply.hijack();
  const { raw } = reply;
  raw.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store', 'X-Accel-Buffering': 'no' });
  const send = (current) => {
    const ended = ENDED.includes(current.state);
    // A slow reader misses progress, never the end.
    if (!ended && raw.writableNeedDrain) return;
    raw.write(`event: ${ended ? current.state : 'progress'}\ndata: ${JSON.stringify(shown(current))}\n\n`);
    if (ended) raw.end();
  };
  const beat = setInterval(() => raw.write(': waiting\n\n'), HEARTBEAT);
  raw.on('close', () => {
    clearInterval(beat);
    jobs.off(job.id, send);
  });
  jobs.on(job.id, send);
  send(job);
}
