#include "lowrank/coupling.h"

#include <algorithm>
#include <cmath>

#include "blas/skinny.h"
#include "core/memory.h"
#include "core/norms.h"
#include "core/random.h"

namespace lowrank {
namespace {

// Raises the length of a row as measured by 32 random vectors. The lengths of single rows scatter
// by an eighth, and the measured sum was seen to differ from the true one by as much again.
constexpr double kRaised = 1.5;

// c = [c -] a b by the team, for a: m x k.
void shared(const Context& context, int64_t m, int64_t k, Strided a, const float* b, float* c, Update update) {
  context.team.ranges(m, 16, [&](int64_t begin, int64_t end) {
    skinnyProduct(end - begin, k, a.from(begin, 0), b, c + begin * kSkinny, update);
  });
}

// Of each row of kSkinny numbers the root of the mean square, raised.
std::vector<double> raisedLengths(const float* rows, int64_t count) {
  std::vector<double> lengths(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; i++) {
    lengths[static_cast<size_t>(i)] = kRaised * std::sqrt(squares(rows + i * kSkinny, kSkinny) / kSkinny);
  }
  return lengths;
}

} // namespace

std::vector<double> couplings(const Context& context, ConstMatrix w, ConstMatrix vectors, ConstMatrix images) {
  const bool right = vectors.cols == w.cols;
  const int64_t order = vectors.cols, longer = right ? w.rows : w.cols, count = vectors.rows;
  const Buffer<float> x(context.memory, order * kSkinny), y(context.memory, longer * kSkinny),
      parts(context.memory, count * kSkinny);
  for (int64_t i = 0; i < x.size(); i++) x[i] = randomNormal(0, static_cast<uint64_t>(i));
  const Strided v{vectors.data, vectors.stride, 1};
  for (int round = 0; round < 2; round++) {
    shared(context, count, order, v, x.data(), parts.data(), Update::assign);
    shared(context, order, count, v.transposed(), parts.data(), x.data(), Update::subtract);
  }
  context.control.check();
  const Strided matrix{w.data, w.stride, 1}, image{images.data, images.stride, 1};
  shared(context, longer, order, right ? matrix : matrix.transposed(), x.data(), y.data(), Update::assign);
  shared(context, count, longer, right ? image.transposed() : image, y.data(), parts.data(), Update::assign);
  return raisedLengths(parts.data(), count);
}

std::vector<double> couplingsWithin(const Context& context, ConstMatrix images, bool columns,
                                    const std::vector<double>& squares) {
  const int64_t count = columns ? images.cols : images.rows, longer = columns ? images.rows : images.cols;
  const Buffer<float> x(context.memory, count * kSkinny), y(context.memory, longer * kSkinny),
      parts(context.memory, count * kSkinny);
  for (int64_t i = 0; i < x.size(); i++) x[i] = randomNormal(0, static_cast<uint64_t>(i));
  const Strided strided{images.data, images.stride, 1}, map = columns ? strided : strided.transposed();
  shared(context, longer, count, map, x.data(), y.data(), Update::assign);
  shared(context, count, longer, map.transposed(), y.data(), parts.data(), Update::assign);
  for (int64_t i = 0; i < parts.size(); i++) {
    parts[i] = static_cast<float>(parts[i] - squares[static_cast<size_t>(i / kSkinny)] * x[i]);
  }
  return raisedLengths(parts.data(), count);
}

int64_t couplingsBytes(int64_t m, int64_t n, int64_t count) { return 4 * kSkinny * (m + n + count) + 8 * count; }

} // namespace lowrank
