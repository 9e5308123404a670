#include "lowrank/sturm.h"

#include <algorithm>
#include <atomic>
#include <cmath>

#include "core/memory.h"
#include "core/simd.h"

namespace lowrank {
namespace {

// Shifts that are counted together.
constexpr int64_t kCounted = 64;

// Bisection in float32, whose counts are those of a matrix within kDoubt, down to kFirst.
constexpr double kFirst = 0x1p-22;
constexpr double kDoubt = 0x1p-20;

// Eigenvalues that are closer to the next one than kNear are bisected to kSecond in float64, those
// within kNearest of it to kLast.
constexpr double kNear = 0x1p-17;
constexpr double kSecond = 0x1p-29;
constexpr double kNearest = 0x1p-24;
constexpr double kLast = 0x1p-51;

// The last step of Newton's method, whose square is what is left of the error, and steps that are
// tried to come to it.
constexpr double kSettled = 0x1p-44;
constexpr int kSteps = 6;

// How far from what Newton's method has found an eigenvalue is sought by larger and larger steps.
// Its pivots and those of a count round differently, by a few kLast at most.
constexpr double kFarthest = 256 * kLast;

#define PATH_FILE "lowrank/sturm_path.h"
#include "core/each_path.h"

template <class Number> using Count = void (*)(int64_t, const Number*, const Number*, const Number*, int64_t*);

template <class Number> Count<Number> choose() {
#if defined(__x86_64__)
  if (simd() == Simd::avx512) return avx512::count<Number>;
  if (simd() == Simd::avx2) return avx2::count<Number>;
#endif
  return narrow::count<Number>;
}

using Newton = void (*)(int64_t, const double*, const double*, double*, int64_t*);

Newton chooseNewton() {
#if defined(__x86_64__)
  if (simd() == Simd::avx512) return avx512::newton;
  if (simd() == Simd::avx2) return avx2::newton;
#endif
  return narrow::newton;
}

// T in one precision: its diagonal, and its off-diagonal squared.
template <class Number> class Sturm {
public:
  Sturm(const Context& context, int64_t n, const double* d, const double* e)
      : context_(context), n_(n), d_(context.memory, n), squares_(context.memory, n) {
    for (int64_t i = 0; i < n; i++) {
      d_[i] = static_cast<Number>(d[i]);
      squares_[i] = i + 1 < n ? static_cast<Number>(e[i] * e[i]) : Number{};
    }
  }

  // below[i] <- the number of eigenvalues below x[i]; `count` may be anything.
  void counts(int64_t count, const Number* x, int64_t* below) const {
    inGroups(count, [&](int64_t begin, int64_t length) { group(length, x + begin, below + begin); });
  }

  // Halves [low, high] of the eigenvalues `index` until none is wider than `width`.
  void bisect(int64_t count, const int64_t* index, double* low, double* high, double width) const {
    inGroups(count, [&](int64_t begin, int64_t length) {
      Number x[kCounted];
      int64_t below[kCounted];
      for (;;) {
        double widest = 0;
        for (int64_t i = 0; i < length; i++) {
          const int64_t place = index[begin + i];
          x[i] = static_cast<Number>((low[place] + high[place]) / 2);
          widest = std::max(widest, high[place] - low[place]);
        }
        if (widest <= width || context_.control.cancelled()) return;
        group(length, x, below);
        for (int64_t i = 0; i < length; i++) {
          const int64_t place = index[begin + i];
          (below[i] > place ? high : low)[place] = static_cast<double>(x[i]);
        }
      }
    });
  }

  // The same to a width of 2 kLast where Newton's method finds an eigenvalue and two counts confirm
  // it. Where one of them does not, the width is some kLast more.
  void converge(int64_t count, const int64_t* index, double* low, double* high) const {
    static const Newton step = chooseNewton();
    inGroups(count, [&](int64_t begin, int64_t length) {
      if (context_.control.cancelled()) return;
      double x[kCounted], at[kCounted];
      int64_t below[kCounted], above[kCounted];
      for (int64_t i = 0; i < kCounted; i++) {
        const int64_t place = index[begin + std::min(i, length - 1)];
        x[i] = (low[place] + high[place]) / 2;
      }
      bool settled = false;
      for (int steps = 0; steps < kSteps && !settled; steps++) {
        std::copy_n(x, kCounted, at);
        step(n_, d_.data(), squares_.data(), x, below);
        settled = true;
        for (int64_t i = 0; i < length; i++) {
          const int64_t place = index[begin + i];
          tighten(below[i] > place, at[i], low[place], high[place]);
          // What has been found may lie beyond an end by its rounding.
          if (std::abs(x[i] - at[i]) <= kSettled) continue;
          settled = false;
          // Neither where it is no number.
          if (!(x[i] > low[place] && x[i] < high[place])) x[i] = (low[place] + high[place]) / 2;
        }
      }
      double under[kCounted], over[kCounted];
      for (int64_t i = 0; i < kCounted; i++) {
        under[i] = x[i] - kLast;
        over[i] = x[i] + kLast;
      }
      group(kCounted, under, below);
      group(kCounted, over, above);
      for (int64_t i = 0; i < length; i++) {
        const int64_t place = index[begin + i];
        tighten(below[i] > place, under[i], low[place], high[place]);
        tighten(above[i] > place, over[i], low[place], high[place]);
      }
      // Where one of them contradicts, it is now an end of the interval.
      for (double step = 4 * kLast; step <= kFarthest; step *= 4) {
        bool wide = false;
        for (int64_t i = 0; i < length; i++) {
          const int64_t place = index[begin + i];
          const bool upwards = low[place] >= over[i];
          at[i] = upwards ? low[place] + step : high[place] - step;
          wide = wide || high[place] - low[place] > step;
        }
        if (!wide) break;
        group(length, at, below);
        for (int64_t i = 0; i < length; i++) {
          const int64_t place = index[begin + i];
          if (high[place] - low[place] > step) tighten(below[i] > place, at[i], low[place], high[place]);
        }
      }
    });
  }

private:
  static void tighten(bool above, double x, double& low, double& high) {
    if (above) {
      high = std::min(high, x);
    } else {
      low = std::max(low, x);
    }
  }

  template <class Work> void inGroups(int64_t count, const Work& work) const {
    std::atomic<int64_t> next{0};
    context_.team.run([&](int) {
      for (int64_t begin; (begin = kCounted * next.fetch_add(1)) < count;) {
        work(begin, std::min(kCounted, count - begin));
      }
    });
  }

  void group(int64_t length, const Number* x, int64_t* below) const {
    static const Count<Number> best = choose<Number>();
    if (length == kCounted) return best(n_, d_.data(), squares_.data(), x, below);
    Number padded[kCounted];
    int64_t counted[kCounted];
    for (int64_t i = 0; i < kCounted; i++) padded[i] = x[std::min(i, length - 1)];
    best(n_, d_.data(), squares_.data(), padded, counted);
    std::copy_n(counted, length, below);
  }

  const Context& context_;
  const int64_t n_;
  const Buffer<Number> d_, squares_;
};

} // namespace

void eigenvalues(const Context& context, int64_t n, const double* d, const double* e, Precision precision,
                 double* values) {
  double least = d[0], largest = d[0]; // the ends of the spectrum (Gershgorin)
  for (int64_t i = 0; i < n; i++) {
    const double radius = (i > 0 ? std::abs(e[i - 1]) : 0) + (i + 1 < n ? std::abs(e[i]) : 0);
    least = std::min(least, d[i] - radius - kDoubt);
    largest = std::max(largest, d[i] + radius + kDoubt);
  }
  const Buffer<double> low(context.memory, n), high(context.memory, n);
  const Buffer<int64_t> index(context.memory, n), below(context.memory, n);
  for (int64_t i = 0; i < n; i++) index[i] = i;
  {
    // A grid of n points brackets all of them for the price of one halving.
    const Sturm<float> single(context, n, d, e);
    const Buffer<float> grid(context.memory, n);
    for (int64_t i = 0; i < n; i++) {
      grid[i] = static_cast<float>(least + (largest - least) * static_cast<double>(i + 1) / static_cast<double>(n + 1));
    }
    single.counts(n, grid.data(), below.data());
    for (int64_t i = 0, point = 0; i < n; i++) {
      while (point < n && below[point] <= i) point++;
      low[i] = point > 0 ? grid[point - 1] : least;
      high[i] = point < n ? grid[point] : largest;
    }
    single.bisect(n, index.data(), low.data(), high.data(), kFirst);
  }
  const auto sort = [&] {
    for (int64_t i = 0; i < n; i++) values[i] = (low[i] + high[i]) / 2;
    for (int64_t i = 1; i < n; i++) values[i] = std::max(values[i], values[i - 1]);
  };
  // Those that float32 does not know well enough.
  const auto refine = [&](int64_t count, const auto& work) {
    if (count == 0) return;
    for (int64_t i = 0; i < count; i++) {
      low[index[i]] -= kDoubt;
      high[index[i]] += kDoubt;
    }
    const Sturm<double> twice(context, n, d, e);
    work(twice);
    sort();
  };
  sort();
  if (precision == Precision::float64) {
    return refine(n, [&](const Sturm<double>& twice) {
      twice.converge(n, index.data(), low.data(), high.data());
      int64_t left = 0;
      for (int64_t i = 0; i < n; i++) {
        if (high[i] - low[i] > 2 * kLast) index[left++] = i;
      }
      twice.bisect(left, index.data(), low.data(), high.data(), 2 * kLast);
    });
  }
  const auto closeOnes = [&](double near) {
    int64_t count = 0;
    for (int64_t i = 0; i < n; i++) {
      const bool close = (i > 0 && values[i] - values[i - 1] < near) || (i + 1 < n && values[i + 1] - values[i] < near);
      if (close) index[count++] = i;
    }
    return count;
  };
  const int64_t close = closeOnes(kNear);
  refine(close, [&](const Sturm<double>& twice) {
    twice.bisect(close, index.data(), low.data(), high.data(), kSecond);
    sort();
    twice.bisect(closeOnes(kNearest), index.data(), low.data(), high.data(), kLast);
  });
}

int64_t eigenvaluesBytes(int64_t n) { return 48 * n; }

} // namespace lowrank
