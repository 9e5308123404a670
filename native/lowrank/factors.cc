#include "lowrank/factors.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "blas/gemm.h"
#include "blas/lapack.h"
#include "core/norms.h"
#include "lowrank/orthonormal.h"

namespace lowrank {
namespace {

// Vectors come from w'w, so the cosine of rows i and j is the rounding of s_1^2 over s_i s_j: down
// to this share of s_1 at most 2^-18.
constexpr float kStraight = 1.0f / 8;
// The inverse of a shorter row leaves float32.
constexpr double kTiny = 1e-36;

} // namespace

void scaleColumns(Matrix u, const float* s) {
  for (int64_t i = 0; i < u.rows; i++) {
    for (int64_t j = 0; j < u.cols; j++) u.row(i)[j] *= s[j];
  }
}

namespace {

// Of nearly equal lengths rounding may have put the larger one second.
void makeDescending(float* s, int64_t count) {
  for (int64_t i = 1; i < count; i++) s[i] = std::min(s[i], s[i - 1]);
}

} // namespace

void transpose(Team& team, ConstMatrix from, Matrix to) {
  constexpr int64_t kTile = 32;
  team.ranges(from.rows, kTile, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; row += kTile) {
      for (int64_t col = 0; col < from.cols; col += kTile) {
        for (int64_t i = row; i < std::min(row + kTile, end); i++) {
          for (int64_t j = col; j < std::min(col + kTile, from.cols); j++) to.row(j)[i] = from.row(i)[j];
        }
      }
    }
  });
}

std::vector<double> squaredLengths(Team& team, ConstMatrix x, bool ofColumns) {
  std::vector<double> sums(static_cast<size_t>(ofColumns ? x.cols : x.rows));
  if (ofColumns) {
    team.ranges(x.cols, 16, [&](int64_t begin, int64_t end) {
      for (int64_t i = 0; i < x.rows; i++) {
        const float* row = x.row(i);
        for (int64_t j = begin; j < end; j++) sums[static_cast<size_t>(j)] += static_cast<double>(row[j]) * row[j];
      }
    });
  } else {
    team.ranges(x.rows, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; i++) sums[static_cast<size_t>(i)] = squares(x.row(i), x.cols);
    });
  }
  return sums;
}

void columnLengths(ConstMatrix b, float* s) {
  std::vector<double> sums(static_cast<size_t>(b.cols));
  for (int64_t i = 0; i < b.rows; i++) {
    for (int64_t j = 0; j < b.cols; j++) sums[static_cast<size_t>(j)] += static_cast<double>(b.row(i)[j]) * b.row(i)[j];
  }
  for (int64_t j = 0; j < b.cols; j++) s[j] = static_cast<float>(std::sqrt(sums[static_cast<size_t>(j)]));
  makeDescending(s, b.cols);
}

void rowLengths(ConstMatrix a, float* s) {
  for (int64_t i = 0; i < a.rows; i++) s[i] = static_cast<float>(std::sqrt(squares(a.row(i), a.cols)));
  makeDescending(s, a.rows);
}

double imageLength(const Context& context, ConstMatrix a, bool transpose, const float* x) {
  const int64_t length = transpose ? a.cols : a.rows;
  const Buffer<float> image(context.memory, length);
  blas::gemv(transpose, a.rows, a.cols, 1, a.data, a.stride, x, 0, image.data());
  return std::sqrt(squares(image.data(), length));
}

void moveSingularValues(const Context& context, ConstMatrix w, Matrix b, Matrix a, const float* s) {
  const int64_t k = a.rows;
  Team& team = context.team;
  const bool bent = k > 0 && !(s[k - 1] > kStraight * s[0]);
  team.ranges(k, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
      const double length = bent ? std::sqrt(squares(a.row(i), a.cols)) : s[i];
      const auto inverse = static_cast<float>(length > kTiny ? 1 / length : 0);
      for (int64_t j = 0; j < a.cols; j++) a.row(i)[j] *= inverse;
    }
  });
  if (!bent) {
    team.ranges(b.rows, 1, [&](int64_t begin, int64_t end) { scaleColumns(b.rowRange(begin, end), s); });
    return;
  }
  orthonormaliseRows(context, k, a.cols, a.data);
  gemm(team, false, true, b.rows, k, a.cols, 1, w.data, w.stride, a.data, a.stride, b.data, b.stride);
}

int64_t moveSingularValuesBytes(int64_t k, int64_t n) { return orthonormaliseBytes(k, n); }

} // namespace lowrank
