#include "quantize/compensated.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "blas/lapack.h"
#include "core/failure.h"
#include "lowrank/cholesky.h"
#include "quantize/scale_search.h"

namespace lowrank {
namespace {

// Rows that a thread takes through all blocks at a time.
constexpr int64_t kRows = 32;

// A block of inputs in the order of rounding.
struct Span {
  int64_t block; // in the order of the file
  int64_t begin, count;
};

// The order in which inputs are rounded: whole blocks, since each has scales of its own, and within
// them inputs, from the largest moments to the smallest. The last ones have nobody to make up for
// them, so their errors should count least.
struct Order {
  std::vector<int64_t> inputs;
  std::vector<Span> spans;

  Order(const double* c, int64_t n, const BlockFormat& format) : inputs(static_cast<size_t>(n)) {
    const auto moment = [&](int64_t j) { return c[j * n + j]; };
    const int64_t blocks = format.blocks(n);
    std::vector<double> mean(static_cast<size_t>(blocks));
    for (int64_t b = 0; b < blocks; b++) {
      const int64_t end = std::min(n, (b + 1) * format.block);
      for (int64_t j = b * format.block; j < end; j++) mean[static_cast<size_t>(b)] += moment(j);
      mean[static_cast<size_t>(b)] /= static_cast<double>(end - b * format.block);
    }
    std::vector<int64_t> ordered(static_cast<size_t>(blocks));
    std::iota(ordered.begin(), ordered.end(), 0);
    std::stable_sort(ordered.begin(), ordered.end(),
                     [&](int64_t a, int64_t b) { return mean[static_cast<size_t>(a)] > mean[static_cast<size_t>(b)]; });
    int64_t at = 0;
    for (const int64_t b : ordered) {
      const int64_t first = b * format.block, count = std::min(format.block, n - first);
      const auto begin = inputs.begin() + at;
      std::iota(begin, begin + count, first);
      std::stable_sort(begin, begin + count, [&](int64_t i, int64_t j) { return moment(i) > moment(j); });
      spans.push_back({b, at, count});
      at += count;
    }
  }
};

// The damped moments H in that order, and their factors H = (I + U) D (I + U)' with U above the
// diagonal: an error e of a row costs e H e' = sum_j D_j (e_j + sum_(k < j) e_k U_kj)^2.
struct Weights {
  Buffer<float> h;        // n x n
  Buffer<float> feedback; // U, n x n
  Buffer<float> d;        // n

  Weights(const Context& context, const double* c, int64_t n, const Order& order, double damping)
      : h(context.memory, n * n), feedback(context.memory, n * n), d(context.memory, n) {
    double trace = 0;
    for (int64_t j = 0; j < n; j++) trace += c[j * n + j];
    if (!std::isfinite(trace)) throw Failure("ERR_NOT_FINITE", "the second moments hold a NaN or an infinity");
    // Moments that are all 0 make every rounding equally good.
    const double added = trace > 0 ? damping * trace / static_cast<double>(n) : 1;
    // Backwards, so that the lower factor of Cholesky is the upper one of H.
    const Buffer<double> backwards(context.memory, n * n);
    const auto input = [&](int64_t i) { return order.inputs[static_cast<size_t>(i)]; };
    for (int64_t i = 0; i < n; i++) {
      for (int64_t j = 0; j < n; j++) {
        const double value = c[input(i) * n + input(j)] + (i == j ? added : 0);
        h[i * n + j] = static_cast<float>(value);
        backwards[(n - 1 - i) * n + n - 1 - j] = value;
      }
    }
    if (!cholesky(context, n, backwards.data())) {
      throw Failure("ERR_ARGUMENT", "the second moments are no matrix of moments: it has to be symmetric and positive "
                                    "semidefinite, the mean of x x'");
    }
    const Buffer<double> pivots(context.memory, n);
    for (int64_t j = 0; j < n; j++) pivots[j] = backwards[(n - 1 - j) * n + n - 1 - j];
    for (int64_t i = 0; i < n; i++) {
      const double* row = backwards.data() + (n - 1 - i) * n;
      d[i] = static_cast<float>(pivots[i] * pivots[i]);
      for (int64_t j = 0; j < n; j++) feedback[i * n + j] = i < j ? static_cast<float>(row[n - 1 - j] / pivots[j]) : 0;
    }
  }
};

// What a thread needs for its rows.
struct Scratch {
  float* w;      // the rows, in order: kRows x n
  float* e;      // what they lose so far
  float* target; // kRows x block: numbers to round, or the gradient: kRows x n
  float* moved;  // kRows x block: how the losses of a block change
  float* padded; // three blocks

