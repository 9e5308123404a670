// The parts of the npm rivals that the bench calls. They are installed only with `npm --prefix
// bench ci`.

declare module 'ml-matrix' {
  export class Matrix {
    static from1DArray(rows: number, columns: number, data: ArrayLike<number>): Matrix;
    readonly rows: number;
    readonly columns: number;
    subMatrix(startRow: number, endRow: number, startColumn: number, endColumn: number): Matrix;
    mulRowVector(vector: ArrayLike<number>): Matrix;
    mmul(other: Matrix): Matrix;
    transpose(): Matrix;
    to1DArray(): number[];
  }
  export class SingularValueDecomposition {
    constructor(value: Matrix, options?: { autoTranspose?: boolean });
    readonly leftSingularVectors: Matrix;
    readonly rightSingularVectors: Matrix;
    readonly diagonal: number[];
  }
}

declare module 'svd-js' {
  export function SVD(matrix: number[][]): { u: number[][]; q: number[]; v: number[][] };
}
