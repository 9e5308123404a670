import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import type { Checkpoint } from '../../lib/checkpoint/checkpoint.js';
import { open } from '../../lib/checkpoint/open.js';
import { editCheckpoint } from '../../lib/edit/edit-checkpoint.js';
import { type InspectReport, inspectCheckpoint } from '../../lib/inspect/inspect.js';
import { parseAt } from '../../lib/interventions/spec.js';
import { Model, type Target } from '../../lib/model/model.js';
import { GROUPS, MATRIX_TYPES, type MatrixType } from '../../lib/model/types.js';
import { fakeCheckpoint } from '../support/fake-checkpoint.js';
import { temporaryFolder } from '../support/folder.js';
import { python, runPython, unlessNoPython } from './python.js';

/** A matrix of a module of the model, explained in `family_models.py`. */
interface ModuleMatrix {
  readonly tensor: string;
  readonly shape: readonly number[];
  readonly orientation: string;
  readonly layer: number;
  readonly module: string;
  readonly typed: boolean;
}

/** The fields of `Verdict` in `family_judge.py`, explained there. */
interface Verdict {
  readonly name: string;
  readonly failure?: string;
  readonly loading: readonly string[];
  readonly changed: readonly string[];
  readonly count: number;
  readonly nonzero: number;
  readonly zeroed: readonly string[];
  readonly partly: readonly string[];
  readonly disturbed: readonly string[];
  readonly seen: readonly string[];
  readonly effect: number;
}

/** The models of `family_models.py`, and the family that each belongs to. */
const MODELS: Readonly<Record<string, string>> = {
  t5: 't5',
  't5-gated': 't5',
  umt5: 't5',
  bart: 'bart',
  marian: 'bart',
  mbart: 'bart',
  pegasus: 'bart',
  'm2m-100': 'bart',
  whisper: 'bart',
  albert: 'albert',
  mpnet: 'mpnet',
  modernbert: 'modernbert',
  deberta: 'deberta',
  'deberta-v3': 'deberta',
  vit: 'vit',
  deit: 'vit',
  clip: 'clip',
  siglip: 'clip',
  'gpt-neo': 'gpt_neo',
  bloom: 'bloom',
  'falcon-7b': 'falcon',
  'falcon-40b': 'falcon',
  'falcon-rw': 'falcon',
  'gpt-bigcode': 'gpt_bigcode',
  'gpt-bigcode-mha': 'gpt_bigcode',
  'deepseek-v2': 'deepseek',
  'deepseek-v3': 'deepseek',
  'gpt-oss': 'gpt_oss',
  'qwen2-moe': 'llama',
  'qwen3-moe': 'llama',
  'gemma3-text': 'llama',
  gemma3: 'llama',
  'phi-4': 'phi3',
  'phi-4-multimodal': 'phi3',
  smollm3: 'llama',
  gpt2: 'gpt2',
  'gpt-neox': 'gpt_neox',
};

/** What llama.cpp calls the models that it knows. */
const GGUF: Readonly<Record<string, string>> = {
  t5: 't5',
  't5-gated': 't5',
  modernbert: 'modern-bert',
  bloom: 'bloom',
  'falcon-40b': 'falcon',
  'gpt-bigcode': 'starcoder',
  'deepseek-v2': 'deepseek2',
  'deepseek-v3': 'deepseek2',
  'gpt-oss': 'gpt-oss',
  'qwen2-moe': 'qwen2moe',
  'qwen3-moe': 'qwen3moe',
  'gemma3-text': 'gemma3',
  'phi-4': 'phi3',
  smollm3: 'smollm3',
  gpt2: 'gpt2',
  'gpt-neox': 'gptneox',
};

/** The models that `torch.onnx.export` takes. */
const ONNX = [
  't5-gated',
  'bart',
  'albert',
  'mpnet',
  'modernbert',
  'deberta',
  'deberta-v3',
  'vit',
  'clip',
  'bloom',
  'falcon-40b',
];

/** What is zero in a layer whose matrix of this type is zero. */
const SIGNALS: Readonly<Partial<Record<MatrixType, readonly string[]>>> = {
  q_proj: ['q'],
  k_proj: ['k'],
  v_proj: ['v'],
  q_a_proj: ['q'],
  kv_a_proj: ['k', 'v'],
  cross_q_proj: ['cross_q'],
  cross_k_proj: ['cross_k'],
  cross_v_proj: ['cross_v'],
  fc_in: ['gate'],
  // Seen where gate and up come apart in a function of their own.
  fc_up: ['up'],
  shared_in: ['shared_gate'],
};

