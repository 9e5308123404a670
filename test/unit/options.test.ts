import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import * as adapters from '../../lib/entries/adapters.js';
import * as checkpoints from '../../lib/entries/checkpoint.js';
import * as evaluation from '../../lib/entries/evaluate.js';
import * as searching from '../../lib/entries/search.js';
import { ArgumentError } from '../../lib/errors.js';
import * as api from '../../lib/index.js';
import {
  abortSignal,
  boolean,
  callback,
  checkedBelow,
  checkOptions,
  either,
  listOf,
  number,
  type OptionTypes,
  oneOf,
  optionsOf,
  text,
} from '../../lib/options.js';
import { gaussian } from '../support/matrices.js';

interface Example {
  rank?: number;
  method?: 'auto' | 'exact';
  inPlace?: boolean;
  names?: string | readonly string[];
  cache?: { bytes?: number; folder?: string };
  early?: boolean | { first?: number };
  signal?: AbortSignal;
  onProgress?: (share: number) => void;
  any?: unknown;
}
const EXAMPLE: OptionTypes<Example> = {
  rank: number,
  method: oneOf(['auto', 'exact']),
  inPlace: boolean,
  names: either(text, listOf(text)),
  cache: optionsOf<NonNullable<Example['cache']>>({ bytes: number, folder: text }),
  early: either(boolean, optionsOf<{ first?: number }>({ first: number })),
  signal: abortSignal,
  onProgress: callback,
  any: checkedBelow(),
};
const check = (options: unknown) => checkOptions(options as Example, EXAMPLE, 'example');

describe('checkOptions', () => {
  it('returns given options, without undefined ones', () => {
    const { signal } = new AbortController();
    const onProgress = () => undefined;
    const given = { rank: 3, method: 'exact', names: ['a'], cache: { bytes: 1 }, early: true, signal, onProgress };
    expect(check(given)).toEqual(given);
    expect(check({ rank: undefined, method: 'auto', metod: undefined, any: null })).toEqual({
      method: 'auto',
      any: null,
    });
    expect(Object.keys(check({ rank: undefined }))).toEqual([]);
    expect(check(undefined)).toEqual({});
    expect(check(Object.create({ rank: 3 }))).toEqual({ rank: 3 });
    expect(check({ early: { first: 3 }, names: 'a' })).toEqual({ early: { first: 3 }, names: 'a' });
  });

  it('takes a signal of another realm', () => {
    const foreign = { aborted: false, throwIfAborted() {}, addEventListener() {} };
    expect(check({ signal: foreign }).signal).toBe(foreign);
  });

  it('reads each option once, so that the checked value is used', () => {
    let reads = 0;
    const turning = {
      get rank() {
        return reads++ === 0 ? 3 : '3';
      },
    };
    const options = check(turning);
    expect([options.rank, options.rank, reads]).toEqual([3, 3, 1]);
  });

  it.each([
    ['metod', 'method'],
    ['Method', 'method'],
    ['rnk', 'rank'],
    ['rnak', 'rank'],
    ['in_place', 'inPlace'],
    ['inplace', 'inPlace'],
    ['onprogres', 'onProgress'],
    ['name', 'names'],
  ])('%s: asks whether %s was meant', (name, meant) => {
    expect(() => check({ [name]: 1 })).toThrow(
      expect.objectContaining({
        name: 'ArgumentError',
        code: 'ERR_ARGUMENT',
        argument: name,
        message: `${name}: expected an option of example (did you mean \`${meant}\`?), got 1`,
        hint: expect.stringContaining('rank, method, inPlace'),
      }),
    );
  });

  it.each(['fullMatrices', 'x', 'toString', '__proto__x', 'constructor', 'k'.repeat(1e6)])(
    '%.20s: is refused without a guess',
    (name) => {
      expect(() => check({ [name]: 1 })).toThrow(/: expected an option of example, got 1$/);
    },
  );

  it('names options inside of options by their path', () => {
    expect(() => check({ cache: { byte: 1 } })).toThrow(/^cache\.byte: .* \(did you mean `cache\.bytes`\?\)/);
    expect(() => check({ cache: { bytes: '1' } })).toThrow('cache.bytes: expected a number, got "1"');
    expect(() => check({ early: { frist: 1 } })).toThrow(/early\.frist.*early\.first/);
    expect(() => check({ cache: [] })).toThrow('cache: expected an object, got []');
  });

  it.each([
    ['options', null],
    ['options', 'rank'],
    ['options', ['rank']],
    ['options', () => 1],
  ])('%s: is refused as %s', (argument, options) => {
    expect(() => check(options)).toThrow(expect.objectContaining({ argument, code: 'ERR_ARGUMENT' }));
  });

  it('throws nothing but its own error, whatever it is given', () => {
    fc.assert(
      fc.property(
        fc.oneof(fc.anything(), fc.dictionary(fc.constantFrom(...Object.keys(EXAMPLE)), fc.anything())),
        (o) => {
          try {
            for (const [name, value] of Object.entries(check(o))) {
              expect(Object.hasOwn(EXAMPLE, name)).toBe(true);
              expect(value).not.toBe(undefined);
              expect(EXAMPLE[name as keyof Example].is(value)).toBe(true);
            }
          } catch (error) {
            if (!(error instanceof ArgumentError)) throw error;
            expect(error.message).not.toMatch(/\p{Cc}/u);
          }
        },
      ),
      { numRuns: 1000 },
    );
  });
});

