import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, truncate, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import { beforeAll, describe, expect, it } from 'vitest';
import { runProgram } from '../../lib/cli/program.js';
import { laserSync } from '../../lib/lowrank/laser.js';
import { changedTensors, filesIn, models, readTensor, tinyLlama, weights, writeModel } from '../support/checkpoints.js';
import { lowrank, screen, spawnLowrank } from '../support/cli.js';
import { temporaryPaths } from '../support/folder.js';
import { made } from '../support/safetensors.js';

const at = temporaryPaths();
let llama: string;

beforeAll(async () => {
  llama = await writeModel(at('llama'), tinyLlama());
});

describe('lowrank', () => {
  it('prints its version and its commands', async () => {
    const { version } = JSON.parse(await readFile(new URL('../../package.json', import.meta.url), 'utf8'));
    expect(await spawnLowrank(['--version'])).toEqual({ code: 0, signal: null, stdout: `${version}\n`, stderr: '' });
    const help = await lowrank(['--help']);
    expect(help).toMatchObject({ code: 0, stderr: '' });
    for (const command of ['laser', 'inspect', 'doctor']) expect(help.stdout).toContain(command);
    expect(await spawnLowrank([])).toMatchObject({ code: 2, stdout: '' });
  });
});

describe('lowrank laser', () => {
  it('prints a table on stdout, progress on stderr, and exits with 0', async () => {
    const run = await spawnLowrank(['laser', llama, '-o', at('table'), '--at', '0:fc_in:0.25', '--at', '1:q_proj:0.5']);
    expect(run.code).toBe(0);
    expect(run.stdout).toMatch(/^tensor +shape +k +energy kept +relative error +method +seconds\n/);
    expect(run.stdout).toMatch(/model\.layers\.0\.mlp\.gate_proj\.weight +24 x 16 +4 of 16 +\d+\.\d\d % +0\.\d+/);
    expect(run.stdout).toMatch(/memory predicted \d.*, measured \d.* \(native \d/);
    expect(run.stdout).toContain(`wrote ${at('table')} in `);
    // The matrices are worked on side by side, so either may end last.
    expect(run.stderr).toMatch(/2\/2 model\.layers\.\d\.(mlp\.gate|self_attn\.q)_proj\.weight/);
    expect(run.stdout + run.stderr).not.toContain('\u001b');
    expect(await changedTensors(llama, at('table'))).toEqual([
      'model.layers.0.mlp.gate_proj.weight',
      'model.layers.1.self_attn.q_proj.weight',
    ]);
  });

  it('prints one JSON document and nothing else with --json', async () => {
    const run = await lowrank(['laser', llama, '-o', at('json'), '--at', '0:mlp:0.25', '--json']);
    expect(run.code).toBe(0);
    const report = JSON.parse(run.stdout);
    expect(report).toMatchObject({ out: at('json'), family: 'llama', seconds: expect.any(Number) });
    expect(report.edits).toHaveLength(3);
    expect(report.edits[0]).toMatchObject({
      layer: 0,
      rank: 4,
      rankFraction: 0.25,
      dtype: 'F32',
      certificate: { rank: 4 },
    });
    expect(report.memory.predicted.total).toBeGreaterThan(0);
    expect(report.memory.measured.peakRss).toBeGreaterThan(0);
    expect(run.stderr).toContain('3/3');
  });

  it('takes the flags of the paper, with its arithmetic', async () => {
    const wide = await writeModel(at('wide'), new Map([['transformer.h.0.mlp.fc_in.weight', weights([100, 100])]]), {
      config: { model_type: 'gptj' },
    });
    const flags = ['--lnum', '-1', '--lname', 'fc_in', '--rate'];
    // int(100 * ((10 - 9.9) * 0.1)) is 0 in floating point, and 0.01 of 100 is 1 in decimal.
    const paper = await lowrank(['laser', wide, '--dry-run', '--json', ...flags, '9.9']);
    expect(JSON.parse(paper.stdout).edits[0].rank).toBe(0);
    const decimal = await lowrank(['laser', wide, '--dry-run', '--json', '--at', '0:fc_in:0.01']);
    expect(JSON.parse(decimal.stdout).edits[0].rank).toBe(1);
    const half = await lowrank(['laser', wide, '-o', at('wide-out'), ...flags, '5', '--json']);
    expect(JSON.parse(half.stdout).edits[0].rank).toBe(50);
  });

  it('plans without writing with --dry-run', async () => {
    const before = await readdir(at());
    const run = await lowrank(['laser', llama, '--dry-run', '--at', 'all:attn:0.5', '--at', '0:fc_in:1']);
    expect(run).toMatchObject({ code: 0, stderr: '' });
    expect(run.stdout).toContain('9 matrices, nothing written');
    expect(run.stdout).toMatch(/k_proj\.weight +8 x 16 +F32 +rank-reduction +4 of 8/);
    expect(run.stdout).toMatch(/gate_proj\.weight +24 x 16 +F32 +none \(full rank\) +16 of 16/);
    expect(run.stdout).toMatch(/memory predicted \d/);
    expect(await readdir(at())).toEqual(before);
  });

  it('takes ranks, energies, and layers from the end', async () => {
    const specs = ['-1:fc_in:k=3', '..-2:fc_out:energy=0.9', 'last:k_proj:k=99'].flatMap((spec) => ['--at', spec]);
    const plan = await lowrank(['laser', llama, '--dry-run', ...specs]);
    expect(plan.stdout).toMatch(/layers\.1\.mlp\.gate_proj\.weight .* 3 of 16\n/);
    expect(plan.stdout).toMatch(/layers\.0\.mlp\.down_proj\.weight .* by energy 0\.9\n/);
    expect(plan.stdout).toMatch(/layers\.1\.self_attn\.k_proj\.weight .* none \(full rank\) +8 of 8\n/);
    const run = await lowrank(['laser', llama, '-o', at('amounts'), '--json', ...specs]);
    expect(run.code).toBe(0);
    const { edits } = JSON.parse(run.stdout);
    const [byEnergy, byRank] = edits;
    expect(byRank).toMatchObject({ layer: 1, type: 'fc_in', rank: 3, spec: '-1:fc_in:k=3' });
    // The smallest rank that keeps nine tenths of the squared singular values.
    expect(byEnergy).toMatchObject({ layer: 0, type: 'fc_out', certificate: { rank: byEnergy.rank } });
    expect(byEnergy.keptEnergy).toBeGreaterThanOrEqual(0.9);
    const less = ['laser', llama, '-o', at('less'), '--json', '--at', `0:fc_out:k=${byEnergy.rank - 1}`];
    expect(JSON.parse((await lowrank(less)).stdout).edits[0].keptEnergy).toBeLessThan(0.9);
    const equal = ['laser', llama, '-o', at('equal'), '--at', `0:fc_out:k=${byEnergy.rank}`, '--at', '1:fc_in:k=3'];
    expect((await lowrank(equal)).code).toBe(0);
    expect(await changedTensors(at('equal'), at('amounts'))).toEqual([]);
  });

  it('keeps an energy of each matrix of a batch', async () => {
    const source = await writeModel(at('experts'), new Map([['w', weights([3, 12, 8], 'F32', 5)]]));
    const run = await lowrank(['laser', source, '-o', at('experts-out'), '--json', '--tensor', 'w:energy=0.8']);
    const [{ rank, certificates }] = JSON.parse(run.stdout).edits;
    expect(certificates).toHaveLength(3);
    for (const { keptEnergy } of certificates) expect(keptEnergy).toBeGreaterThanOrEqual(0.8);
    expect(rank).toBe(Math.max(...certificates.map((certificate: { rank: number }) => certificate.rank)));
  });

  it('edits convolutions as matrices with --flatten', async () => {
    const shape = [8, 3, 3, 3];
    const source = await writeModel(at('vision'), new Map([['conv.weight', weights(shape)]]));
    const flags = ['--tensor', '*.weight:k=2'];
    const refused = await lowrank(['laser', source, '--dry-run', ...flags]);
    expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining('matches 1 tensor, but no matrix') });
    const run = await lowrank(['laser', source, '-o', at('vision-out'), '--flatten', '--json', ...flags]);
    expect(JSON.parse(run.stdout).edits[0]).toMatchObject({ shape: [8, 27], rank: 2 });
    const { data } = await readTensor(at('vision-out'), 'conv.weight');
    const best = laserSync({ data: (await readTensor(source, 'conv.weight')).data, shape: [8, 27] }, { rank: 2 });
    expect(best.allClose({ data, shape: [8, 27] }, { atol: 1e-6 })).toBe(true);
    const spectrum = await lowrank(['inspect', at('vision-out'), '--spectrum', '--flatten', '--json']);
    expect(JSON.parse(spectrum.stdout).spectra[0]).toMatchObject({ shape: [8, 27], rank: 2 });
  });

  it('suggests what a wrong name means', async () => {
    const plan = (...flags: string[]) => lowrank(['laser', llama, '--dry-run', ...flags]);
    expect(await plan('--at', '0:gate_proj:0.1')).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('`fc_in`'),
    });
    expect(await plan('--at', '7:fc_in:0.1')).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/layers 0 to 1\n.*the last is 1, -1 or last/),
    });
    expect(await plan('--tensor', 'mlp.up_proj:0.1')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('Did you mean "*mlp.up_proj*", which 2 names match?'),
    });
    expect(await plan('--family', 'lama')).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('(Did you mean llama?)'),
    });
    expect(await plan('--ta', '0:fc_in:0.1')).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('(Did you mean --at?)'),
    });
  });

  it('copies for dont', async () => {
    const run = await lowrank(['laser', llama, '-o', at('dont'), '--lname', 'dont']);
    expect(run.code).toBe(0);
    expect(await filesIn(at('dont'))).toEqual(await filesIn(llama));
  });

  it('prunes and zeroes tensors by name', async () => {
    const run = await lowrank([
      'laser',
      llama,
      '-o',
      at('zero'),
      '--intervention',
      'zero',
      '--tensor',
      'model.layers.*.mlp.up_proj.weight',
      '--at',
      '0:q_proj',
    ]);
    expect(run.code).toBe(0);
    const changed = await changedTensors(llama, at('zero'));
    expect(changed.sort()).toEqual([
      'model.layers.0.mlp.up_proj.weight',
      'model.layers.0.self_attn.q_proj.weight',
      'model.layers.1.mlp.up_proj.weight',
    ]);
    for (const name of changed) expect((await readTensor(at('zero'), name)).data.every((x) => x === 0)).toBe(true);
  });

  it('skips and counts tensors that a glob matches but that are not matrices', async () => {
    const glob = '*layers.1.*.weight';
    const note = `${glob}: matched 8 tensors, skipped 1 that are not matrices\n`;
    const skipped = [{ glob, matched: 8, tensors: ['model.layers.1.input_layernorm.weight'] }];
    const dry = await lowrank(['laser', llama, '--tensor', `${glob}:0.5`, '--dry-run', '--json']);
    expect(dry).toMatchObject({ code: 0, stderr: note });
    expect(JSON.parse(dry.stdout)).toMatchObject({ skipped });
    const run = await lowrank(['laser', llama, '--tensor', `${glob}:0.5`, '-o', at('globbed'), '--json']);
    expect(run.stderr).toContain(note);
    expect(JSON.parse(run.stdout)).toMatchObject({ skipped });
    expect(await changedTensors(llama, at('globbed'))).toHaveLength(7);
    const plan = await lowrank([
      'plan',
      llama,
      '--tensor',
      `${glob}:0.5`,
      '-o',
      at('globbed-2'),
      '-f',
      at('globbed.json'),
      '--json',
    ]);
    expect(plan).toMatchObject({ code: 0, stderr: note });
    expect(JSON.parse(plan.stdout)).toMatchObject({ skipped });

    const vectors = await lowrank(['laser', llama, '--tensor', '*norm*:0.5', '--dry-run']);
    expect(vectors).toMatchObject({ code: 1, stderr: expect.stringContaining('matches 2 tensors, but no matrix') });
    const exact = await lowrank(['laser', llama, '--tensor', `${skipped[0]!.tensors[0]}:0.5`, '--dry-run']);
    expect(exact).toMatchObject({ code: 1, stderr: expect.stringContaining('shape [16] is neither a matrix') });
  });

  it('gives the same files twice', async () => {
    const args = (out: string) => ['laser', llama, '-o', out, '--at', 'all:all:0.3'];
    expect((await spawnLowrank(args(at('same-1')))).code).toBe(0);
    expect((await lowrank(args(at('same-2')))).code).toBe(0);
    expect(await filesIn(at('same-1'))).toEqual(await filesIn(at('same-2')));
  });

  it('takes a single file, and the family by name', async () => {
    const run = await lowrank([
      'laser',
      join(llama, 'model.safetensors'),
      '-o',
      at('single.safetensors'),
      '--family',
      'llama',
      '--at',
      '0:fc_in:0.5',
    ]);
    expect(run.code).toBe(0);
    expect(await changedTensors(llama, at('single.safetensors'))).toEqual(['model.layers.0.mlp.gate_proj.weight']);
  });
});

