import { Writable } from 'node:stream';
import { runProgram } from '../../../lib/cli/program.js';
import { Output } from '../../../lib/cli/terminal/terminal.js';
import { made } from '../../support/safetensors.js';
import { mutateJson, mutateText } from '../json.js';
import type { Random } from '../random.js';
import { require, type Target } from '../target.js';
import { fill } from './checkpoint.js';

const names = ['model.layers.0.mlp.up_proj.weight', 'model.layers.1.mlp.up_proj.weight', 'a'.repeat(60)];
const tensors = names.map((name, i) => [name, { dtype: 'F32', shape: [3, 2], data_offsets: [24 * i, 24 * i + 24] }]);
const weights = made(Object.fromEntries(tensors), Buffer.alloc(72, 1));

const SEEDS = [
  ['laser', '@', '--dry-run', '--at', '0:mlp:0.1', '--at', '1:fc_up:.5'],
  ['laser', '@', '--dry-run', '--json', '--at', '0,1:fc_up,mlp:0.29'],
  ['laser', '@', '--dry-run', '--at', '0-1:all:1e-1', '--intervention', 'dropout', '--seed', '7'],
  ['laser', '@', '--dry-run', '--at', 'all:mlp:0.1-0.9', '--intervention', 'band'],
  ['laser', '@', '--dry-run', '--tensor', 'model.layers.{0,1}.*:0.5', '--max-memory', '1.5GiB'],
  ['laser', '@', '--dry-run', '--tensor', '+(a|aa)*b:0.5', '--method', 'gram', '--threads', '2'],
  ['laser', '@', '--dry-run', '--lnum', '-1', '--lname', 'fc_in,fc_up', '--rate', '9.9'],
  ['laser', '@', '--dry-run', '--tensor', '[a-z]?odel.!(x)*', '--intervention', 'zero'],
  ['inspect', '@', '--json', '--tensor', '**'],
  ['inspect', '@', '--family', 'llama'],
];
const TOKENS = [
  ':',
  ',',
  '-',
  '.',
  '0',
  '1',
  '9'.repeat(20),
  'all',
  'mlp',
  'fc_in',
  'dont',
  'e',
  'E9',
  '+',
  '1e309',
  'NaN',
  ' ',
  '*',
  '**',
  '?',
  '[',
  ']',
  '{',
  '}',
  '(',
  ')',
  '!',
  '|',
  '\\',
  '/',
  '@(',
  '+(',
  '!(',
  '*(',
  '{1..9}',
  '[!a',
  '[[:alpha:]]',
  '\u0000',
  '\u001b[2J',
  '\u202e',
  '∞',
  '😀',
  '\ud800',
  "'",
  '"',
  '$(x)',
  '\n',
  '--',
  '-o',
];
const FLAGS = [
  '--at',
  '--tensor',
  '--lnum',
  '--lname',
  '--rate',
  '--json',
  '--threads',
  '--seed',
  '--family',
  '--spectrum',
  '--help',
];

/** Ends of output files: nothing may be written, whatever the arguments. */
const WRITES = /^(-o.*|--o.*|--restart.*)$/;

/** The arguments of the command line, as a JSON list; `@` is a checkpoint. Nothing is written. */
export const command: Target = {
  name: 'command',
  seeds: () => SEEDS.map((args) => Buffer.from(JSON.stringify(args))),
  mutate(random: Random, input) {
    const text = Buffer.from(input).toString('utf8');
    if (random.chance(0.2)) return Buffer.from(mutateJson(random, text, [...TOKENS, ...FLAGS]));
    const args = read(text);
    const at = 1 + random.below(args.length);
    if (random.chance(0.15)) args.splice(at, random.below(2), random.pick([...FLAGS, ...TOKENS]));
    else args[at] = mutateText(random, args[at] ?? random.pick(TOKENS), TOKENS);
    return Buffer.from(JSON.stringify(args));
  },
  async run(input, folder) {
    await fill(folder, { 'model.safetensors': weights, 'config.json': '{"model_type":"llama"}' });
    const args = read(Buffer.from(input).toString('utf8'))
      .filter((arg) => !WRITES.test(arg))
      .map((arg) => (arg === '@' ? folder : arg));
    if (args[0] === 'laser') args.splice(1, 0, '--dry-run');
    if (args[0] !== 'laser' && args[0] !== 'inspect') return 'another command';
    const out = collected();
    const err = collected();
    const code = await runProgram(args, { out: out.output, err: err.output });
    require([0, 1, 2].includes(code), `exit code ${code}`);
    const shown = out.text() + err.text();
    require(!shown.includes('Unexpected error'), `an unexpected error: ${err.text().slice(0, 500)}`);
    require(!shown.includes('\u001b'), 'a control character reaches the terminal');
    if (code !== 0)
      require(/^error: /m.test(err.text()) || err.text().includes('Usage'), 'a failure without a message');
    if (code === 0 && args.includes('--json') && out.text().startsWith('{')) JSON.parse(out.text());
    return `${code} ${err
      .text()
      .replace(/"(?:[^"\\]|\\.)*"|[\d.]+/g, '')
      .slice(0, 100)}`;
  },
};

function read(text: string): string[] {
  try {
    const list: unknown = JSON.parse(text);
    return Array.isArray(list) ? list.filter((arg) => typeof arg === 'string') : [];
  } catch {
    return [];
  }
}

function collected() {
  let text = '';
  const stream = new Writable({
    write(chunk, _, done) {
      text += String(chunk);
      done();
    },
  });
  return { output: new Output(stream as unknown as NodeJS.WriteStream), text: () => text };
}
