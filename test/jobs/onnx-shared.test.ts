import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { beforeAll, describe, expect, it } from 'vitest';
import type { EditReport } from '../../lib/edit/edit-checkpoint.js';
import { readTensor } from '../support/checkpoints.js';
import { lowrank } from '../support/cli.js';
import { temporaryPaths } from '../support/folder.js';
import { jacobiSvd, truncate } from '../support/jacobi.js';
import { distance, gaussian, norm } from '../support/matrices.js';
import { field, floats, graphProto, modelProto, nodeProto, tensorProto } from '../support/onnx.js';

const at = temporaryPaths();
const WEIGHT = 'onnx::MatMul_7';
const LAYER = 'encoder.layer.weight';
const N = 12;

const weight = (name: string, seed: number) =>
  tensorProto({ name, dims: [N, N], raw: floats(...gaussian([N, N], seed).data) });

/** Its best approximation. */
const truncated = (seed: number, k: number) => truncate(jacobiSvd(gaussian([N, N], seed).data, N, N), N, N, k);

beforeAll(async () => {
  await mkdir(at('albert'));
  // One layer applied eight times, as exporters write ALBERT, and one that is used once.
  const nodes = Array.from({ length: 8 }, (_, i) =>
    nodeProto({
      op: 'MatMul',
      name: `/encoder/layer${i === 0 ? '' : `_${i}`}/MatMul`,
      inputs: [i === 0 ? 'x' : `h${i}`, WEIGHT],
      outputs: [`h${i + 1}`],
    }),
  );
  nodes.push(nodeProto({ op: 'MatMul', name: '/head/MatMul', inputs: ['h8', 'onnx::MatMul_9'] }));
  const graph = graphProto(nodes, [weight(WEIGHT, 1), weight('onnx::MatMul_9', 2)]);
  await writeFile(at('albert', 'model.onnx'), modelProto(graph));

  const branch = (value: string, seed: number) =>
    graphProto([nodeProto({ op: 'Constant', inputs: [], outputs: [value], value: weight('', seed) })], []);
  const choice = nodeProto({
    op: 'If',
    inputs: ['c'],
    outputs: ['w'],
    graphs: [branch('first', 3), branch('second', 4)],
  });
  await writeFile(at('branches.onnx'), modelProto(graphProto([choice], [])));
  const own = field(25, field(7, nodeProto({ op: 'Constant', inputs: [], outputs: ['w'], value: weight('', 5) })));
  await writeFile(at('function.onnx'), Buffer.concat([modelProto(graphProto([], [])), own]));
});

describe('an ONNX weight that many places use', () => {
  it('is shown by its module, with how often it is used', async () => {
    const { code, stdout } = await lowrank(['inspect', at('albert'), '--tensors']);
    expect(code).toBe(0);
    expect(stdout).toMatch(/tensor +type +shape +dtype +parameters +size +uses +name in the file\n/);
    expect(stdout).toMatch(new RegExp(`^${LAYER} .* 8 +${WEIGHT}$`, 'm'));
    expect(stdout).toMatch(/^head\.weight .* onnx::MatMul_9$/m);
    const spectrum = await lowrank(['inspect', at('albert'), '--spectrum', '--tensor', 'encoder*']);
    expect(spectrum.stdout).toContain(LAYER);
  });

  it('is refused for an edit, with the switch that edits it', async () => {
    const { code, stderr } = await lowrank(['laser', at('albert'), '-o', at('refused'), '--tensor', `${LAYER}:0.25`]);
    expect(code).toBe(1);
    expect(stderr).toContain('8 places use it');
    expect(stderr).toContain('--shared');
  });

  it('is edited for all of them with --shared, as plan and reports show', async () => {
    const edit = ['--tensor', `${LAYER}:0.25`, '--shared'];
    const plan = await lowrank(['laser', at('albert'), '--dry-run', ...edit]);
    expect(plan.stdout).toMatch(/ k +uses\n.* 3 of 12 +8\n/);
    const { code, stdout } = await lowrank(['laser', at('albert'), '-o', at('edited'), ...edit, '--json']);
    expect(code).toBe(0);
    const report = JSON.parse(stdout) as EditReport;
    expect(report).toMatchObject({ options: { shared: true }, edits: [{ tensor: WEIGHT, uses: 8, rank: 3 }] });
    await writeFile(at('report.json'), stdout);
    expect((await lowrank(['report', at('report.json'), '-o', at('report.html')])).code).toBe(0);
    const page = await readFile(at('report.html'), 'utf8');
    expect(page).toContain('>uses<');
    expect(page).toContain('<span>--shared</span>');

    const { data } = await readTensor(at('edited'), WEIGHT);
    expect(distance(data, truncated(1, 3))).toBeLessThan(1e-5);
  });

  it('is edited alike by plan, run and merge', async () => {
    const job = ['plan', at('albert'), '-o', at('merged'), '--tensor', `${LAYER}:0.25`, '-f', at('plan.json')];
    expect(await lowrank(job)).toMatchObject({ code: 1, stderr: expect.stringContaining('--shared') });
    for (const args of [
      [...job, '--shared'],
      ['run', at('plan.json'), '--shard', '1/1'],
      ['merge', at('plan.json')],
    ]) {
      expect(await lowrank(args)).toMatchObject({ code: 0 });
    }
    expect(await readFile(at('merged', 'model.onnx'))).toEqual(await readFile(at('edited', 'model.onnx')));
  });
});

describe('ONNX weights that are not initialisers', () => {
  it('are listed and edited in the branches of an If', async () => {
    const listed = await lowrank(['inspect', at('branches.onnx')]);
    expect(listed.stdout).toMatch(/^onnx, 2 tensors, .*(?:\n.*)*\nfirst .*\nsecond /m);
    const out = at('branches-edited.onnx');
    expect((await lowrank(['laser', at('branches.onnx'), '-o', out, '--tensor', 'second:0.5'])).code).toBe(0);
    const { data } = await readTensor(out, 'second');
    const best = truncated(4, 6);
    expect(distance(data, best)).toBeLessThan(1e-6 * norm(best));
    expect((await readTensor(out, 'first')).data).toEqual(gaussian([N, N], 3).data);
  });

  it('fail if none can be listed', async () => {
    const { code, stderr } = await lowrank(['inspect', at('function.onnx')]);
    expect(code).toBe(1);
    expect(stderr).toMatch(/only 1 matrix \(576 B\) in functions of the model/);
    expect(stderr).toContain('inline_local_functions');
  });

  it('are reported if some are listed', async () => {
    const some = [weight('w', 6)];
    const own = field(25, field(7, nodeProto({ op: 'Constant', inputs: [], outputs: ['w'], value: weight('', 5) })));
    await writeFile(at('some.onnx'), Buffer.concat([modelProto(graphProto([], some)), own]));
    const { code, stdout } = await lowrank(['inspect', at('some.onnx')]);
    expect(code).toBe(0);
    expect(stdout).toContain('not listed: 1 matrix (576 B) in functions of the model. Inline the functions');
  });

  it('of integers are not quantised weights', async () => {
    const positions = tensorProto({ name: 'positions', dims: [1, 2], type: 7, raw: Buffer.alloc(16) });
    await writeFile(at('integers.onnx'), modelProto(graphProto([], [positions])));
    const { code, stderr } = await lowrank([
      'laser',
      at('integers.onnx'),
      '-o',
      at('no.onnx'),
      '--tensor',
      'positions:0.5',
    ]);
    expect(code).toBe(1);
    expect(stderr).toContain('integers');
    expect(stderr).not.toContain('quantised');
  });
});