describe('wrong usage exits with 2 and names what was expected', () => {
  const cases: [string, readonly string[], string][] = [
    ['no checkpoint', ['laser'], "missing required argument 'checkpoint'"],
    ['no intervention', ['laser', 'x', '-o', 'y'], 'nothing to edit'],
    ['no output', ['laser', 'x', '--at', '0:fc_in:0.5'], 'pass -o <path>'],
    ['rho above 1', ['laser', 'x', '-o', 'y', '--at', '0:fc_in:1.5'], 'from 0 to 1'],
    ['an unknown type', ['laser', 'x', '-o', 'y', '--at', '0:fc_inn:0.5'], 'fc_in, fc_up, fc_out'],
    ['a rate above 10', ['laser', 'x', '-o', 'y', '--lnum', '0', '--lname', 'fc_in', '--rate', '11'], 'from 0 to 10'],
    ['half of the paper flags', ['laser', 'x', '-o', 'y', '--lnum', '0', '--lname', 'fc_in'], '--rate <rate>'],
    ['an unknown flag', ['laser', 'x', '--att', '0:fc_in:0.5'], '--att'],
    ['an unknown command', ['lazer'], 'lazer'],
    ['an unknown intervention', ['laser', 'x', '--intervention', 'uv'], 'rank-reduction'],
    ['an unknown method', ['laser', 'x', '--method', 'magic'], 'auto'],
    ['an unknown family', ['laser', 'x', '--family', 'mamba'], 'gptj'],
    ['no threads', ['laser', 'x', '--threads', '0'], 'at least 1'],
  ];
  it.each(cases)('%s', async (_, args, expected) => {
    const run = await lowrank(args);
    expect(run).toMatchObject({ code: 2, stdout: '' });
    expect(run.stderr).toMatch(/^error: /);
    expect(run.stderr).toContain(expected);
    expect(run.stderr).toMatch(/\nhint: .+\n$/);
  });

  it('a matrix that is named twice', async () => {
    const run = await lowrank(['laser', llama, '-o', at('meet'), '--at', '0:mlp:0.5', '--at', 'all:fc_in:0.1']);
    expect(run.code).toBe(2);
    expect(run.stderr).toContain('"0:mlp:0.5" and by "all:fc_in:0.1"');
  });
});

