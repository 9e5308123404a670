#include "lowrank/weighted.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <vector>

#include "blas/gemm.h"
#include "blas/lapack.h"
#include "core/failure.h"
#include "core/norms.h"
#include "lowrank/factors.h"
#include "lowrank/low_rank.h"
#include "lowrank/orthonormal.h"
#include "lowrank/root.h"

namespace lowrank {
namespace {

// Rows that a thread takes through a product in float64 at a time: gemm packs all of the other
// factor for them.
constexpr int64_t kRows = 256;

// A singular value below this share of the largest is the rounding of the image to float32.
constexpr double kNoise = 0x1p-22;

void widen(const float* from, int64_t count, double* to) { std::copy_n(from, count, to); }

int64_t panelHeight(int64_t m, int64_t parts) { return std::min(kRows, (m + parts - 1) / parts); }

// The bytes of sumOverRows.
int64_t panelBytes(int64_t m, int64_t size, int64_t parts) {
  const int64_t height = panelHeight(m, parts);
  return 8 * (parts * height * size + (m + height - 1) / height);
}

// Calls rows(begin, count, scratch) for panels of at most kRows of `m` rows, shared out among the
// team. Each call has its own `scratch`, `size` numbers for a row. Returns the sum of what the
// calls return, in the order of the panels.
template <class Rows> double sumOverRows(const Context& context, int64_t m, int64_t size, const Rows& rows) {
  const int64_t parts = context.team.size(), height = panelHeight(m, parts), panels = (m + height - 1) / height;
  const Buffer<double> scratch(context.memory, parts * height * size), sums(context.memory, panels);
  context.team.run([&](int part) {
    for (int64_t panel = part; panel < panels; panel += parts) {
      if (context.control.cancelled()) return;
      const int64_t begin = panel * height;
      sums[panel] = rows(begin, std::min(height, m - begin), scratch.data() + part * height * size);
    }
  });
  context.control.check();
  double sum = 0;
  for (int64_t i = 0; i < panels; i++) sum += sums[i];
  return sum;
}

// M with M M' = W C W', in float32: the mean of |(W - b b' W) x|^2 is |M - b b' M|_F^2.
struct Image {
  int64_t rows, cols = 0;
  Buffer<float> numbers;
  double energy = 0;  // |M|_F^2 before rounding
  double rounded = 0; // |M - what is stored|_F
  double doubt = 0;   // by how much the squared error of any approximation may be too large

