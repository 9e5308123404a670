#include "lowrank/whole_spectrum.h"

#include <algorithm>
#include <cmath>

#include "blas/gemm.h"
#include "blas/lapack.h"
#include "lowrank/coupling.h"
#include "lowrank/factors.h"
#include "lowrank/gram_matrix.h"
#include "lowrank/value_error.h"

namespace lowrank {
namespace {

// Beyond this many grades float64 is no slower.
constexpr int kGrades = 4;

// Rows or columns that are rotated at a time.
constexpr int64_t kRotated = 128;

// rows <- z rows, for z: count x count.
void rotateRows(const Context& context, const float* z, Matrix rows) {
  const int64_t count = rows.rows;
  context.team.tasks((rows.cols + kRotated - 1) / kRotated, [&](int64_t task) {
    const int64_t begin = task * kRotated, width = std::min(kRotated, rows.cols - begin);
    const Buffer<float> turned(context.memory, count * width);
    const Matrix part = rows.colRange(begin, begin + width);
    blas::gemm(false, false, count, width, count, 1, z, count, part.data, part.stride, 0, turned.data(), width);
    for (int64_t i = 0; i < count; i++) std::copy_n(turned.data() + i * width, width, part.row(i));
  });
}

// columns <- columns z'.
void rotateColumns(const Context& context, const float* z, Matrix columns) {
  const int64_t count = columns.cols;
  context.team.tasks((columns.rows + kRotated - 1) / kRotated, [&](int64_t task) {
    const int64_t begin = task * kRotated, height = std::min(kRotated, columns.rows - begin);
    const Buffer<float> turned(context.memory, height * count);
    const Matrix part = columns.rowRange(begin, begin + height);
    blas::gemm(false, true, height, count, count, 1, part.data, part.stride, z, count, 0, turned.data(), count);
    for (int64_t i = 0; i < height; i++) std::copy_n(turned.data() + i * count, count, part.row(i));
  });
}

// b <- b (2 - G) with the Gram matrix G of the vectors, a step to their inverse: they are
// orthonormal to rounding, which adds up to more than a product may lose.
void closeProduct(const Context& context, bool tall, Matrix b, Matrix a) {
  const int64_t r = b.cols;
  const Buffer<float> z(context.memory, r * r);
  const Matrix vectors = tall ? a : b;
  addGram(context, !tall, r, tall ? a.cols : b.rows, vectors.data, vectors.stride, 0.0f, z.data(), r);
  for (int64_t i = 0; i < r; i++) {
    for (int64_t j = i; j < r; j++) z[j * r + i] = z[i * r + j] = (i == j ? 2.0f : 0.0f) - z[i * r + j];
  }
  rotateColumns(context, z.data(), b);
}

} // namespace

std::optional<WholeSpectrum> wholeSpectrum(const Context& context, ConstMatrix w, const TestHooks& hooks,
                                           std::optional<GramSpectrum>& spectrum, bool spanAlone) {
  const int64_t m = w.rows, n = w.cols, r = std::min(m, n);
  const bool tall = m >= n;
  WholeSpectrum found{Buffer<float>(context.memory, m * r), Buffer<float>(context.memory, r * n), {}};
  const Matrix b(found.b.data(), m, r), a(found.a.data(), r, n);
  const Buffer<float> left(context.memory, tall ? 0 : r * m);
  const Matrix vectors = tall ? a : Matrix(left.data(), r, m);
  if (!spectrum->vectors(0, r, vectors.data)) return std::nullopt;
  spectrum.reset();
  if (tall) {
    gemm(context.team, false, true, m, r, n, 1, w.data, w.stride, a.data, n, b.data, r);
  } else {
    gemm(context.team, false, false, r, n, m, 1, left.data(), m, w.data, w.stride, a.data, n);
  }
  double largest = 0, crossed = 0;
  for (int grade = 1;; grade++) {
    context.control.check();
    const auto known = static_cast<int64_t>(found.squares.size());
    const Matrix images = tall ? b.colRange(known, r) : a.rowRange(known, r);
    const std::vector<double> squares = squaredLengths(context.team, images, tall);
    const std::vector<double> couplings = couplingsWithin(context, images, tall, squares);
    if (grade == 1) largest = squares[0];
    // What is that small is known without being found.
    const bool all = squares[0] <= kValueError * kValueError * largest;
    double leak = 0;
    for (size_t i = 0; i < squares.size(); i++) {
      const double error =
          all ? kValueError : couplings[i] / (2 * std::sqrt(largest * squares[i])) + std::sqrt(crossed);
      if (!(error <= kValueError)) break;
      found.doubt = std::max(found.doubt, std::sqrt(largest) * error);
      found.squares.push_back(squares[i]);
      leak += couplings[i] * couplings[i] / squares[i];
    }
    const auto now = static_cast<int64_t>(found.squares.size()), rest = r - now;
    if (rest == 0) break;
    if (now == known || grade == kGrades) return std::nullopt;
    // The others are coupled with these, which lowers each of their squared values by its share of
    // the leak.
    crossed += 2 * leak / (largest * static_cast<double>(squares.size()));
    const Matrix others = tall ? b.colRange(now, r) : a.rowRange(now, r);
    const Buffer<float> z(context.memory, rest * rest);
    {
      const GramSpectrum graded(context, others, stagesFor(rest, hooks));
      if (!graded.vectors(0, rest, z.data())) return std::nullopt;
    }
    rotateRows(context, z.data(), vectors.rowRange(now, r));
    if (tall) {
      rotateColumns(context, z.data(), others);
    } else {
      rotateRows(context, z.data(), others);
    }
  }
  if (!tall) transpose(context.team, vectors, b);
  if (!spanAlone) closeProduct(context, tall, b, a);
  return found;
}

int64_t wholeSpectrumBytes(int64_t m, int64_t n, Stages stages, int threads) {
  const int64_t r = std::min(m, n), longer = std::max(m, n), held = 4 * r * (m + n + (m < n ? m : 0)) + 8 * r;
  const int64_t solving = GramSpectrum::heldBytes(r, stages) + GramSpectrum::vectorsBytes(r, stages, r, threads);
  const int64_t graded =
      4 * r * r + std::max({GramSpectrum::bytes(r, stages, threads), solving, 4 * threads * kRotated * r});
  return held + std::max(graded, couplingsBytes(longer, 0, r) + 8 * r);
}

} // namespace lowrank
