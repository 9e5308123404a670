import { addon } from '../addon/load.js';
import { countBeside, sideBySide } from '../addon/side-by-side.js';
import type { Checkpoint, Orientation, TensorInfo, UnlistedTensors } from '../checkpoint/checkpoint.js';
import { pathOfCopy } from '../checkpoint/copy/layouts.js';
import { open } from '../checkpoint/open.js';
import { describe, LowRankError } from '../errors.js';
import { singularValuesBeside } from '../linalg/svd.js';
import { analyseSpectrum, type Spectrum } from '../lowrank/spectrum.js';
import { Model } from '../model/model.js';
import { flattened, isMatrixOrBatch, matricesNamed, type SkippedTensors, tensorsNamed } from '../model/names.js';
import type { LayerType } from '../model/types.js';
import { boolean, checkOptions, type OptionTypes, text, wholeNumber } from '../options.js';
import { type EditProgress, JOB_OPTIONS, Progress } from '../progress.js';
import { toFloat32 } from '../tensor/convert.js';
import { isReadableType } from '../tensor/dtype.js';
import { elements } from '../tensor/tensor.js';
import { formatBytes } from '../text/format.js';
import { type InspectedTensor, summarise, type TensorGroup } from './summary.js';

export type { InspectedTensor, TensorGroup } from './summary.js';

export interface InspectOptions {
  /** A glob that selects the tensors to list and analyse. */
  readonly tensors?: string;
  /**
   * Also computes singular values: of the selected tensors, otherwise of a known family's matrices,
   * otherwise of all matrices.
   */
  readonly spectrum?: boolean;
  /**
   * Takes the spectra of tensors of more than two dimensions as those of matrices of their first
   * dimension and all others, such as a convolution's weight [out, in, h, w] as [out, in h w].
   */
  readonly flatten?: boolean;
  /** The model's family, if config.json does not name it or is to be overridden. */
  readonly family?: string;
  readonly threads?: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: EditProgress) => void;
}

const INSPECT_OPTIONS: OptionTypes<InspectOptions> = {
  ...JOB_OPTIONS,
  threads: wholeNumber(1),
  tensors: text,
  spectrum: boolean,
  flatten: boolean,
  family: text,
};

/** The singular values of one matrix, and the ranks that follow from them. */
export interface MatrixSpectrum extends Spectrum {
  readonly tensor: string;
  /** The index of the matrix in a 3D tensor; undefined for a 2D tensor. */
  readonly matrix: number | undefined;
  readonly shape: readonly [m: number, n: number];
  /** All min(m, n), in descending order. */
  readonly singularValues: readonly number[];
}

export interface InspectReport {
  /** The folder or file that opens as this checkpoint. */
  readonly path: string;
  readonly format: Checkpoint['format'];
  readonly family: string | undefined;
  /** The number of layers that contain the family's matrices. */
  readonly layers: number | undefined;
  /** The types that an intervention on this model may name. */
  readonly types: readonly LayerType[];
  /**
   * How the layers' tensors are stored; both orientations if they differ. Empty without a family,
   * or if the shapes give no evidence.
   */
  readonly orientations: readonly Orientation[];
  /** Parameters of the listed tensors. */
  readonly parameters: number;
  readonly bytes: number;
  readonly tensors: readonly InspectedTensor[];
  /** The listed tensors, with those in one row that are alike in several layers. */
  readonly groups: readonly TensorGroup[];
  /**
   * Tensors that a glob matched but that were skipped when computing spectra, because they are not
   * matrices.
   */
  readonly skipped: readonly SkippedTensors[];
  /**
   * Matrices in the file that are not among its tensors, because they can neither be read nor
   * edited; by their location.
   */
  readonly unlisted: readonly UnlistedTensors[];
  /** Undefined unless requested. */
  readonly spectra: readonly MatrixSpectrum[] | undefined;
}

/**
 * Lists the tensors of a checkpoint and, on request, how far its matrices are from full rank.
 *
 * @throws {@link LowRankError} `ERR_NOT_FOUND` if no tensor has this name; `ERR_NOT_FINITE` for a
 *   matrix with a NaN or an infinity; `ERR_UNSUPPORTED` if a tensor selected for its spectrum is
 *   not a readable matrix, or if all matrices of a model lie where none can be listed; `ERR_SHAPE`
 *   if a glob selects none for its spectrum; as `open` does.
 */
export async function inspectCheckpoint(path: string, options?: InspectOptions): Promise<InspectReport> {
  const given = checkOptions(options, INSPECT_OPTIONS, 'inspectCheckpoint');
  const checkpoint = await open(path);
  try {
    const { unlisted = [] } = checkpoint;
    if (checkpoint.tensors.size === 0 && unlisted.length > 0) throw nothingListed(checkpoint.path, unlisted);
    const model = Model.find(checkpoint, given.family);
    const { tensors } = given;
    const chosen = tensors === undefined ? [...checkpoint.tensors.values()] : tensorsNamed(checkpoint, tensors);
    const listed = chosen.map((info) => inspected(info, model));
    const wanted = given.spectrum ? analysed(checkpoint, listed, given, model) : undefined;
    return {
      path: await pathOfCopy(checkpoint, checkpoint.path),
      format: checkpoint.format,
      family: model?.family.name,
      layers: model?.layers,
      types: model?.types ?? [],
      orientations: model?.orientations ?? [],
      parameters: sum(listed.map(({ parameters }) => parameters)),
      bytes: sum(listed.map(({ bytes }) => bytes)),
      tensors: listed,
      groups: summarise(listed),
      unlisted,
      skipped: wanted?.skipped ?? [],
      spectra: wanted && (await spectra(checkpoint, wanted.analysed, given)),
    };
  } finally {
    await checkpoint.close();
  }
}

