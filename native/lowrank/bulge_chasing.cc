#include "lowrank/bulge_chasing.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <memory>
#include <thread>

#include "core/lanes.h"
#include "core/simd.h"
#include "lowrank/compact_wy.h"

namespace lowrank {
namespace {

constexpr int64_t b = Reflectors::kLength;

// The distance from an element of a block to the next in its row. Columns are contiguous.
constexpr int64_t kColumn = kBandRow - 1;

// Sweeps that one thread takes down the band together, two steps apart, while the elements that
// they share are in its cache.
constexpr int64_t kSweeps = 8;
static_assert(kSweeps % Reflectors::kTogether == 0);

// 1 on and below the diagonal; if `strict`, only below it.
template <class T, int64_t W, bool strict> constexpr std::array<std::array<T, W>, W> lowerTriangle() {
  std::array<std::array<T, W>, W> mask{};
  for (int64_t j = 0; j < W; j++) {
    for (int64_t i = 0; i < W; i++) mask[j][i] = i > j || (!strict && i == j) ? 1 : 0;
  }
  return mask;
}

// One step of a sweep, in vectors of `Bytes`. A block is always a whole b x b, its columns kColumn
// apart, with zeros beyond the order of the matrix.
template <class T, int Bytes> struct Step {
  using Vector = typename Lane<T, Bytes>::type;
  static constexpr int64_t W = Lane<T, Bytes>::width;
  static constexpr int64_t K = b / W; // vectors of a column
  alignas(64) static constexpr auto kLower = lowerTriangle<T, W, false>();
  alignas(64) static constexpr auto kBelow = lowerTriangle<T, W, true>();

#define LOWRANK_INLINE inline __attribute__((always_inline))
  static LOWRANK_INLINE Vector& at(T* x) { return *reinterpret_cast<Vector*>(x); }
  static LOWRANK_INLINE const Vector& at(const T* x) { return *reinterpret_cast<const Vector*>(x); }

  // Sums the elements of a vector, halves first.
  template <int Size> static LOWRANK_INLINE T sum(const T* x) {
    if constexpr (Size <= 16) {
      T total = x[0];
      for (int64_t i = 1; i < Size / int64_t(sizeof(T)); i++) total += x[i];
      return total;
    } else {
      using Half = typename Lane<T, Size / 2>::type;
      alignas(64) T half[Size / 2 / sizeof(T)];
      *reinterpret_cast<Half*>(half) =
          *reinterpret_cast<const Half*>(x) + *reinterpret_cast<const Half*>(x + Size / 2 / sizeof(T));
      return sum<Size / 2>(half);
    }
  }
  static LOWRANK_INLINE T sum(const Vector& x) {
    alignas(64) T all[W];
    at(all) = x;
    return sum<Bytes>(all);
  }

  // y += A v by the columns of the lower triangle, which `block` holds. Their dot products with v,
  // which the upper triangle adds to y, go to `dots`.
  static LOWRANK_INLINE void multiply(const T* block, const T* v, Vector (&y)[K], T* dots) {
#pragma GCC unroll 8
    for (int64_t J = 0; J < K; J++)
      for (int64_t j = 0; j < W; j++) {
        const T* column = block + (J * W + j) * kColumn;
        const T x = v[J * W + j];
        const Vector corner = at(column + J * W);
        y[J] += corner * x;
        Vector dot = corner * at(v + J * W) * at(kBelow[j].data());
#pragma GCC unroll 8
        for (int64_t r = J + 1; r < K; r++) {
          const Vector a = at(column + r * W);
          y[r] += a * x;
          dot += a * at(v + r * W);
        }
        dots[J * W + j] = sum(dot);
      }
  }

  // A -= v w' + w v' in the lower triangle.
  static LOWRANK_INLINE void update(T* block, const T* v, const T* w) {
#pragma GCC unroll 8
    for (int64_t J = 0; J < K; J++)
      for (int64_t j = 0; j < W; j++) {
        T* column = block + (J * W + j) * kColumn;
        const T x = v[J * W + j], y = w[J * W + j];
        at(column + J * W) -= (at(v + J * W) * y + at(w + J * W) * x) * at(kLower[j].data());
#pragma GCC unroll 8
        for (int64_t r = J + 1; r < K; r++) at(column + r * W) -= at(v + r * W) * y + at(w + r * W) * x;
      }
  }

  // H A H for the symmetric block on the diagonal: A - v w' - w v' with w = tau A v - (tau / 2)
  // (tau v' A v) v.
  static LOWRANK_INLINE void diagonal(T tau, const T* v, T* block) {
    Vector y[K] = {};
    alignas(64) T w[b];
    multiply(block, v, y, w);
    Vector inner = {};
    for (int64_t r = 0; r < K; r++) {
      at(w + r * W) = (at(w + r * W) + y[r]) * tau;
      inner += at(w + r * W) * at(v + r * W);
    }
    const T half = tau / 2 * sum(inner);
    for (int64_t r = 0; r < K; r++) at(w + r * W) -= at(v + r * W) * half;
    update(block, v, w);
  }

  // Transforms the block below it. The first column of B H gives the next reflector. All other
  // columns of H_next B H take one pass: B - w v' - next u' with w = tau B v and u = nextTau (B'
  // next - (w' next) v).
  static LOWRANK_INLINE T below(T tau, const T* v, T* block, T* next) {
    Vector even[K] = {}, odd[K] = {};
    for (int64_t j = 0; j < b; j += 2) {
      const T x = v[j], y = v[j + 1];
#pragma GCC unroll 8
      for (int64_t r = 0; r < K; r++) {
        even[r] += at(block + j * kColumn + r * W) * x;
        odd[r] += at(block + (j + 1) * kColumn + r * W) * y;
      }
    }
    alignas(64) T w[b], u[b];
    for (int64_t r = 0; r < K; r++) {
      at(w + r * W) = (even[r] + odd[r]) * tau;
      at(next + r * W) = at(block + r * W) - at(w + r * W);
      at(block + r * W) = Vector{};
    }
    const T nextTau = reflect(b, next, block[0]);
    Vector inner = {};
    for (int64_t r = 0; r < K; r++) inner += at(w + r * W) * at(next + r * W);
    const T crossing = sum(inner);
    for (int64_t j = 1; j < b; j++) {
      Vector dot = at(block + j * kColumn) * at(next);
#pragma GCC unroll 8
      for (int64_t r = 1; r < K; r++) dot += at(block + j * kColumn + r * W) * at(next + r * W);
      u[j] = nextTau * (sum(dot) - crossing * v[j]);
    }
    for (int64_t j = 1; j < b; j++) {
      const T x = v[j], y = u[j];
#pragma GCC unroll 8
      for (int64_t r = 0; r < K; r++) {
        at(block + j * kColumn + r * W) -= at(w + r * W) * x + at(next + r * W) * y;
      }
    }
    return nextTau;
  }

  static LOWRANK_INLINE T both(T tau, const T* v, T* block, T* next) {
    diagonal(tau, v, block);
    return next == nullptr ? 0 : below(tau, v, block + b, next);
  }
};

// Applies (tau, v) to the block on the diagonal and to the one below it, and makes the next
// reflector. `next` is null if there is no block below.
template <class T> using StepFunction = T (*)(T tau, const T* v, T* block, T* next);

#if defined(__x86_64__)
template <class T> __attribute__((target("avx512f,fma"))) T stepAvx512(T tau, const T* v, T* block, T* next) {
  return Step<T, 64>::both(tau, v, block, next);
}
template <class T> __attribute__((target("avx2,fma"))) T stepAvx2(T tau, const T* v, T* block, T* next) {
  return Step<T, 32>::both(tau, v, block, next);
}
#endif
template <class T> T stepNarrow(T tau, const T* v, T* block, T* next) { return Step<T, 16>::both(tau, v, block, next); }

template <class T> StepFunction<T> chooseStep() {
#if defined(__x86_64__)
  if (simd() == Simd::avx512) return stepAvx512<T>;
  if (simd() == Simd::avx2) return stepAvx2<T>;
#endif
  return stepNarrow<T>;
}

// Stores a reflector as column l of its quad, which is zero so far.
template <class T> void keep(Reflectors& reflectors, int64_t sweep, int64_t step, T tau, const T* v) {
  const int64_t l = sweep % Reflectors::kTogether;
  Reflectors::Quad& quad = reflectors.at(sweep / Reflectors::kTogether, step);
  for (int64_t i = 0; i < b; i++) quad.v[l + i][l] = static_cast<float>(v[i]);
  quad.t[l][l] = static_cast<float>(tau);
}

// Runs the sweeps in groups of kSweeps. The next free thread takes a group, which follows the one
// before it down the band.
template <class T> class Chase {
public:
  Chase(const Context& context, int64_t n, T* band, Reflectors* reflectors)
      : context_(context), n_(n), band_(band), reflectors_(reflectors),
        groups_((Reflectors::sweeps(n) + kSweeps - 1) / kSweeps),
        progress_(std::make_unique<Progress[]>(static_cast<size_t>(groups_))) {}

  void run() {
    context_.team.run([&](int) {
      try {
        for (int64_t group; (group = next_.fetch_add(1)) < groups_ && !stopped_;) {
          context_.control.check();
          chase(group);
        }
      } catch (...) {
        stopped_ = true; // otherwise threads would wait for this one forever
        throw;
      }
    });
  }

private:
  // Steps that the last sweep of a group has done.
  struct alignas(64) Progress {
    std::atomic<int64_t> steps{0};
  };

  // Cores may be shared with other work, so a thread that waits for long yields.
  void await(int64_t group, int64_t steps) const {
    constexpr int kSpins = 200;
    for (int spin = 0; progress_[group].steps.load(std::memory_order_acquire) < steps && !stopped_; spin++) {
      if (spin > kSpins) std::this_thread::yield();
    }
  }

  // Sweep s may take step c once sweep s - 1 has done step c + 1, which is the last to touch the
  // same elements.
  void chase(int64_t group) {
    static const StepFunction<T> step = chooseStep<T>();
    const int64_t first = group * kSweeps, sweeps = std::min(kSweeps, Reflectors::sweeps(n_) - first);
    alignas(64) T v[kSweeps][2][b];
    T tau[kSweeps];
    for (int64_t time = 0;; time++) {
      bool active = false;
      for (int64_t i = 0; i < sweeps; i++) {
        const int64_t sweep = first + i, steps = Reflectors::steps(n_, sweep), c = time - 2 * i;
        if (c >= steps) continue;
        active = true;
        if (c < 0) break;
        if (i == 0 && group > 0) await(group - 1, std::min(c + 2, Reflectors::steps(n_, sweep - 1)));
        if (stopped_) return;
        T *const now = v[i][c % 2], *const later = v[i][(c + 1) % 2];
        if (c == 0) {
          T* const column = band_ + sweep * kBandRow + 1;
          std::copy_n(column, b, now);
          std::fill_n(column, b, T{0});
          tau[i] = reflect(b, now, *column);
        }
        if (reflectors_) keep(*reflectors_, sweep, c, tau[i], now);
        const int64_t row = sweep + 1 + c * b;
        tau[i] = step(tau[i], now, band_ + row * kBandRow, row + b < n_ ? later : nullptr);
        if (i == sweeps - 1) progress_[group].steps.store(c + 1, std::memory_order_release);
      }
      if (!active) return;
    }
  }

  const Context& context_;
  const int64_t n_;
  T* const band_;
  Reflectors* const reflectors_;
  const int64_t groups_;
  const std::unique_ptr<Progress[]> progress_;
  std::atomic<int64_t> next_{0};
  std::atomic<bool> stopped_{false};
};

} // namespace

template <class T>
void chaseBulges(const Context& context, int64_t n, T* band, Reflectors* reflectors, T* diagonal, T* offDiagonal) {
  Chase<T>(context, n, band, reflectors).run();
  for (int64_t i = 0; i < n; i++) diagonal[i] = band[i * kBandRow];
  for (int64_t i = 0; i + 1 < n; i++) offDiagonal[i] = band[i * kBandRow + 1];
}

template void chaseBulges(const Context&, int64_t, float*, Reflectors*, float*, float*);
template void chaseBulges(const Context&, int64_t, double*, Reflectors*, double*, double*);

} // namespace lowrank