describe('failures exit with 1, a message and a hint, and no stack', () => {
  it('a checkpoint that is not there', async () => {
    const run = await spawnLowrank(['laser', at('nowhere'), '-o', at('y'), '--at', '0:fc_in:0.5']);
    expect(run).toMatchObject({ code: 1, stdout: '' });
    expect(run.stderr).toMatch(/^error: .*nowhere.*\nhint: .+\n$/);
  });

  it('a layer and a type that the model lacks', async () => {
    const layer = await lowrank(['laser', llama, '-o', at('y'), '--at', '2:fc_in:0.5']);
    expect(layer).toMatchObject({ code: 1, stderr: expect.stringContaining('layers 0 to 1') });
    const gpt2 = await writeModel(at('gpt2'), new Map([['h.0.mlp.c_fc.weight', weights([4, 16])]]), {
      config: { model_type: 'gpt2' },
    });
    const type = await lowrank(['laser', gpt2, '-o', at('y'), '--at', '0:fc_up:0.5']);
    expect(type).toMatchObject({ code: 1, stderr: expect.stringContaining('this layer has fc_in, mlp, all') });
  });

  it('a model of no known family', async () => {
    const mamba = await writeModel(at('mamba'), new Map([['w', weights([4, 4])]]), { config: { model_type: 'mamba' } });
    const run = await lowrank(['laser', mamba, '-o', at('y'), '--at', '0:fc_in:0.5']);
    expect(run).toMatchObject({ code: 1, stderr: expect.stringMatching(/model_type "mamba".*\nhint: .*--tensor/) });
  });

  it('as a JSON document with --json', async () => {
    const run = await lowrank(['laser', llama, '-o', at('y'), '--at', '9:fc_in:0.5', '--json']);
    expect(run.code).toBe(1);
    expect(JSON.parse(run.stdout)).toEqual({
      error: {
        code: 'ERR_NOT_FOUND',
        message: 'layer 9: this model has layers 0 to 1',
        hint: 'Layers are numbered from 0: the last is 1, -1 or last.',
      },
    });
  });

  it('with the stack when LOWRANK_DEBUG is set', async () => {
    const args = ['laser', llama, '-o', at('y'), '--at', '9:fc_in:0.5'];
    expect((await lowrank(args)).stderr).not.toContain('    at ');
    expect((await lowrank(args, { env: { LOWRANK_DEBUG: '1' } })).stderr).toContain('    at ');
  });

  it('shows control characters of hostile names instead of obeying them', async () => {
    const hostile = await writeModel(at('hostile'), new Map([['a\u001b[31m\nerror: b', weights([4, 4])]]), {
      config: {},
    });
    const run = await lowrank(['inspect', hostile]);
    expect(run).toMatchObject({ code: 0, stdout: expect.stringContaining('a\\u{1b}[31m\\u{a}error: b') });
    expect(run.stdout).not.toContain('\u001b');
  });
});

