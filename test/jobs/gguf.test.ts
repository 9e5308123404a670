import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { open } from '../../lib/checkpoint/open.js';
import { editCheckpoint } from '../../lib/edit/edit-checkpoint.js';
import { inspectCheckpoint } from '../../lib/inspect/inspect.js';
import { fromFloat32, toFloat32 } from '../../lib/tensor/convert.js';
import { models } from '../support/checkpoints.js';
import { temporaryPaths } from '../support/folder.js';
import { assembled } from '../support/gguf.js';
import { distance, norm } from '../support/matrices.js';

const at = temporaryPaths();
const folder = join(models, 'stories260K');
const gguf = join(folder, 'stories260K-f32.gguf');
const safetensors = join(folder, 'model.safetensors');
const noStories = existsSync(gguf) ? '' : ' (skipped: no ../shared/data/models/stories260K)';

const peer = fileURLToPath(new URL('../peers/node_modules/node-llama-cpp/dist/index.js', import.meta.url));
const noLlama = existsSync(peer) ? '' : ' (skipped: no node-llama-cpp in test/peers)';

async function numbers(path: string) {
  const checkpoint = await open(path);
  try {
    const all = new Map<string, { dtype: string; data: Float32Array }>();
    for (const { name, dtype } of checkpoint.tensors.values()) {
      all.set(name, { dtype, data: toFloat32(await checkpoint.read(name), dtype) });
    }
    return all;
  } finally {
    await checkpoint.close();
  }
}

/** The model with the matrices of layer 2 as Q8_0. */
async function quantised(out: string): Promise<string> {
  const source = await open(gguf);
  const types = new Map<string, 'Q8_0'>();
  const bytes = new Map<string, Uint8Array>();
  for (const { name, shape } of source.tensors.values()) {
    // The rows of ffn_down, 172 numbers, are no whole blocks.
    if (!name.startsWith('blk.2.') || shape.length < 2 || shape.at(-1)! % 32 !== 0) continue;
    types.set(name, 'Q8_0');
    bytes.set(name, fromFloat32(toFloat32(await source.read(name), 'F32'), 'Q8_0'));
  }
  const files = await assembled(source, folder, types, bytes);
  await source.close();
  await writeFile(out, files.get(basename(gguf))!);
  return out;
}

describe.skipIf(noStories !== '')(`a GGUF copy of a model${noStories}`, () => {
  it('has the singular values of the safetensors copy, matrix for matrix', async () => {
    const [one, other] = await Promise.all(
      [safetensors, gguf].map((path) => inspectCheckpoint(path, { spectrum: true })),
    );
    expect(other).toMatchObject({ format: 'gguf', family: one!.family, layers: one!.layers, types: one!.types });
    const byRole = (report: typeof one) => {
      const roles = new Map(report!.tensors.map(({ name, layer, types }) => [name, `${layer} ${types}`]));
      return new Map(report!.spectra!.map(({ tensor, singularValues }) => [roles.get(tensor)!, singularValues]));
    };
    const [expected, found] = [byRole(one), byRole(other)];
    expect([...found.keys()].sort()).toEqual([...expected.keys()].sort());
    expect(found.size).toBe(5 * 7);
    for (const [role, values] of expected) {
      const largest = values[0]!;
      for (const [i, s] of found.get(role)!.entries())
        expect(Math.abs(s - values[i]!), role).toBeLessThan(1e-6 * largest);
    }
  });

  it('has the same errors after the same edit, and nothing else changed', async () => {
    const interventions = ['1-3:fc_in:0.1', '0:q_proj:0.25', '4:fc_out:0.5'];
    const out = at('edited.gguf');
    const [one, other] = [
      await editCheckpoint(safetensors, at('edited.safetensors'), { interventions }),
      await editCheckpoint(gguf, out, { interventions }),
    ];
    const places = (report: typeof one) =>
      new Map(report.edits.map(({ layer, type, rank, relativeError }) => [`${layer} ${type} ${rank}`, relativeError]));
    expect([...places(other).keys()].sort()).toEqual([...places(one).keys()].sort());
    for (const [place, error] of places(one)) expect(places(other).get(place), place).toBeCloseTo(error, 5);

    const edited = new Set(other.edits.map(({ tensor }) => tensor));
    expect(edited).toContain('blk.0.attn_q.weight');
    const [before, after] = [await numbers(gguf), await numbers(out)];
    expect([...after.keys()]).toEqual([...before.keys()]);
    for (const [name, { data }] of before) {
      const same = Buffer.compare(Buffer.from(data.buffer), Buffer.from(after.get(name)!.data.buffer)) === 0;
      expect(same, name).toBe(!edited.has(name));
    }
  });

  it('with quantised matrices is edited into a type of choice, and all else keeps its numbers', async () => {
    const source = await quantised(at('q8.gguf'));
    const interventions = ['2:fc_in:0.25'];
    const name = 'blk.2.ffn_gate.weight';
    await expect(editCheckpoint(source, at('no.gguf'), { interventions })).rejects.toMatchObject({
      code: 'ERR_UNSUPPORTED',
    });
    const before = await numbers(source);
    for (const quant of ['F32', 'F16', 'Q8_0'] as const) {
      const out = at(`q8-to-${quant}.gguf`);
      const [edit] = (await editCheckpoint(source, out, { interventions, quant })).edits;
      expect(edit).toMatchObject({ tensor: name, dtype: 'Q8_0', writtenAs: quant, rank: 16 });
      const after = await numbers(out);
      expect([...after.keys()]).toEqual([...before.keys()]);
      const [was, is] = [before.get(name)!.data, after.get(name)!.data];
      expect(after.get(name)!.dtype).toBe(quant);
      expect(distance(is, was) / norm(was)).toBeCloseTo(edit!.relativeError, 5);
      for (const [other, { dtype, data }] of before) {
        if (other !== name) expect(after.get(other), other).toEqual({ dtype, data });
      }
    }
  });

  it('stays the same file at rho 1', async () => {
    const out = at('whole.gguf');
    await editCheckpoint(gguf, out, { interventions: ['all:all:1'] });
    expect((await readFile(out)).equals(await readFile(gguf))).toBe(true);
  });
});

/** What llama.cpp says after a prompt when it always takes the likeliest word. */
async function continued(model: string): Promise<string> {
  const script = fileURLToPath(new URL('../support/continue-with-llama.mjs', import.meta.url));
  return (await promisify(execFile)(process.execPath, [script, model], { timeout: 60_000 })).stdout;
}

describe.skipIf(noStories !== '' || noLlama !== '')(`llama.cpp${noStories || noLlama}`, () => {
  it('loads the output, and continues like the original if the edit removes nothing', async () => {
    const text = await continued(gguf);
    expect(text.length).toBeGreaterThan(40);
    const [whole, cut] = [at('llama-whole.gguf'), at('llama-cut.gguf')];
    await editCheckpoint(gguf, whole, { interventions: ['all:all:1'] });
    expect(await continued(whole)).toBe(text);
    // Ranks of nearly all matrices halved: llama.cpp sees the new numbers.
    await editCheckpoint(gguf, cut, { interventions: ['all:mlp:0.5'] });
    const other = await continued(cut);
    expect(other.length).toBeGreaterThan(0);
    expect(other).not.toBe(text);
    // Tensors of other types and sizes, in other places.
    const mixed = at('llama-mixed.gguf');
    const source = await quantised(at('llama-q8.gguf'));
    await editCheckpoint(source, mixed, { interventions: ['2:attn:0.9'], quant: 'F16' });
    expect((await continued(mixed)).length).toBeGreaterThan(0);
  });
});