type Taker = (options: unknown) => unknown;
const w = gaussian([4, 3]);
const parameter = new api.Parameter(gaussian([2]));
const lora = (r = 1) => new api.Lora({ dim: 4, dimOut: 3, r });
const layer = () => new api.LoraLinear({ weight: w });
const session = () => evaluation.commandEngine({ command: 'true' }).open('/absent/model');
const engine: evaluation.Engine = {
  name: 'llama',
  open: () => Promise.reject(new Error()),
  close: async () => undefined,
};
const evaluator = new evaluation.Evaluator(engine);
const adapter = {
  config: { peft_type: 'LORA', r: 1 },
  modules: new Map(),
  others: new Map(),
  metadata: undefined,
  source: undefined,
};
const CALL = ['signal', 'onProgress', 'threads'];
const COMPUTE = [...CALL, 'method', 'seed', 'target', 'maxMemory'];
const CHOICE = ['rank', 'rankFraction', 'energy', 'tolerance'];
const PLAN = ['interventions', 'family', 'method', 'seed', 'threads', 'maxMemory', 'quant', 'flatten'];
const DRAW = ['seed', 'resamples', 'level'];
const ASK = ['generate', 'top', 'compat', 'signal'];
const absent = '/absent/model';

/**
 * Every public function and class that takes options: how it is called, a call that is right as far
 * as options go, and their names.
 */
