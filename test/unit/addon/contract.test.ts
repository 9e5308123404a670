import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import {
  CERTIFICATE_FIELDS,
  FLOAT_FORMAT_CODE,
  METHOD_CODE,
  MOMENTS_CODE,
  ROUTES,
  SVD_DRIVERS,
} from '../../../lib/addon/contract.js';
import { addon } from '../../../lib/addon/load.js';
import { ROUNDING_CODE } from '../../../lib/addon/quantize-jobs.js';

/** The names of codes that count from 0 in order; anything else fails. */
function inOrder(codes: Readonly<Record<string, number>>): string[] {
  const names = Object.keys(codes);
  expect(Object.values(codes)).toEqual(names.map((_, code) => code));
  return names;
}

describe('the two sides of the contract', () => {
  it('the addon exports the functions of Addon, and no others', () => {
    const source = readFileSync(fileURLToPath(new URL('../../../lib/addon/contract.ts', import.meta.url)), 'utf8');
    const body = /^export interface Addon \{$(.*?)^\}$/ms.exec(source)![1]!;
    const declared = [...body.matchAll(/^ {2}(\w+)\(/gm)].map(([, name]) => name!);
    expect(declared.length).toBeGreaterThan(20);
    expect(Object.keys(addon()).sort()).toEqual(declared.sort());
    for (const value of Object.values(addon())) expect(value).toBeTypeOf('function');
  });

  it('names and codes are the same', () => {
    expect(addon().info().codes).toEqual({
      floatFormats: inOrder(FLOAT_FORMAT_CODE),
      svdDrivers: [...SVD_DRIVERS],
      methods: inOrder(METHOD_CODE),
      routes: [...ROUTES],
      momentsKinds: inOrder(MOMENTS_CODE),
      roundings: inOrder(ROUNDING_CODE),
      certificateFields: [...CERTIFICATE_FIELDS],
    });
  });
});