describe('Ctrl-C', () => {
  /** Some seconds of work in several tensors. */
  const slow = () => {
    const tensors = new Map(Array.from({ length: 12 }, (_, i) => [`blocks.${i}.w`, weights([700, 700], 'F32', i)]));
    return writeModel(at('slow'), tensors, { config: {} });
  };

  it.skipIf(process.platform === 'win32')('twice ends the process at once', async () => {
    // One decomposition of several seconds, which nothing can stop in its middle.
    const source = await writeModel(at('long'), new Map([['w', weights([3500, 3500])]]), { config: {} });
    let sent = 0;
    let interrupted = 0;
    const run = await spawnLowrank(['laser', source, '-o', at('long-out'), '--tensor', 'w:0.5', '--threads', '1'], {
      onStderr: (soFar, kill) => {
        if (sent === 0 && soFar.includes('copying')) {
          sent = 1;
          setTimeout(() => kill('SIGINT'), 500);
        } else if (sent === 1 && soFar.includes('stopping')) {
          sent = 2;
          interrupted = performance.now();
          kill('SIGINT');
        }
      },
    });
    // What a shell reports as 130.
    expect(run).toMatchObject({ code: null, signal: 'SIGINT', stdout: '' });
    expect(run.stderr).not.toContain('error');
    expect(performance.now() - interrupted).toBeLessThan(2000);
    expect(existsSync(at('long-out'))).toBe(false);
  });

  it('stops cleanly, exits with 130, and resumes by the same command', async () => {
    const source = await slow();
    const out = at('stopped');
    let sent = false;
    const command = (path: string) => ['laser', source, '-o', path, '--tensor', 'blocks.*:0.5', '--threads', '1'];
    const run = await spawnLowrank(command(out), {
      onStderr: (soFar, kill) => {
        if (sent || !soFar.includes('1/12')) return;
        sent = true;
        kill('SIGINT');
      },
    });
    expect(run).toMatchObject({ code: 130, stdout: '' });
    expect(run.stderr).toMatch(/error: interrupted, \d+ tensors? done/);
    expect(run.stderr).toContain('run the same command again to resume');
    const work = `.${basename(out)}.lowrank`;
    const left = (await readdir(dirname(out))).filter((name) => name.includes(basename(out)));
    expect(left).toEqual([work]);

    const other = await lowrank(['laser', source, '-o', out, '--tensor', 'blocks.*:0.25']);
    expect(other).toMatchObject({ code: 1, stderr: expect.stringContaining('unfinished work of another job') });
    expect(other.stderr).toContain('--restart');

    const again = await lowrank(command(out));
    expect(again.code).toBe(0);
    expect(again.stdout).toMatch(/resumed: \d+ tensors? \(.*\) already done/);
    expect((await lowrank(command(at('unstopped')))).code).toBe(0);
    expect(await changedTensors(out, at('unstopped'))).toEqual([]);
    expect(await readdir(dirname(out))).not.toContain(work);
  });
});