  ConstMatrix view() const { return {numbers.data(), rows, cols}; }
  void store(int64_t begin, int64_t count, const double* values) const {
    for (int64_t i = 0; i < count * cols; i++) numbers[begin * cols + i] = static_cast<float>(values[i]);
  }
};

// |W D|_F^2 with D = diag(C)^(1/2), or |D|_F^2 of moments of the outputs: C may be below F F' by
// doubt D^2, and the best approximation leaves W, or I, times a projector from the left.
double powerOf(ConstMatrix w, const Moments& moments) {
  double power = 0;
  if (moments.kind == Moments::outputs) {
    for (int64_t i = 0; i < w.rows; i++) power += moments.values[i * w.rows + i];
    return power;
  }
  std::vector<double> variances(static_cast<size_t>(w.cols));
  for (int64_t j = 0; j < w.cols; j++) variances[static_cast<size_t>(j)] = moments.values[j * w.cols + j];
  for (int64_t i = 0; i < w.rows; i++) {
    const float* row = w.row(i);
    for (int64_t j = 0; j < w.cols; j++)
      power += static_cast<double>(row[j]) * row[j] * variances[static_cast<size_t>(j)];
  }
  return power;
}

Image imageOf(const Context& context, ConstMatrix w, const Moments& moments) {
  const int64_t m = w.rows, n = w.cols;
  Image image{m};
  std::optional<SquareRoot> root;
  if (moments.kind != Moments::diagonal) {
    root.emplace(context, moments.values, moments.kind == Moments::inputs ? n : m);
    image.cols = root->rank();
  } else {
    for (int64_t j = 0; j < n; j++) {
      if (!std::isfinite(moments.values[j]))
        throw Failure("ERR_NOT_FINITE", "the second moments hold a NaN or an infinity");
      if (moments.values[j] < 0) throw Failure("ERR_ARGUMENT", "a second moment is negative");
    }
    image.cols = n;
  }
  if (image.cols == 0) return image;
  image.numbers = Buffer<float>(context.memory, m * image.cols);
  const int64_t p = image.cols;
  const Buffer<double> rounded(context.memory, m);
  image.energy = sumOverRows(context, m, n + p, [&](int64_t begin, int64_t count, double* scratch) {
    double *wide = scratch, *values = scratch + count * n;
    if (moments.kind == Moments::outputs) {
      std::copy_n(root->data() + begin * p, count * p, values);
    } else {
      for (int64_t i = 0; i < count; i++) widen(w.row(begin + i), n, wide + i * n);
      if (root) {
        root->multiply(count, wide, values);
      } else {
        for (int64_t i = 0; i < count * n; i++) values[i] = wide[i] * std::sqrt(moments.values[i % n]);
      }
    }
    image.store(begin, count, values);
    for (int64_t i = 0; i < count; i++) {
      rounded[begin + i] = squaredDistance(image.numbers.data() + (begin + i) * p, values + i * p, p);
    }
    return squares(values, count * p);
  });
  double sum = 0;
  for (int64_t i = 0; i < m; i++) sum += rounded[i];
  image.rounded = std::sqrt(sum);
  if (root) image.doubt = root->doubt() * powerOf(w, moments);
  return image;
}

// Returns tr(D C D') for D = w - b a; with moments of the outputs, for D = I - b b'.
double weightedError(const Context& context, ConstMatrix w, ConstMatrix b, ConstMatrix a, const Moments& moments) {
  const bool outputs = moments.kind == Moments::outputs;
  const int64_t m = w.rows, n = outputs ? m : w.cols, k = b.cols;
  const Buffer<double> right(context.memory, k * n);
  for (int64_t i = 0; i < k; i++) {
    for (int64_t j = 0; j < n; j++) right[i * n + j] = outputs ? b.row(j)[i] : a.row(i)[j];
  }
  return sumOverRows(context, m, 2 * n + k, [&](int64_t begin, int64_t count, double* scratch) {
    double *d = scratch, *other = d + count * n, *left = other + count * n;
    for (int64_t i = 0; i < count; i++) widen(b.row(begin + i), k, left + i * k);
    if (k > 0) {
      blas::gemm(count, n, k, left, right.data(), d);
    } else {
      std::fill_n(d, count * n, 0.0);
    }
    for (int64_t i = 0; i < count; i++) {
      for (int64_t j = 0; j < n; j++) {
        const double original = outputs ? (begin + i == j ? 1 : 0) : static_cast<double>(w.row(begin + i)[j]);
        d[i * n + j] = original - d[i * n + j];
      }
    }
    double sum = 0;
    if (moments.kind == Moments::diagonal) {
      for (int64_t i = 0; i < count * n; i++) sum += d[i] * d[i] * moments.values[i % n];
      return sum;
    }
    blas::gemm(count, n, n, d, moments.values, other);
    for (int64_t i = 0; i < count * n; i++) sum += d[i] * other[i];
    return sum;
  });
}

// a = q w, in float64, because C would weight the rounding of sums in float32.
void project(const Context& context, ConstMatrix q, ConstMatrix w, float* a) {
  const int64_t k = q.rows, m = w.rows, n = w.cols;
  if (k == 0) return;
  const Buffer<double> wide(context.memory, m * n);
  for (int64_t i = 0; i < m; i++) widen(w.row(i), n, wide.data() + i * n);
  sumOverRows(context, k, m + n, [&](int64_t begin, int64_t count, double* scratch) {
    double *rows = scratch, *values = scratch + count * m;
    for (int64_t i = 0; i < count; i++) widen(q.row(begin + i), m, rows + i * m);
    blas::gemm(count, n, m, rows, wide.data(), values);
    for (int64_t i = 0; i < count * n; i++) a[begin * n + i] = static_cast<float>(values[i]);
    return 0.0;
  });
}

// Rows `found` to k of q: the leading left singular vectors of what the others leave of w.
void complete(const Context& context, ConstMatrix w, const Request& request, int64_t found, int64_t k, float* q) {
  const int64_t m = w.rows, n = w.cols, rest = k - found;
  orthonormaliseRows(context, found, m, q);
  const Buffer<float> left(context.memory, m * n), a(context.memory, found * n);
  project(context, ConstMatrix(q, found, m), w, a.data());
  copyRows(w, left.data());
  if (found > 0) {
    context.team.ranges(m, kRows, [&](int64_t begin, int64_t end) {
      blas::gemm(true, false, end - begin, n, found, -1, q + begin, m, a.data(), n, 1, left.data() + begin * n, n);
    });
  }
  const Buffer<float> moreB(context.memory, m * rest), moreA(context.memory, rest * n), moreS(context.memory, rest);
  Request more = request;
  more.rule = {RankRule::fixed, rest, {}};
  approximate(context, ConstMatrix(left.data(), m, n), more,
              {.capacity = rest, .b = moreB.data(), .a = moreA.data(), .s = moreS.data()});
  transpose(context.team, ConstMatrix(moreB.data(), m, rest), Matrix(q + found * m, rest, m));
}

// --- memory, in the order of the steps

// imageOf, with the image.
int64_t imageBytes(int64_t m, int64_t n, Moments::Kind kind, int threads) {
  const int64_t p = kind == Moments::outputs ? m : n;
  const int64_t held = kind == Moments::diagonal ? 0 : 8 * (p + p * p);
  const int64_t rows = 4 * m * p + 8 * m + panelBytes(m, n + p, threads);
  return std::max(kind == Moments::diagonal ? 0 : SquareRoot::bytes(p), held + rows);
}

int64_t projectBytes(int64_t k, int64_t m, int64_t n, int threads) {
  return k == 0 ? 0 : 8 * m * n + panelBytes(k, m + n, threads);
}

int64_t errorBytes(int64_t m, int64_t n, int64_t k, Moments::Kind kind, int threads) {
  const int64_t side = kind == Moments::outputs ? m : n;
  return 8 * k * side + panelBytes(m, 2 * side + k, threads);
}

const Result& factorsWanted(bool spanAlone) {
  static float wanted = 0; // estimates ask only whether an output is wanted
  static const Result results[] = {{0, &wanted, &wanted, &wanted}, {0, &wanted, &wanted, &wanted, nullptr, true}};
  return results[spanAlone ? 1 : 0];
}

// complete, for whatever share of the rank is missing.
int64_t completeBytes(int64_t m, int64_t n, int64_t k, const Request& request, int threads) {
  Request more = request;
  more.rule = {RankRule::fixed, k, {}};
  const int64_t solving = 4 * k * (m + n + 1) + approximateBytes(m, n, more, factorsWanted(false), threads).worst;
  return 4 * (m * n + k * n) + std::max(projectBytes(k, m, n, threads), solving);
}

} // namespace

MemoryNeed approximateWeightedBytes(int64_t m, int64_t n, Moments::Kind kind, const Request& request, int threads) {
  const int64_t p = kind == Moments::outputs ? m : n, most = std::min(m, p);
  const bool fixed = request.rule.kind == RankRule::fixed;
  const int64_t asked = fixed ? std::min(request.rule.rank, most) : most;
  const int64_t k = fixed ? request.rule.rank : std::min(most, std::min(m, n));
  Request leading = request;
  if (fixed) leading.rule.rank = asked;
  const MemoryNeed own = approximateBytes(m, p, leading, factorsWanted(true), threads);
  const int64_t factors = 4 * (m * p + std::max<int64_t>(asked, 1) * (m + p + 1)),
                columns = factors + 4 * std::max<int64_t>(k, 1) * m;
  const int64_t first = imageBytes(m, n, kind, threads);
  const int64_t last = columns + std::max({orthonormaliseBytes(k, m), projectBytes(k, m, n, threads),
                                           errorBytes(m, n, k, kind, threads)});
  // Moments of a lower rank than the factors leave the rest to the matrix itself.
  const int64_t whole = columns + completeBytes(m, n, k, request, threads);
  return {std::max({first, factors + own.planned, last}), std::max({first, factors + own.worst, last, whole})};
}

Certificate approximateWeighted(const Context& context, ConstMatrix w, const Moments& moments, const Request& request,
                                const Result& result) {
  requireFinite(w, context.team);
  const int64_t m = w.rows, n = w.cols, shorter = std::min(m, n);
  const bool fixed = request.rule.kind == RankRule::fixed;
  const Image image = imageOf(context, w, moments);
  context.progress(0.1);

  const int64_t most = std::min(m, image.cols), asked = fixed ? std::min(request.rule.rank, most) : most;
  const Buffer<float> b(context.memory, m * std::max<int64_t>(asked, 1)),
      a(context.memory, std::max<int64_t>(asked, 1) * image.cols), s(context.memory, std::max<int64_t>(asked, 1));
  Certificate certificate;
  if (image.cols > 0) {
    Request leading = request;
    if (fixed) leading.rule.rank = asked;
    const Context part{context.memory, context.control, context.team, context.from + 0.1 * context.span,
                       0.7 * context.span};
    certificate = approximate(part, image.view(), leading,
                              {.capacity = asked, .b = b.data(), .a = a.data(), .s = s.data(), .spanAlone = true});
  }
  const int64_t known = certificate.rank, k = fixed ? request.rule.rank : std::min(known, shorter);
  int64_t found = std::min(known, k);
  while (found > 0 && !(s[found - 1] > kNoise * s[0])) found--;

  // The columns of b are u_i s_i, each accurate to the rounding of s_1, so their span holds every
  // u_i s_i but for that rounding.
  const Buffer<float> q(context.memory, std::max<int64_t>(k, 1) * m);
  transpose(context.team, ConstMatrix(b.data(), m, known).colRange(0, found), Matrix(q.data(), found, m));
  if (found < k) complete(context, w, request, found, k, q.data());
  orthonormaliseRows(context, k, m, q.data());
  project(context, ConstMatrix(q.data(), k, m), w, result.a);
  transpose(context.team, ConstMatrix(q.data(), k, m), Matrix(result.b, m, k));
  std::copy_n(s.data(), found, result.s);
  std::fill(result.s + found, result.s + k, 0.0f);
  context.progress(0.85);

  const double squared = weightedError(context, w, ConstMatrix(result.b, m, k), ConstMatrix(result.a, k, n), moments);
  const double least = std::max(certificate.leastError - image.rounded, 0.0);
  certificate.rank = k;
  certificate.norm = std::sqrt(image.energy);
  certificate.error = std::sqrt(std::max(squared, 0.0));
  certificate.slack = std::sqrt(std::max(squared, 0.0) + image.doubt) - certificate.error;
  certificate.leastError = std::sqrt(std::max(least * least - image.doubt, 0.0));
  if (k > known) certificate.spectralError = 0;
  return certificate;
}

} // namespace lowrank