/** What the edit of a type comes before, so that it may change it. */
function follows(type: MatrixType): readonly string[] {
  const afterwards = ['gate', 'up', 'shared_gate'];
  if (GROUPS.cross_attn.some((name) => name === type)) return afterwards;
  return GROUPS.attn.some((name) => name === type) ? ['cross_q', ...afterwards] : [];
}

describe.skipIf(!python)(`families against the modules of transformers${unlessNoPython}`, () => {
  let modules: Readonly<Record<string, { layers: readonly number[]; modules: readonly ModuleMatrix[] }>>;
  const reports = new Map<string, InspectReport>();
  const verdicts = new Map<string, Verdict>();
  /** Numbers of the edited matrices, and their tensors, by the name of the job. */
  const edited = new Map<string, { count: number; tensors: readonly string[] }>();
  /** Names in GGUF, without `.weight`, by the model and the tensor. */
  let folder = '';
  let ggufNames: Readonly<Record<string, Readonly<Record<string, string | null>>>>;

  const typesOf = (model: string, layer: number): readonly MatrixType[] => {
    const found = reports.get(model)!.tensors.flatMap((tensor) => (tensor.layer === layer ? tensor.types : []));
    return MATRIX_TYPES.filter((type) => found.includes(type));
  };

  beforeAll(async () => {
    folder = temporaryFolder();
    const input = (model: string) => join(folder, 'models', model);
    await runPython('family_models.py', join(folder, 'models'));
    modules = JSON.parse(await readFile(join(folder, 'models', 'modules.json'), 'utf8'));
    await mkdir(join(folder, 'edited'));
    const jobs: unknown[] = [];
    for (const model of Object.keys(MODELS)) {
      reports.set(model, await inspectCheckpoint(input(model)));
      for (const layer of modules[model]!.layers) {
        for (const type of typesOf(model, layer)) {
          const name = `${model} ${layer} ${type}`;
          const output = join(folder, 'edited', name.replaceAll(' ', '-'));
          const interventions = [parseAt(`${layer}:${type}`, 'zero')];
          const { edits } = await editCheckpoint(input(model), output, { interventions });
          const count = edits.reduce((sum, { shape }) => sum + shape.reduce((product, size) => product * size, 1), 0);
          edited.set(name, { count, tensors: edits.map(({ tensor }) => tensor) });
          jobs.push({ name, model, input: input(model), output, type, layer });
        }
      }
    }
    const [jobsFile, verdictsFile] = [join(folder, 'jobs.json'), join(folder, 'verdicts.json')];
    await writeFile(jobsFile, JSON.stringify(jobs));
    await runPython('family_judge.py', jobsFile, verdictsFile);
    await runPython('family_onnx.py', join(folder, 'models'), join(folder, 'onnx'), ...ONNX);
    const architectures = join(folder, 'architectures.json');
    await writeFile(architectures, JSON.stringify(GGUF));
    ggufNames = JSON.parse(await runPython('family_gguf.py', join(folder, 'models', 'modules.json'), architectures));
    for (const verdict of JSON.parse(await readFile(verdictsFile, 'utf8')) as Verdict[]) {
      verdicts.set(verdict.name, verdict);
    }
  });

  it('has a row for each model that Python makes', () => {
    expect(Object.keys(modules)).toEqual(Object.keys(MODELS));
  });

  describe.each(Object.entries(MODELS))('%s', (model, family) => {
    it('has the layers, tensors, shapes and orientations of its modules', () => {
      const report = reports.get(model)!;
      expect(report.family).toBe(family);
      const expected = modules[model]!.modules.filter(({ typed }) => typed);
      const key = ({ layer, tensor }: { layer: number | undefined; tensor: string }) => `${layer} ${tensor}`;
      const found = report.tensors
        .filter(({ types }) => types.length > 0)
        .map(({ name, shape, orientation, layer }) => ({ tensor: name, shape: [...shape], orientation, layer }));
      expect(found.length).toBeGreaterThan(0);
      expect(found.sort((a, b) => key(a).localeCompare(key(b)))).toEqual(
        expected
          .map(({ tensor, shape, orientation, layer }) => ({ tensor, shape, orientation, layer }))
          .sort((a, b) => key(a).localeCompare(key(b))),
      );
      expect(report.layers).toBe(1 + Math.max(...expected.map(({ layer }) => layer)));
    });

    const ggufIt = model in GGUF ? it : () => undefined;
    ggufIt('has the same types and layers by the names that llama.cpp gives its tensors', () => {
      const all = reports.get(model)!.tensors.filter(({ types }) => types.length > 0);
      const own = all.filter(({ name }) => ggufNames[model]![name] !== null);
      // The converter cuts gate and up of gpt-oss apart, and then names them.
      const expert = /^model\.layers\.\d\.mlp\.experts\.gate_up_proj$/;
      expect(
        all.filter((info) => !own.includes(info)).every(({ name }) => model === 'gpt-oss' && expert.test(name)),
      ).toBe(true);
      const nameOf = (tensor: string) => `${ggufNames[model]![tensor]}.weight`;
      const shapes = Object.fromEntries(own.map(({ name, shape }) => [nameOf(name), shape]));
      const found = new Model(fakeCheckpoint(shapes, { 'general.architecture': GGUF[model] }));
      expect(found.family.name).toBe(family);
      for (const { name, layer, types } of own) {
        expect(found.roleOf(nameOf(name)), `${name}: ${nameOf(name)}`).toMatchObject({ layer, types });
      }
    });

    const onnxIt = ONNX.includes(model) ? it : () => undefined;
    onnxIt('has the same matrices in an ONNX export, turned', async () => {
      const [stored, exported] = [await open(join(folder, 'models', model)), await open(join(folder, 'onnx', model))];
      const [own, other] = [new Model(stored), new Model(exported)];
      expect(other.family.name).toBe(family);
      expect([other.layers, other.types]).toEqual([own.layers, own.types]);
      const turned = { rows: 'columns', columns: 'rows' } as const;
      for (const type of own.types) {
        const shapes = ({ tensors }: Checkpoint, found: readonly Target[]) =>
          found.map(({ tensor, layer, slice }) => ({ layer, slice, shape: tensors.get(tensor)!.shape }));
        const expected = shapes(stored, own.select('all', [type])).map(({ layer, slice, shape }) => ({
          layer,
          slice: slice && { ...slice, axis: turned[slice.axis] },
          shape: shape.toReversed(),
        }));
        expect(shapes(exported, other.select('all', [type])), type).toEqual(expected);
      }
      expect(other.orientations).toEqual(['in x out']);
      await stored.close();
      await exported.close();
    });

    it('is loaded by transformers with one matrix changed, which is what its type says', () => {
      for (const layer of modules[model]!.layers) {
        for (const type of typesOf(model, layer)) {
          const name = `${model} ${layer} ${type}`;
          const verdict = verdicts.get(name)!;
          const { count, tensors } = edited.get(name)!;
          expect(verdict.failure, name).toBeUndefined();
          expect(verdict.loading, name).toEqual([]);
          const own = modules[model]!.modules.filter(({ tensor }) => tensors.includes(tensor));
          expect(verdict.changed, name).toEqual([...new Set(own.map(({ module }) => module))]);
          expect([verdict.count, verdict.nonzero], name).toEqual([count, 0]);
          expect(verdict.effect, name).toBeGreaterThan(1e-6);
          expectSignals(name, type, verdict);
        }
      }
    });
  });
});

function expectSignals(name: string, type: MatrixType, verdict: Verdict): void {
  const own = (SIGNALS[type] ?? []).filter((signal) => signal !== 'up' || verdict.seen.includes(signal));
  const { seen, zeroed, partly, disturbed } = verdict;
  expect(seen, name).toEqual(expect.arrayContaining(['gate', 'k', 'q', 'v']));
  expect(seen, name).toEqual(expect.arrayContaining([...own]));
  // A key of attention through latent vectors has a part that carries the position.
  const isPart = name.startsWith('deepseek') && type === 'k_proj';
  expect([...(isPart ? partly : zeroed)].sort(), name).toEqual([...own].sort());
  const others = [...(isPart ? zeroed : partly), ...disturbed];
  expect(
    others.filter((signal) => !follows(type).includes(signal)),
    name,
  ).toEqual([]);
}