/** Describes unlisted matrices: `3 matrices (4.5 MB) in functions of the model`. */
export function describeUnlisted({ where, tensors, bytes }: UnlistedTensors): string {
  return `${tensors} ${tensors === 1 ? 'matrix' : 'matrices'} (${formatBytes(bytes)}) ${where}`;
}

function nothingListed(path: string, unlisted: readonly UnlistedTensors[]): LowRankError {
  const message = `${path}: no tensor can be listed or edited, only ${unlisted.map(describeUnlisted).join(' and ')}`;
  return new LowRankError('ERR_UNSUPPORTED', message, { hint: unlisted[0]!.hint });
}

function inspected(info: TensorInfo, model: Model | undefined): InspectedTensor {
  const role = model?.roleOf(info.name);
  const orientation = info.orientation ?? role?.orientation;
  return {
    ...info,
    ...(orientation === undefined ? {} : { orientation }),
    parameters: elements(info.shape),
    layer: role?.layer,
    types: role?.types ?? [],
  };
}

/** Selects the tensors whose spectra are computed. */
function analysed(
  checkpoint: Checkpoint,
  listed: readonly InspectedTensor[],
  { tensors, flatten = false }: InspectOptions,
  model: Model | undefined,
): { analysed: readonly InspectedTensor[]; skipped: readonly SkippedTensors[] } {
  const isMatrix = (info: TensorInfo) => isMatrixOrBatch(flatten ? flattened(info) : info);
  const isReadable = (info: TensorInfo) => isMatrix(info) && isReadableType(info.dtype);
  const asMatrix = (info: InspectedTensor) => (flatten ? flattened(info) : info);
  if (tensors === undefined) {
    const known = listed.filter((info) => isReadable(info) && (model === undefined || info.types.length > 0));
    return { analysed: known.map(asMatrix), skipped: [] };
  }
  const { matrices, skipped } = matricesNamed(checkpoint, tensors, isMatrix);
  const other = matrices.find((info) => !isReadable(info));
  if (other !== undefined) {
    throw new LowRankError(
      'ERR_UNSUPPORTED',
      `${other.name}: ${other.dtype} ${describe(other.shape)} is not a matrix with readable numbers`,
      {
        hint: 'Select fewer tensors.',
      },
    );
  }
  const names = new Set(matrices.map(({ name }) => name));
  const chosen = listed.filter(({ name }) => names.has(name)).map(asMatrix);
  return { analysed: chosen, skipped: skipped === undefined ? [] : [skipped] };
}

/** Returns the most bytes that the spectrum of a tensor takes: its numbers, and Gram matrices. */
function bytesHeld({ shape, bytes }: InspectedTensor): number {
  return bytes + 4 * elements(shape) + 16 * Math.min(...shape.slice(-2)) ** 2;
}

async function spectra(
  checkpoint: Checkpoint,
  tensors: readonly InspectedTensor[],
  { threads = addon().info().threads, signal, onProgress }: InspectOptions,
): Promise<MatrixSpectrum[]> {
  const progress = new Progress(
    tensors.map(({ bytes }) => bytes),
    onProgress,
  );
  const found = new Map<InspectedTensor, MatrixSpectrum[]>();
  const count = countBeside(tensors.map(bytesHeld), threads);
  await sideBySide(tensors, { count, threads }, async (tensor, beside) => {
    const { name, bytes, shape, dtype } = tensor;
    signal?.throwIfAborted();
    progress.working(name, bytes, 0);
    const data = toFloat32(await checkpoint.read(name), dtype);
    const s = (await valuesOf(name, { data, shape }, { threads, signal, ...beside })).data;
    const [m, n] = shape.slice(-2) as [number, number];
    const rank = Math.min(m, n);
    found.set(
      tensor,
      Array.from({ length: s.length / rank }, (_, matrix) => {
        const values = s.subarray(matrix * rank, (matrix + 1) * rank);
        return {
          tensor: name,
          matrix: shape.length === 3 ? matrix : undefined,
          shape: [m, n],
          ...analyseSpectrum(values, m, n),
          singularValues: [...values],
        };
      }),
    );
    progress.finished(name, bytes);
  });
  return tensors.flatMap((tensor) => found.get(tensor)!);
}

/** Adds the tensor's name to errors of the linear algebra, which does not know names. */
async function valuesOf(name: string, ...call: Parameters<typeof singularValuesBeside>) {
  try {
    return await singularValuesBeside(...call);
  } catch (error) {
    if (!(error instanceof LowRankError) || error.code !== 'ERR_NOT_FINITE') throw error;
    throw new LowRankError(error.code, `${name}: ${error.message}`, { hint: error.hint, cause: error });
  }
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, x) => total + x, 0);
}