  static int64_t size(int64_t n, int64_t block) { return kRows * (3 * std::max(n, block) + block) + 3 * block; }
  Scratch(float* memory, int64_t n, int64_t block)
      : w(memory), e(w + kRows * std::max(n, block)), target(e + kRows * std::max(n, block)),
        moved(target + kRows * std::max(n, block)), padded(moved + kRows * block) {}
};

class Rows {
public:
  Rows(const BlockFormat& format, const Order& order, const Weights& weights, int64_t n, const BlockCodes& result)
      : format_(format), order_(order), weights_(weights), n_(n), blocks_(format.blocks(n)), result_(result) {}

  // All blocks, one after the other.
  void round(int64_t first, int64_t rows, const Scratch& s) const {
    for (const Span& span : order_.spans) {
      const int64_t width = span.count;
      for (int64_t i = 0; i < rows; i++) std::copy_n(s.w + i * n_ + span.begin, width, s.target + i * width);
      if (span.begin > 0) {
        blas::gemm(false, false, rows, width, span.begin, 1, s.e, n_, weights_.feedback.data() + span.begin, n_, 1,
                   s.target, width);
      }
      for (int64_t i = 0; i < rows; i++) {
        roundBlock(first + i, span, s.w + i * n_ + span.begin, s.target + i * width, s.e + i * n_ + span.begin,
                   s.padded);
      }
    }
  }

  // Goes over all codes, and then scales, again, each of which moves to where it is best while all
  // others stay. What it means for the other blocks is summed up for all rows of the thread.
  void descend(int64_t first, int64_t rows, const Scratch& s) const {
    float* gradient = s.target;
    blas::gemm(false, false, rows, n_, n_, 1, s.e, n_, weights_.h.data(), n_, 0, gradient, n_);
    for (const Span& span : order_.spans) {
      for (int64_t i = 0; i < rows; i++) {
        const int64_t at = i * n_ + span.begin;
        float* moved = s.moved + i * span.count;
        std::copy_n(s.e + at, span.count, moved);
        std::copy_n(gradient + at, span.count, s.padded);
        improveCodes(first + i, span, s.w + at, s.e + at, s.padded);
        improveScale(first + i, span, s.w + at, s.e + at, s.padded, s.padded + format_.block);
        for (int64_t k = 0; k < span.count; k++) moved[k] = s.e[at + k] - moved[k];
      }
      blas::gemm(false, false, rows, n_, span.count, 1, s.moved, span.count, weights_.h.data() + span.begin * n_, n_, 1,
                 gradient, n_);
    }
  }

private:
  void roundBlock(int64_t row, const Span& span, const float* w, float* target, float* e, float* padded) const {
    const float* d = weights_.d.data() + span.begin;
    float *numbers = padded, *weights = padded + format_.block;
    std::fill_n(padded, 2 * format_.block, 0.0f);
    std::copy_n(target, span.count, numbers);
    std::copy_n(d, span.count, weights);
    const BlockScale scale = bestScale(numbers, weights, format_);
    const int64_t at = row * blocks_ + span.block;
    result_.scales[at] = scale.scale;
    result_.zeros[at] = scale.zero;
    uint8_t* codes = result_.codes + at * format_.block;
    std::fill(codes + span.count, codes + format_.block, uint8_t{0});
    for (int64_t j = 0; j < span.count; j++) {
      const uint8_t code = nearestCode(target[j], scale, format_);
      codes[placeOf(span, j)] = code;
      e[j] = w[j] - static_cast<float>(code - scale.zero) * scale.scale;
      const float* feedback = weights_.feedback.data() + (span.begin + j) * n_ + span.begin;
      for (int64_t l = j + 1; l < span.count; l++) target[l] += e[j] * feedback[l];
    }
  }

