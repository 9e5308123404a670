import { importPeer } from '../engines/peers.js';
import type { Fail, Row } from './fields.js';

/** The part of hyparquet that is used here. */
interface Parquet {
  parquetReadObjects(options: object): Promise<Record<string, unknown>[]>;
}

const MAGIC = 'PAR1';

export function isParquet(bytes: Uint8Array): boolean {
  return Buffer.from(bytes.subarray(0, MAGIC.length)).toString('latin1') === MAGIC;
}

/**
 * Reads the rows of a Parquet file, through the optional package hyparquet. Codecs other than
 * Snappy need hyparquet-compressors as well.
 *
 * @throws `ERR_PEER` without hyparquet
 */
export async function readParquet(bytes: Uint8Array, fail: Fail, peers: string | undefined): Promise<Row[]> {
  const { parquetReadObjects } = await importPeer<Parquet>('hyparquet', peers);
  const { compressors } = await importPeer<{ compressors?: object }>('hyparquet-compressors', peers).catch(() => ({
    compressors: undefined,
  }));
  // A file of its own, not a view into a pool.
  const file = bytes.slice().buffer;
  try {
    const rows = await parquetReadObjects({ file, ...(compressors === undefined ? {} : { compressors }) });
    return rows.map((row) => plain(row) as Row);
  } catch (cause) {
    const { message } = cause as Error;
    const missing = /compression codec/i.test(message) && compressors === undefined;
    return fail(`is no readable Parquet file: ${message}${missing ? ' (npm install hyparquet-compressors)' : ''}`);
  }
}

/** Turns integers of 64 bits into numbers, as JSON has them. */
function plain(value: unknown): unknown {
  if (typeof value === 'bigint') return Number(value);
  if (Array.isArray(value)) return value.map(plain);
  if (value === null || typeof value !== 'object' || value instanceof Date) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, plain(inner)]));
}