describe('lowrank inspect', () => {
  it('sums up layers and types, and lists tensors if asked to', async () => {
    const summary = await lowrank(['inspect', llama]);
    expect(summary.stdout).toMatch(
      /model\.layers\.\*\.mlp\.up_proj\.weight +fc_up +0-1 +2 +24 x 16 +F32 +768 +3\.1 kB/,
    );
    expect(summary.stdout).toMatch(/\n--tensors lists all 17 tensors\n$/);
    const run = await lowrank(['inspect', llama, '--tensors']);
    expect(run).toMatchObject({ code: 0, stderr: '' });
    expect(run.stdout).toContain('family llama, layers 0 to 1\ntypes q_proj k_proj v_proj out_proj fc_in fc_up fc_out');
    expect(run.stdout).toMatch(/model\.layers\.1\.mlp\.up_proj\.weight +fc_up +24 x 16 +F32 +384 +1\.5 kB/);
  });

  it('shows a model of seven billion parameters on one screen', async () => {
    // The tensors of Mistral 7B, in a file of zeros that takes no room on the disk.
    const [hidden, inner, keys, words] = [4096, 14336, 1024, 32000];
    const layer = (i: number): [string, number[]][] =>
      Object.entries({
        input_layernorm: [hidden],
        'mlp.down_proj': [hidden, inner],
        'mlp.gate_proj': [inner, hidden],
        'mlp.up_proj': [inner, hidden],
        post_attention_layernorm: [hidden],
        'self_attn.k_proj': [keys, hidden],
        'self_attn.o_proj': [hidden, hidden],
        'self_attn.q_proj': [hidden, hidden],
        'self_attn.v_proj': [keys, hidden],
      }).map(([name, shape]) => [`model.layers.${i}.${name}.weight`, shape]);
    const tensors: [string, number[]][] = [
      ['lm_head.weight', [words, hidden]],
      ['model.embed_tokens.weight', [words, hidden]],
      ...Array.from({ length: 32 }, (_, i) => layer(i)).flat(),
      ['model.norm.weight', [hidden]],
    ];
    let end = 0;
    const header = tensors.map(([name, shape]) => {
      const start = end;
      end += 2 * shape.reduce((product, d) => product * d, 1);
      return [name, { dtype: 'BF16', shape, data_offsets: [start, end] }];
    });
    const file = made(Object.fromEntries(header));
    await mkdir(at('mistral'));
    await writeFile(at('mistral', 'config.json'), JSON.stringify({ model_type: 'mistral' }));
    await writeFile(at('mistral', 'model.safetensors'), file);
    await truncate(at('mistral', 'model.safetensors'), file.length + end);
    const { terminal, out } = screen(80);
    expect(await runProgram(['inspect', at('mistral')], terminal)).toBe(0);
    const lines = stripVTControlCharacters(out()).trimEnd().split('\n');
    expect(lines.length).toBeLessThanOrEqual(24);
    expect(Math.max(...lines.slice(1).map((line) => line.length))).toBeLessThanOrEqual(80);
    expect(lines[1]).toBe('safetensors, 291 tensors, 7,241,732,096 parameters, 14.5 GB');
    for (const type of ['q_proj', 'k_proj', 'v_proj', 'out_proj', 'fc_in', 'fc_up', 'fc_out']) {
      expect(lines.filter((line) => line.includes(` ${type} `) && line.includes(' 0-31 '))).toHaveLength(1);
    }
  });

  it('shows how a model stores its matrices, whatever its family usually does', async () => {
    for (const [name, shape, stored] of [
      ['conv1d', [8, 24], 'in x out'],
      ['linear', [24, 8], 'out x in'],
    ] as const) {
      const tensors = new Map([
        ['h.0.attn.c_attn.weight', weights(shape)],
        ['h.0.attn.c_proj.weight', weights([8, 8])],
      ]);
      const model = await writeModel(at(name), tensors, { config: { model_type: 'gpt2', n_embd: 8 } });
      expect((await lowrank(['inspect', model])).stdout).toContain(`\nmatrices stored ${stored}\n`);
      const report = JSON.parse((await lowrank(['inspect', model, '--json'])).stdout);
      expect(report.orientations).toEqual([stored]);
      expect(report.tensors.map(({ orientation }: { orientation: string }) => orientation)).toEqual([stored, stored]);
      const plan = await lowrank(['laser', model, '--dry-run', '--at', '0:k_proj:0.5']);
      expect(plan.stdout).toMatch(name === 'linear' ? /\[rows 8-15\] +8 x 8/ : /\[columns 8-15\] +8 x 8/);
    }
  });

  it('takes the spectra of the matrices that a glob matches', async () => {
    const run = await lowrank(['inspect', llama, '--tensor', 'model.layers.0.*', '--spectrum', '--json']);
    const note = 'model.layers.0.*: matched 8 tensors, skipped 1 that are not matrices';
    expect(run).toMatchObject({ code: 0, stderr: expect.stringContaining(note) });
    const { spectra, skipped } = JSON.parse(run.stdout);
    expect(spectra).toHaveLength(7);
    expect(skipped[0].tensors).toEqual(['model.layers.0.input_layernorm.weight']);
    expect(await lowrank(['inspect', llama, '--tensor', '*norm*', '--spectrum'])).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('no matrix'),
    });
    expect(await lowrank(['inspect', llama, '--tensor', '*norm*'])).toMatchObject({ code: 0, stderr: '' });
  });

  it('prints the same as JSON', async () => {
    const run = await lowrank(['inspect', llama, '--tensor', 'model.layers.0.*proj*', '--json']);
    const report = JSON.parse(run.stdout);
    expect(report).toMatchObject({ family: 'llama', layers: 2, format: 'safetensors' });
    expect(report.tensors).toHaveLength(7);
    expect(report.parameters).toBe(16 * 16 * 2 + 2 * 8 * 16 + 3 * 24 * 16);
    expect(report.bytes).toBe(4 * report.parameters);
    expect(report.spectra).toBeUndefined();
  });

  it('computes the same spectra side by side as one after the other', async () => {
    const of = async (threads: string) => {
      const run = await lowrank(['inspect', llama, '--spectrum', '--json', '--threads', threads]);
      expect(run.code).toBe(0);
      return JSON.parse(run.stdout).spectra as { tensor: string; singularValues: number[] }[];
    };
    const [alone, together] = [await of('1'), await of('3')];
    expect(together.map(({ tensor }) => tensor)).toEqual(alone.map(({ tensor }) => tensor));
    expect(together).toEqual(alone);
  });

  it('computes spectra', async () => {
    const diagonal = new Float32Array(12 * 4);
    [8, 4, 2, 0].forEach((value, i) => {
      diagonal[4 * i + i] = value;
    });
    const bytes = new Uint8Array(diagonal.buffer);
    const tensors = new Map([
      ['flat', { dtype: 'F32' as const, shape: [12, 4], bytes }],
      ['deep', { dtype: 'F32' as const, shape: [2, 6, 4], bytes }],
      ['bias', weights([4])],
    ]);
    const source = await writeModel(at('spectra'), tensors, { config: {} });
    const run = await lowrank(['inspect', source, '--spectrum', '--json']);
    expect(run.code).toBe(0);
    const { spectra } = JSON.parse(run.stdout);
    const [flat] = spectra.filter(({ tensor }: { tensor: string }) => tensor === 'flat');
    expect(flat).toMatchObject({
      shape: [12, 4],
      rank: 3,
      energyRank90: 2,
      energyRank95: 2,
      energyRank99: 3,
      breakEvenRank: 3,
    });
    flat.singularValues.forEach((value: number, i: number) => {
      expect(value).toBeCloseTo([8, 4, 2, 0][i]!, 5);
    });
    // Of a batch, each matrix: the second half of the diagonal one is zero.
    const deep = spectra.filter(({ tensor }: { tensor: string }) => tensor === 'deep');
    expect(deep.map(({ matrix, rank }: { matrix: number; rank: number }) => [matrix, rank])).toEqual([
      [0, 3],
      [1, 0],
    ]);
    const table = await lowrank(['inspect', source, '--spectrum', '--tensor', 'flat']);
    expect(table.stdout).toMatch(/flat +12 x 4 +3 +\d\.\d +2 +2 +3 +\d/);
    expect(table.stdout).toContain('█');
  });

  it('refuses the spectrum of tensors that are not matrices', async () => {
    const run = await lowrank(['inspect', llama, '--spectrum', '--tensor', '*layernorm*']);
    expect(run).toMatchObject({ code: 1, stdout: '', stderr: expect.stringContaining('input_layernorm.weight') });
  });
});

