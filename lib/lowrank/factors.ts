import { ArgumentError } from '../errors.js';
import { matmulSync } from '../linalg/matmul.js';
import { zeros } from '../tensor/create.js';
import { asTensor, elements, type PlainTensor, type Tensor, type TensorLike } from '../tensor/tensor.js';
import { formatCount, formatShare } from '../text/format.js';
import { INSPECT } from '../text/inspect.js';
import { type Certificate, combined, describeCertificate, truncated } from './certificate.js';

/**
 * A matrix of rank k as two factors, `W ~ B A`: `b` = U diag(s) and `a` = Vt, so `a` has
 * orthonormal rows and the columns of `b` are orthogonal with the singular values as lengths. If
 * weighted by moments, `b` has orthonormal columns instead, and `a` = B^T W. For a batch, every
 * tensor has a leading batch dimension, and matrices of smaller rank are padded with zeros to the
 * largest.
 */
export class LowRank {
  /** The shape of the approximated matrix, [m, n] or [batch, m, n]. */
  readonly shape: readonly number[];
  /** [m, k] or [batch, m, k]. */
  readonly b: Tensor;
  /** [k, n] or [batch, k, n]. */
  readonly a: Tensor;
  /** [k] or [batch, k], descending. */
  readonly singularValues: Tensor;
  /** One for each matrix. */
  readonly certificates: readonly Certificate[];
  /** The certificate of the whole approximation. */
  readonly certificate: Certificate;

  constructor(
    b: TensorLike,
    a: TensorLike,
    singularValues: TensorLike,
    certificates: readonly Certificate[],
    seconds?: number,
  ) {
    if (!Array.isArray(certificates)) throw new ArgumentError('certificates', 'an array', certificates);
    this.b = asTensor(b, 'b');
    this.a = asTensor(a, 'a');
    this.singularValues = asTensor(singularValues, 'singularValues');
    this.shape = [...this.b.shape.slice(0, -1), this.a.shape.at(-1)!];
    this.certificates = certificates;
    this.certificate = combined(certificates, seconds ?? certificates.reduce((sum, c) => sum + c.seconds, 0));
  }

  /** k; for a batch the largest. */
  get rank(): number {
    return this.a.shape.at(-2)!;
  }

  /** The number of parameters, k (m + n) for each matrix; the matrix itself has m n. */
  get parameters(): number {
    return this.b.data.length + this.a.data.length;
  }

  /** Computes the product B A, of shape `shape`. */
  reconstruct(): Tensor {
    if (this.rank === 0) return zeros(this.shape);
    return matmulSync(this.b, this.a);
  }

  /**
   * Computes W x = B (A x) without forming W: k (m + n) multiplications a column instead of m n.
   *
   * @param x - [n] or [n, columns] for a matrix, [batch, n, columns] for a batch.
   * @returns [m], [m, columns] or [batch, m, columns].
   * @throws ArgumentError `ERR_SHAPE` if x does not fit.
   */
  apply(x: TensorLike): Tensor {
    const given = asTensor(x, 'x');
    const vector = given.shape.length === 1;
    const columns = vector ? given.reshape([-1, 1]) : given;
    const expected = this.shape.with(-2, this.shape.at(-1)!).with(-1, columns.shape.at(-1) ?? 0);
    if (columns.shape.length !== expected.length || columns.shape.some((size, i) => size !== expected[i])) {
      throw new ArgumentError(
        'x.shape',
        `[${expected.slice(0, -1)}] or [${expected.slice(0, -1)}, columns]`,
        given.shape,
        'ERR_SHAPE',
      );
    }
    const shape = this.shape.with(-1, columns.shape.at(-1)!);
    const product =
      this.rank === 0 || columns.data.length === 0 ? zeros(shape) : matmulSync(this.b, matmulSync(this.a, columns));
    return vector ? product.reshape(shape.slice(0, -1)) : product;
  }

  /**
   * Returns the best approximation of a smaller rank without computing: the first columns of `b`
   * and rows of `a`. The certificate's error follows from the dropped singular values.
   *
   * @throws ArgumentError if `rank` is not a whole number from 0 to this rank.
   */
  truncate(rank: number): LowRank {
    const k = this.rank;
    if (!Number.isSafeInteger(rank) || rank < 0 || rank > k) {
      throw new ArgumentError('rank', `a whole number from 0 to ${k}`, rank);
    }
    const batch = this.certificates.length;
    const certificates = this.certificates.map((c, i) => {
      const s = this.singularValues.data.subarray(i * k, (i + 1) * k);
      return rank >= c.rank ? c : truncated(c, rank, s, this.shape.slice(-2) as [number, number]);
    });
    return new LowRank(
      firstColumns(this.b, rank),
      firstRows(this.a, rank, batch),
      firstColumns(this.singularValues, rank),
      certificates,
    );
  }

  /** @internal What `console.log` prints. */
  [INSPECT](): string {
    const { shape, rank, b, a, parameters, certificate } = this;
    const dense = elements(shape);
    return [
      `LowRank [${shape.join(', ')}], rank ${rank}: b [${b.shape.join(', ')}], a [${a.shape.join(', ')}]`,
      `${formatCount(parameters)} numbers instead of ${formatCount(dense)} (${formatShare(parameters / dense)})`,
      ...describeCertificate(certificate),
    ].join('\n  ');
  }
}

function firstColumns({ data, shape }: Tensor, count: number): PlainTensor {
  const width = shape.at(-1)!;
  const rows = width === 0 ? 0 : data.length / width;
  const result = new Float32Array(rows * count);
  for (let i = 0; i < rows; i++) result.set(data.subarray(i * width, i * width + count), i * count);
  return { data: result, shape: shape.with(-1, count) };
}

function firstRows({ data, shape }: Tensor, count: number, batch: number): PlainTensor {
  const [height, width] = shape.slice(-2) as [number, number];
  const result = new Float32Array(batch * count * width);
  for (let i = 0; i < batch; i++) {
    result.set(data.subarray(i * height * width, (i * height + count) * width), i * count * width);
  }
  return { data: result, shape: shape.with(-2, count) };
}