  // `w`, `e` and `gradient` are those of the block.
  void improveCodes(int64_t row, const Span& span, const float* w, float* e, float* gradient) const {
    const int64_t at = row * blocks_ + span.block;
    const BlockScale scale{result_.scales[at], result_.zeros[at]};
    uint8_t* codes = result_.codes + at * format_.block;
    for (int64_t k = 0; k < span.count; k++) {
      const float* h = blockOf(span, k);
      uint8_t& code = codes[placeOf(span, k)];
      const uint8_t better = nearestCode(w[k] - e[k] + gradient[k] / h[k], scale, format_);
      if (better == code) continue;
      const float step = static_cast<float>(better - code) * scale.scale;
      code = better;
      e[k] -= step;
      for (int64_t l = 0; l < span.count; l++) gradient[l] -= step * h[l];
    }
  }

  // e -= step c, with c the codes less their zero point: the best step is (c g) / (c H c').
  // `memory` is of two blocks.
  void improveScale(int64_t row, const Span& span, const float* w, float* e, const float* gradient,
                    float* memory) const {
    const int64_t at = row * blocks_ + span.block, count = span.count;
    const uint8_t* codes = result_.codes + at * format_.block;
    float *c = memory, *product = memory + count;
    for (int64_t k = 0; k < count; k++) c[k] = static_cast<float>(codes[placeOf(span, k)] - result_.zeros[at]);
    std::fill_n(product, count, 0.0f);
    for (int64_t k = 0; k < count; k++) {
      const float* h = blockOf(span, k);
      for (int64_t l = 0; l < count; l++) product[l] += c[k] * h[l];
    }
    float along = 0, curvature = 0;
    for (int64_t k = 0; k < count; k++) {
      along += c[k] * gradient[k];
      curvature += c[k] * product[k];
    }
    if (!(curvature > 0)) return;
    const float scale = storable(result_.scales[at] + along / curvature, format_);
    const float step = scale - result_.scales[at];
    // The loss changes by step (step curvature - 2 along); rounding of the scale may spoil it.
    if (scale == 0 || !(step * (step * curvature - 2 * along) < 0)) return;
    result_.scales[at] = scale;
    for (int64_t k = 0; k < count; k++) e[k] = w[k] - c[k] * scale;
  }

  // Row k of the moments within a block.
  const float* blockOf(const Span& span, int64_t k) const {
    return weights_.h.data() + (span.begin + k) * n_ + span.begin;
  }

  int64_t placeOf(const Span& span, int64_t k) const {
    return order_.inputs[static_cast<size_t>(span.begin + k)] - span.block * format_.block;
  }

  const BlockFormat& format_;
  const Order& order_;
  const Weights& weights_;
  const int64_t n_, blocks_;
  const BlockCodes& result_;
};

} // namespace

void roundCompensated(const Context& context, ConstMatrix w, const double* c, const BlockRequest& request,
                      const BlockCodes& result) {
  const int64_t m = w.rows, n = w.cols, panels = (m + kRows - 1) / kRows, parts = context.team.size();
  const BlockFormat& format = request.format;
  const Order order(c, n, format);
  const Weights weights(context, c, n, order, request.damping);
  const Rows all(format, order, weights, n, result);
  context.progress(0.2);
  const Buffer<float> memory(context.memory, parts * Scratch::size(n, format.block));
  context.team.run([&](int part) {
    const Scratch scratch(memory.data() + part * Scratch::size(n, format.block), n, format.block);
    for (int64_t panel = part; panel < panels; panel += parts) {
      if (context.control.cancelled()) return;
      const int64_t first = panel * kRows, rows = std::min(kRows, m - first);
      for (int64_t i = 0; i < rows; i++) {
        const float* row = w.row(first + i);
        for (int64_t j = 0; j < n; j++) scratch.w[i * n + j] = row[order.inputs[static_cast<size_t>(j)]];
      }
      all.round(first, rows, scratch);
      for (int sweep = 0; sweep < request.sweeps; sweep++) all.descend(first, rows, scratch);
    }
  });
  context.control.check();
}

} // namespace lowrank