describe('lowrank doctor', () => {
  it('tries the native code', async () => {
    const run = await lowrank(['doctor']);
    expect(run).toMatchObject({ code: 0, stderr: '' });
    for (const word of [process.versions.node, process.arch, 'OpenBLAS', 'passed', 'GFLOP/s']) {
      expect(run.stdout).toContain(word);
    }
    const { stdout } = await lowrank(['doctor', '--json']);
    const diagnosis = JSON.parse(stdout);
    expect(diagnosis.selfTest).toMatchObject({ passed: true });
    expect(diagnosis.selfTest.gigaflops).toBeGreaterThan(0);
    expect(existsSync(diagnosis.addon.path)).toBe(true);
  });
});

const stories = join(models, 'stories260K');
describe.skipIf(!existsSync(stories))('a trained model (skipped without ../shared/data)', () => {
  it('is edited from file to file', async () => {
    const run = await lowrank([
      'laser',
      stories,
      '-o',
      at('stories'),
      '--at',
      '3-4:mlp:0.1',
      '--at',
      '0:q_proj:0.5',
      '--json',
    ]);
    expect(run.code).toBe(0);
    const { edits, family } = JSON.parse(run.stdout);
    expect(family).toBe('llama');
    expect(edits).toHaveLength(7);
    expect((await changedTensors(stories, at('stories'))).sort()).toEqual(
      edits.map(({ tensor }: { tensor: string }) => tensor).sort(),
    );
    for (const { relativeError, certificate, keptEnergy } of edits) {
      expect(relativeError).toBeCloseTo(certificate.relativeError, 5);
      expect(relativeError ** 2 + keptEnergy).toBeCloseTo(1, 5);
    }
  });

  it('has spectra that the energy kept agrees with', async () => {
    const name = 'model.layers.3.mlp.gate_proj.weight';
    const spectrum = await lowrank(['inspect', stories, '--spectrum', '--tensor', name, '--json']);
    const { singularValues } = JSON.parse(spectrum.stdout).spectra[0];
    const energy = (values: number[]) => values.reduce((sum, s) => sum + s * s, 0);
    const laser = await lowrank(['laser', stories, '-o', at('stories-2'), '--at', '3:fc_in:0.25', '--json']);
    const [edit] = JSON.parse(laser.stdout).edits;
    expect(edit.keptEnergy).toBeCloseTo(energy(singularValues.slice(0, 16)) / energy(singularValues), 5);
  });
});