const TAKERS: [string, Taker, object, readonly string[]][] = [
  ['matmul', (o) => api.matmul(w, w, o as object), { transposeA: true }, [...CALL, 'transposeA', 'transposeB']],
  ['matmulSync', (o) => api.matmulSync(w, w, o as object), { transposeA: true }, [...CALL, 'transposeA', 'transposeB']],
  ['svd', (o) => api.svd(w, o as object), {}, [...CALL, 'driver']],
  ['svdSync', (o) => api.svdSync(w, o as object), {}, [...CALL, 'driver']],
  ['singularValues', (o) => api.singularValues(w, o as object), {}, [...CALL, 'driver']],
  ['singularValuesSync', (o) => api.singularValuesSync(w, o as object), {}, [...CALL, 'driver']],
  ['matrixRank', (o) => api.matrixRank(w, o as object), {}, [...CALL, 'driver', 'tolerance']],
  ['matrixRankSync', (o) => api.matrixRankSync(w, o as object), {}, [...CALL, 'driver', 'tolerance']],
  ['laser', (o) => api.laser(w, o as { rank: 1 }), { rank: 1 }, [...CHOICE, ...COMPUTE, 'inPlace']],
  ['laserSync', (o) => api.laserSync(w, o as { rank: 1 }), { rank: 1 }, [...CHOICE, ...COMPUTE, 'inPlace']],
  ['laser.certified', (o) => api.laser.certified(w, o as { rank: 1 }), { rank: 1 }, [...CHOICE, ...COMPUTE, 'inPlace']],
  ['factorize', (o) => api.factorize(w, o as { rank: 1 }), { energy: 0.5 }, [...CHOICE, ...COMPUTE]],
  ['factorizeSync', (o) => api.factorizeSync(w, o as { rank: 1 }), { energy: 0.5 }, [...CHOICE, ...COMPUTE]],
  ['Laser', (o) => new api.Laser(0.5, o as object), {}, COMPUTE],
  ['randn', (o) => api.randn([2], o as object), {}, ['seed']],
  ['allClose', (o) => api.zeros([2]).allClose(1, o as object), {}, ['rtol', 'atol']],
  [
    'estimateMemory',
    (o) => api.estimateMemory([4, 3], o as { rank: 1 }),
    { rank: 1 },
    [...CHOICE, 'method', 'threads', 'result'],
  ],
  ['Lora', (o) => new api.Lora(o as api.LoraOptions), { dim: 2, dimOut: 2 }, ['r', 'alpha', 'scaling', 'init', 'seed']],
  ['Lora.fromFactors', (o) => api.Lora.fromFactors(w, gaussian([3, 2]), o as object), {}, ['alpha', 'scaling']],
  [
    'Lora.fromWeight',
    (o) => api.Lora.fromWeight(w, o as object),
    { r: 1 },
    ['r', 'alpha', 'scaling', 'init', ...COMPUTE],
  ],
  [
    'Lora.fromWeightSync',
    (o) => api.Lora.fromWeightSync(w, o as object),
    { r: 1 },
    ['r', 'alpha', 'scaling', 'init', ...COMPUTE],
  ],
  ['LoraLinear', (o) => new api.LoraLinear(o as api.LoraLinearOptions), { weight: w }, ['weight', 'bias']],
  ['addAdapter', (o) => layer().addAdapter('a', lora(), o as object), {}, ['dropout', 'seed']],
  ['merge', (o) => layer().merge(o as object), {}, ['keepBase']],
  ['safeMerge', (o) => layer().safeMerge(o as object), {}, ['keepBase']],
  ['forward', (o) => lora().forward(gaussian([4]), o as object), {}, ['out', 'add', 'threads', 'grad']],
  [
    'backward',
    (o) => {
      const module = lora();
      module.forward(gaussian([4]));
      return module.backward(gaussian([3]), o as object);
    },
    {},
    ['out', 'add', 'threads'],
  ],
  [
    'Sgd',
    (o) => new api.Sgd([parameter], o as api.SgdOptions),
    { lr: 1 },
    ['lr', 'momentum', 'dampening', 'weightDecay', 'nesterov'],
  ],
  ['AdamW', (o) => new api.AdamW([parameter], o as object), {}, ['lr', 'betas', 'eps', 'weightDecay']],
  [
    'resizeLora',
    (o) => adapters.resizeLora(adapter, o as { rank: 1 }),
    { rank: 1 },
    ['rank', 'energy', 'ratio', 'dtype', 'signal'],
  ],
  [
    'mergeLoras',
    (o) => adapters.mergeLoras([{ adapter, weight: 1 }], o as object),
    {},
    ['rank', 'energy', 'ratio', 'dtype', 'signal'],
  ],
  [
    'a part of mergeLoras',
    (o) => adapters.mergeLoras([o as adapters.WeightedLora]),
    { adapter, weight: 1 },
    ['weight'],
  ],
  [
    'convertLora',
    (o) => adapters.convertLora(adapter, o as object),
    { base: absent },
    ['to', 'base', 'dtype', 'baseName'],
  ],
  [
    'correctQuantization',
    (o) => adapters.correctQuantization(absent, absent, o as object),
    {},
    ['rank', 'calibration', 'tensors', 'family', 'dtype', 'baseName', ...CALL],
  ],
  ['planLoras', (o) => adapters.planLoras(absent, [{ adapter }], o as object), {}, ['quant']],
  ['writeAdapter', (o) => adapters.writeAdapter(adapter, '/absent/folder/adapter', o as object), {}, ['signal']],
  [
    'inspectCheckpoint',
    (o) => checkpoints.inspectCheckpoint(absent, o as object),
    {},
    ['tensors', 'spectrum', 'flatten', 'family', ...CALL],
  ],
  [
    'planCheckpoint',
    (o) => checkpoints.planCheckpoint(absent, o as checkpoints.PlanOptions),
    { interventions: [] },
    PLAN,
  ],
  [
    'editCheckpoint',
    (o) => checkpoints.editCheckpoint(absent, '/absent/out', o as checkpoints.EditOptions),
    { interventions: [] },
    [...PLAN, 'signal', 'onProgress', 'restart'],
  ],
  [
    'planJob',
    (o) => checkpoints.planJob(absent, '/absent/out', o as checkpoints.JobPlanOptions),
    { interventions: [] },
    [...PLAN, 'shards'],
  ],
  [
    'runShard',
    (o) => checkpoints.runShard(absent, o as checkpoints.ShardOptions),
    { shard: 1 },
    ['shard', 'shards', 'source', 'signal', 'onProgress'],
  ],
  [
    'mergeShards',
    (o) => checkpoints.mergeShards(absent, o as object),
    {},
    ['out', 'source', 'restart', 'signal', 'onProgress'],
  ],
  [
    'paperIntervention',
    (o) => checkpoints.paperIntervention(o as checkpoints.PaperFlags),
    { lnum: 1, lname: 'mlp', rate: 9 },
    ['lnum', 'lname', 'rate'],
  ],
  [
    'extractLora',
    (o) => adapters.extractLora(absent, absent, o as { rank: 1 }),
    { rank: 1 },
    ['rank', 'energy', 'tensors', 'family', 'fanInFanOut', 'dtype', 'baseName', 'method', 'seed', ...CALL],
  ],
  ['applyLoras', (o) => adapters.applyLoras(absent, [{ adapter }], '/absent/out', o as object), {}, ['quant', ...CALL]],
  [
    'an adapter of applyLoras',
    (o) => adapters.applyLoras(absent, [o as adapters.ScaledLora], '/absent/out'),
    { adapter },
    ['scale'],
  ],
  [
    'commandEngine',
    (o) => evaluation.commandEngine(o as evaluation.CommandOptions),
    { command: 'true' },
    ['command', 'threads'],
  ],
  ['llamaEngine', (o) => evaluation.llamaEngine(o as object), {}, ['threads', 'contextLength', 'peers']],
  ['onnxEngine', (o) => evaluation.onnxEngine(o as object), {}, ['threads', 'contextLength', 'peers']],
  [
    'evaluate',
    (o) => evaluator.evaluate(absent, [], o as object).catch((error) => Promise.reject(error)),
    {},
    [...ASK, 'metrics', 'limit', 'bootstrap', 'onProgress'],
  ],
  ['ask', async (o) => (await session()).ask([], o as object).next(), {}, ASK],
  ['summariseResults', (o) => evaluation.summariseResults([], o as object), {}, [...DRAW, 'signal', 'metrics']],
  ['compareResults', (o) => evaluation.compareResults([], [], 'accuracy', o as object), {}, [...DRAW, 'signal']],
  [
    'loadQuestions',
    (o) => evaluation.loadQuestions(absent, o as object),
    {},
    ['format', 'style', 'countTokens', 'pieceLength'],
  ],
  ['loadTexts', (o) => evaluation.loadTexts(absent, o as object), {}, ['samples', 'seed']],
  [
    'compare',
    (o) => evaluation.compare(absent, [absent], o as evaluation.CompareOptions),
    { engine, texts: ['a text'] },
    ['engine', 'texts', 'questions', 'generate', 'length', 'runs', 'seed', 'signal', 'onProgress'],
  ],
  ['splitQuestions', (o) => evaluation.splitQuestions([], 'all', o as object), {}, ['seed', 'validation']],
  [
    'search',
    (o) => searching.search(absent, o as searching.SearchOptions),
    { engine, validation: { questions: [] }, out: '/absent/out' },
    [
      'engine',
      'validation',
      'test',
      'out',
      'family',
      'compose',
      'quant',
      'seed',
      'earlyStopping',
      'budget',
      'cache',
      'generate',
      'compat',
      'threads',
      'signal',
      'onProgress',
      'command',
      'layers',
      'types',
      'rhos',
      'kinds',
      'bands',
    ],
  ],
];

