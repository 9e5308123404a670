import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { fromPyPI } from '../../../scripts/build/pypi.mjs';
import { temporaryFolder } from '../../support/folder.js';

const folder = temporaryFolder();
const at = (...names: string[]) => join(folder, ...names);
const hasPip = spawnSync('python3', ['-m', 'pip', '--version']).status === 0;
const unlessNoPip = hasPip ? '' : ' (skipped: no python3 with pip)';
const PROGRAM = 'a_tool/bin/tool';
const wheel = () => at('wheels', 'a_tool-1.0-py3-none-any.whl');
const sha256 = () => createHash('sha256').update(readFileSync(wheel())).digest('hex');

describe.skipIf(!hasPip)(`a program from PyPI${unlessNoPip}`, () => {
  beforeAll(() => {
    const info = 'a_tool-1.0.dist-info';
    mkdirSync(at('tree', 'a_tool', 'bin'), { recursive: true });
    mkdirSync(at('tree', info));
    mkdirSync(at('wheels'));
    writeFileSync(at('tree', PROGRAM), '#!/bin/sh\necho it runs\n');
    writeFileSync(at('tree', info, 'METADATA'), 'Metadata-Version: 2.1\nName: a-tool\nVersion: 1.0\n');
    writeFileSync(at('tree', info, 'WHEEL'), 'Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n');
    writeFileSync(at('tree', info, 'RECORD'), '');
    execFileSync('python3', ['-m', 'zipfile', '-c', wheel(), 'a_tool', info], { cwd: at('tree') });
    // In place of PyPI a folder.
    vi.stubEnv('PIP_CONFIG_FILE', '/dev/null');
    vi.stubEnv('PIP_NO_INDEX', '1');
    vi.stubEnv('PIP_FIND_LINKS', at('wheels'));
  });
  afterAll(() => vi.unstubAllEnvs());

  it('is unpacked if the wheel has one of the pinned SHA-256, and runs', () => {
    const pinned = { requirement: 'a-tool==1.0', sha256: ['0'.repeat(64), sha256()] };
    const path = fromPyPI(at('good'), pinned, { program: PROGRAM });
    expect(path).toBe(join(at('good'), PROGRAM));
    expect(execFileSync(path, { encoding: 'utf8' })).toBe('it runs\n');
    expect(readdirSync(at('good')).sort()).toEqual(['a_tool', 'a_tool-1.0.dist-info']);
  });

  it('is refused, and not unpacked, if the wheel has another SHA-256', () => {
    const wrong = 'f'.repeat(64);
    const call = () => fromPyPI(at('bad'), { requirement: 'a-tool==1.0', sha256: [wrong] }, { program: PROGRAM });
    expect(call).toThrow(/the downloaded wheel of a-tool==1\.0 has another SHA-256 than the pinned ones/);
    expect(call).toThrow(new RegExp(`${wrong}[\\s\\S]*${sha256()}`));
    expect([at('bad'), `${at('bad')}.part`].filter((path) => existsSync(path))).toEqual([]);
  });

  it('is not found: the error names it', () => {
    const pinned = { requirement: 'no-such-tool==1.0', sha256: [sha256()] };
    expect(() => fromPyPI(at('none'), pinned, { program: PROGRAM })).toThrow(/pip cannot fetch no-such-tool==1\.0\n/);
    expect(existsSync(at('none'))).toBe(false);
  });
});
