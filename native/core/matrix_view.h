// Defines how matrices are laid out in memory.
//
// Everything here is row-major: element (i, j) of an m x n matrix is data[i * stride + j], stride
// >= n. LAPACK and BLAS are column-major, and a row-major m x n array *is* the column-major n x m
// array of its transpose. So nothing is ever transposed in memory: where W = U S Vt is wanted,
// LAPACK is given W' = V S Ut and the roles of U and Vt exchanged.
#pragma once

#include <cstdint>
#include <cstring>

namespace lowrank {

template <class T> struct MatrixView {
  T* data;
  int64_t rows;
  int64_t cols;
  int64_t stride;

  MatrixView(T* data, int64_t rows, int64_t cols) : MatrixView(data, rows, cols, cols) {}
  MatrixView(T* data, int64_t rows, int64_t cols, int64_t stride)
      : data(data), rows(rows), cols(cols), stride(stride) {}
  operator MatrixView<const T>() const { return {data, rows, cols, stride}; }

  T* row(int64_t i) const { return data + i * stride; }
  int64_t size() const { return rows * cols; }
  MatrixView rowRange(int64_t begin, int64_t end) const { return {row(begin), end - begin, cols, stride}; }
  MatrixView colRange(int64_t begin, int64_t end) const { return {data + begin, rows, end - begin, stride}; }
};

using Matrix = MatrixView<float>;
using ConstMatrix = MatrixView<const float>;

// Copies `from` to compact rows at `to`, unless it is already there. A caller's arrays may overlap.
inline void copyRows(ConstMatrix from, float* to) {
  if (from.data == to) return;
  for (int64_t i = 0; i < from.rows; i++) {
    std::memmove(to + i * from.cols, from.row(i), static_cast<size_t>(from.cols) * sizeof(float));
  }
}

} // namespace lowrank