/** The error of a call, or undefined. */
async function faultOf(taker: Taker, options: unknown): Promise<unknown> {
  try {
    await taker(options);
    return undefined;
  } catch (error) {
    return error;
  }
}

describe.each(TAKERS)('the options of %s', (name, taker, base, names) => {
  it('pass if they are right, or not given', async () => {
    const given = { ...base, ...Object.fromEntries(names.filter((n) => !(n in base)).map((n) => [n, undefined])) };
    const fault = await faultOf(taker, given);
    // Some calls are right in their options only, and find no file, or nothing to do.
    if (fault instanceof ArgumentError) expect(names).not.toContain(fault.argument);
    expect(String(fault)).not.toContain('an option of');
    expect(fault).not.toBeInstanceOf(TypeError);
  });

  it('are refused by name if they are misspelt', async () => {
    for (const option of names) {
      const misspelt = `${option.slice(0, -1)}_`;
      const fault = await faultOf(taker, { ...base, [misspelt]: 1 });
      expect(fault).toBeInstanceOf(ArgumentError);
      expect(fault).toMatchObject({ argument: misspelt, code: 'ERR_ARGUMENT' });
      expect((fault as Error).message).toContain(`an option of ${name.replace('.certified', '')}`);
      if (option.length > 3) expect((fault as Error).message).toMatch(/\(did you mean `\w+`\?\)/);
    }
    expect(await faultOf(taker, { ...base, fullMatrices: undefined })).not.toBeInstanceOf(TypeError);
    expect(await faultOf(taker, { ...base, fullMatrices: false })).toMatchObject({ argument: 'fullMatrices' });
  });

  it('are refused if they have another type', async () => {
    for (const option of names) {
      for (const wrong of [null, '0.5', true, Number.NaN, {}, [null], Symbol('x'), 3n]) {
        const fault = await faultOf(taker, { ...base, [option]: wrong });
        const known = ACCEPTED[`${name}.${option}`] ?? ACCEPTED[option] ?? [];
        if (known.includes(typeof wrong)) continue;
        expect(fault, `${option}: ${String(wrong)}`).toBeInstanceOf(ArgumentError);
        expect((fault as ArgumentError).argument.replace(/[.[].*/, '')).toBe(option);
      }
    }
  });

  it.each([null, 5, 'rank', [], true])('are refused as %j', async (options) => {
    expect(await faultOf(taker, options)).toMatchObject({ argument: 'options', code: 'ERR_ARGUMENT' });
  });
});

/** The types of wrong values that are right for an option: a text for a name that may be any. */
const ACCEPTED: Readonly<Record<string, readonly string[]>> = {
  family: ['string'],
  source: ['string'],
  peers: ['string'],
  base: ['string'],
  baseName: ['string'],
  calibration: ['string'],
  imatrix: ['string'],
  command: ['string'],
  restart: ['boolean'],
  spectrum: ['boolean'],
  flatten: ['boolean'],
  inPlace: ['boolean'],
  grad: ['boolean'],
  keepBase: ['boolean'],
  transposeA: ['boolean'],
  transposeB: ['boolean'],
  nesterov: ['boolean'],
  fanInFanOut: ['boolean'],
  add: ['boolean'],
  earlyStopping: ['boolean', 'object'],
  out: ['string'],
  bootstrap: ['object'],
  cache: ['object'],
  budget: ['object'],
  'inspectCheckpoint.tensors': ['string'],
  engineOptions: [],
  'paperIntervention.lname': ['string'],
  format: ['string'],
  interventions: ['object'],
};

describe('every public function', () => {
  const JUNK = [
    undefined,
    null,
    5,
    -1,
    Number.NaN,
    '/absent/x',
    '',
    true,
    3n,
    Symbol('x'),
    () => 1,
    {},
    [],
    [1],
    [null],
    [[1, 2]],
    Object.create(null),
    new Map(),
    new Float32Array(2),
    { data: 1, shape: 2 },
    { data: new Float32Array(1), shape: [1, 1] },
    { data: [1], shape: [1] },
  ];

  it('throws its own errors, whatever it is called with', async () => {
    for (const [name, value] of [api, checkpoints, adapters, evaluation, searching].flatMap(Object.entries)) {
      if (typeof value !== 'function' || name.endsWith('Error')) continue;
      const isClass = Function.prototype.toString.call(value).startsWith('class');
      const call = value as unknown as ((...args: unknown[]) => unknown) & (new (...args: unknown[]) => unknown);
      for (const a of JUNK) {
        for (const b of JUNK) {
          const fault = await faultOf(() => (isClass ? new call(a, b) : call(a, b)), undefined);
          if (fault !== undefined) expect(fault, `${name}: ${String(fault)}`).toBeInstanceOf(api.LowRankError);
        }
      }
    }
  });

  it('names what is missing', async () => {
    expect(() => api.tensor({ data: new Float32Array(4) } as never)).toThrow(
      'tensor: expected a tensor { data, shape }',
    );
    expect(() => new api.Tensor(new Float32Array(4), undefined as never)).toThrow('shape: expected an array');
    expect(() => api.laserSync(w, undefined as never)).toThrow(
      'options: expected exactly one of rank, rankFraction, energy, tolerance, got "none"',
    );
    await expect(api.laser(w, undefined as never)).rejects.toMatchObject({ argument: 'options', code: 'ERR_ARGUMENT' });
    await expect(api.laser([[1, 2]] as never, { rank: 1 })).rejects.toThrow('w: expected a tensor { data, shape }');
  });
});
