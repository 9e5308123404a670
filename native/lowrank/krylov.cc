#include "lowrank/krylov.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <vector>

#include "blas/gemm.h"
#include "core/random.h"
#include "lowrank/coupling.h"
#include "lowrank/factors.h"
#include "lowrank/gain.h"
#include "lowrank/householder.h"
#include "lowrank/tridiagonal.h"

namespace lowrank {
namespace {

// Of the 32 columns that travel together, two are probes and the rest is the block.
constexpr int64_t kProbes = 2;
constexpr int64_t kBlock = kSkinny - kProbes;

// Numbers of w between the two halves of a step, a megabyte: in cache the second time. Enough rows
// to make little of loading and storing the sums, and no more than keep their cache lines in L1
// from one tile to the next.
constexpr int64_t kPanelElements = int64_t{1} << 18;
constexpr int64_t kLeastPanel = 24;
constexpr int64_t kLargestPanel = 120;

// Rows in which the basis is orthogonalised, so that a panel of it stays in cache from the product
// to the update.
constexpr int64_t kBasisPanel = 64;

// Eigenvectors computed beyond the wanted ones, to see which Ritz value is the first that has not
// converged.
constexpr int64_t kBeyond = 16;

// A Ritz value whose residual is above this share of it has not converged.
constexpr double kUnconverged = 0.05;

// Error of a singular value, as a share of the largest, up to which it counts as known.
constexpr double kValueError = 5e-6;

// Power iteration approaches |D| from below; the probes' answer is raised by this.
constexpr double kProbeMargin = 1.15;

// Squared length, relative to the column's own, that a column keeps against the earlier ones of its
// block before it counts as dependent; the second round of normalisation repairs what the first
// shifts.
constexpr double kShift = 1e-6;

// Length, relative to the largest product so far, below which what a product adds to the basis is
// nothing but rounding; and what a column of length one may lose to the basis before the same is
// true of it.
constexpr double kExhausted = 2e-6;
constexpr double kLost = 1e-4;

// Squared length below which a column counts as zero, whatever the scale.
constexpr double kTiny = 1e-36;

// Spectral norm of the rounding errors of T, in units of the largest eigenvalue, at its statistical
// size.
constexpr double kRounding = 4;

// As many singular values as the block is wide, within this share of each other, count as one value
// repeated.
constexpr double kRepeated = 1e-5;

// Of kValueError, the rounding of the largest eigenvalue that drowns s_(k+1).
constexpr double kDrowned = 8;

// A search ends when about this multiple of k Ritz values lie above the rest of the spectrum: 1.5
// to 2.4 times k were seen. Until then their number grows about as the dimension, and faster later
// if there is no gap: of the dimensions that would still be needed at the same pace, this share is,
// from the dimension on at which the probes have settled.
constexpr double kEnough = 1.6;
constexpr double kLeft = 0.6;
constexpr int64_t kSettled = 120;

// Of the energy times the target, what the residual of the k-th Ritz value may be for a full check
// to be tried; more while the eigenproblem is small.
constexpr double kHopeful = 0.02;
constexpr double kHopefulSmall = 1;
constexpr int64_t kSmall = 400;

// A Ritz value that has grown since is at least this share of what it was found to be.
constexpr double kStill = 1 - 0x1p-11;

// The share of the whole work that is the search for the subspace, for reports of progress.
constexpr double kSearchShare = 0.85;

// Rounds of orthogonalisation; two are enough unless columns are replaced or nearly dependent.
constexpr int kRounds = 6;

// The cosine between two columns from which one round of Cholesky QR makes them orthogonal to
// rounding.
constexpr double kOrthogonal = 0.1;

int64_t roundUp(int64_t value, int64_t multiple) { return (value + multiple - 1) / multiple * multiple; }

int64_t capacityFor(int64_t maxDimension, int64_t shorter) {
  return roundUp(std::min(maxDimension, shorter) + 1, kBlock);
}

int64_t panelRows(int64_t shorter) {
  return std::clamp(kPanelElements / shorter / kLeastPanel * kLeastPanel, kLeastPanel, kLargestPanel);
}

// Numbers that a panel takes where it is copied to a stride of its own.
int64_t packedSize(int64_t shorter) {
  const int64_t rows = panelRows(shorter);
  return std::max(rows * spreadStride(shorter), shorter * spreadStride(rows));
}

int64_t partSize(int64_t shorter, int64_t capacity) { return std::max(shorter, capacity) * kSkinny; }

} // namespace

Krylov::Krylov(const Context& context, ConstMatrix w, const MatrixStats& stats, int64_t maxDimension, uint64_t seed)
    : context_(context), w_(w), longer_(std::max(w.rows, w.cols)), shorter_(std::min(w.rows, w.cols)),
      tall_(w.rows >= w.cols), a_(tall_ ? Strided{w.data, w.stride, 1} : Strided{w.data, 1, w.stride}), seed_(seed),
      limit_(std::min(maxDimension, shorter_)), capacity_(capacityFor(maxDimension, shorter_)) {
  MemoryLedger& memory = context.memory;
  // Squares of 1e30 or 1e-30 leave the range of float32.
  int exponent = 0;
  if (stats.largest > 0) std::frexp(stats.largest, &exponent);
  scale_ = std::ldexp(1.0, std::clamp(-exponent, -126, 126));
  energy_ = stats.energy * scale_ * scale_;
  basis_ = Buffer<float>(memory, shorter_ * capacity_);
  images_ = Buffer<float>(memory, longer_ * capacity_);
  block_ = Buffer<float>(memory, shorter_ * kSkinny);
  packed_ = Buffer<float>(memory, packedSize(shorter_) * context.team.size());
  image_ = Buffer<float>(memory, panelRows(shorter_) * kSkinny * context.team.size());
  parts_ = Buffer<float>(memory, partSize(shorter_, capacity_) * context.team.size());
  coefficients_ = Buffer<float>(memory, capacity_ * kSkinny);
  t_ = Buffer<float>(memory, capacity_ * capacity_);
  grams_ = Buffer<double>(memory, kSkinny * kSkinny * context.team.size());
}

int64_t Krylov::bytes(int64_t m, int64_t n, int64_t k, int64_t maxDimension, int threads) {
  const int64_t longer = std::max(m, n), shorter = std::min(m, n), capacity = capacityFor(maxDimension, shorter);
  const int64_t known = std::min(k + kBeyond, capacity);
  const int64_t held = (shorter + longer) * capacity + shorter * kSkinny +
                       (partSize(shorter, capacity) + packedSize(shorter) + panelRows(shorter) * kSkinny) * threads +
                       capacity * kSkinny + capacity * capacity;
  const int64_t copied = capacity * spreadStride(Householder<float>::width(capacity)) + known * (capacity + 1);
  const int64_t solving = std::max(
      {Householder<float>::bytes(capacity, threads),
       Householder<float>::heldBytes(capacity) + Tridiagonal::bytes(capacity),
       Householder<float>::heldBytes(capacity) + Tridiagonal::heldBytes(capacity) +
           std::max(Tridiagonal::vectorsBytes(capacity, known, threads), Householder<float>::transformBytes(threads))});
  return 4 * (held + copied + longer) + std::max(solving, couplingsBytes(m, n, k)) +
         (m < n ? moveSingularValuesBytes(k, n) : 0) + 8 * kSkinny * kSkinny * threads +
         BandMatrix::bytes(capacity, kBlock);
}

void Krylov::randomise(int64_t column) {
  const uint64_t stream = randomBits(seed_, drawn_++);
  for (int64_t i = 0; i < shorter_; i++) {
    block_[i * kSkinny + column] = randomNormal(stream, static_cast<uint64_t>(i));
  }
}

// Rows [begin, begin + rows) of a_, at a stride that uses all of the cache.
Strided Krylov::packed(int64_t begin, int64_t rows, float* to) const {
  const Strided panel = a_.from(begin, 0);
  if (tall_ && spreads(a_.rowStride)) return panel;
  const int64_t lines = tall_ ? rows : shorter_, length = tall_ ? shorter_ : rows;
  const int64_t from = tall_ ? a_.rowStride : a_.colStride, stride = spreadStride(length);
  for (int64_t i = 0; i < lines; i++) {
    std::memcpy(to + i * stride, panel.data + i * from, static_cast<size_t>(length) * sizeof(float));
  }
  return tall_ ? Strided{to, stride, 1} : Strided{to, 1, stride};
}

// block <- scale^2 w'w block; the newest columns of `images` <- scale w block; probeGram <- that of
// the probes' images.
void Krylov::multiply() {
  std::vector<std::array<double, kProbes * kProbes>> probes(static_cast<size_t>(context_.team.size()));
  const auto alpha = static_cast<float>(scale_);
  const int64_t height = panelRows(shorter_);
  const int64_t part = shorter_ * kSkinny;
  context_.team.run([&](int thread) {
    const int size = context_.team.size();
    float* sum = parts_.data() + thread * part;
    std::fill(sum, sum + part, 0.0f);
    const int64_t panels = (longer_ + height - 1) / height;
    for (int64_t p = panels * thread / size; p < panels * (thread + 1) / size; p++) {
      if (context_.control.cancelled()) return;
      const int64_t begin = p * height, rows = std::min(height, longer_ - begin);
      float* y = image_.data() + thread * height * kSkinny;
      const Strided panel = packed(begin, rows, packed_.data() + thread * packedSize(shorter_));
      skinnyProduct(rows, shorter_, panel, block_.data(), y, Update::assign);
      for (int64_t i = 0; i < rows * kSkinny; i++) y[i] *= alpha;
      for (int64_t i = 0; i < rows; i++) {
        std::memcpy(images_.data() + (begin + i) * capacity_ + dimension_, y + i * kSkinny, kBlock * sizeof(float));
        for (int p = 0; p < kProbes * kProbes; p++) {
          probes[thread][p] +=
              static_cast<double>(y[i * kSkinny + kBlock + p / kProbes]) * y[i * kSkinny + kBlock + p % kProbes];
        }
      }
      skinnyProduct(shorter_, rows, panel.transposed(), y, sum, Update::add);
    }
  });
  context_.control.check();
  for (int p = 0; p < kProbes * kProbes; p++) {
    probeGram_[p] = 0;
    for (const auto& sums : probes) probeGram_[p] += sums[p];
  }
  context_.team.ranges(part, 256, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
      float sum = parts_[i];
      for (int thread = 1; thread < context_.team.size(); thread++) sum += parts_[thread * part + i];
      block_[i] = sum * alpha;
    }
  });
}

// block <- (1 - Q Q') block for the columns of Q from `from` on; coefficients <- Q' block.
void Krylov::projectOut(int64_t from) {
  const int64_t count = dimension_ - from;
  if (count <= 0) return;
  const int64_t part = count * kSkinny;
  const Strided basis{basis_.data() + from, capacity_, 1};
  const int size = context_.team.size();
  const int64_t panels = (shorter_ + kBasisPanel - 1) / kBasisPanel;
  const auto forPanels = [&](int thread, const auto& work) {
    for (int64_t p = panels * thread / size; p < panels * (thread + 1) / size; p++) {
      work(p * kBasisPanel, std::min(kBasisPanel, shorter_ - p * kBasisPanel));
    }
  };
  context_.team.run([&](int thread) {
    float* sum = parts_.data() + thread * part;
    std::fill(sum, sum + part, 0.0f);
    forPanels(thread, [&](int64_t begin, int64_t rows) {
      skinnyProduct(count, rows, basis.from(begin, 0).transposed(), block_.data() + begin * kSkinny, sum, Update::add);
    });
  });
  float* total = coefficients_.data() + from * kSkinny;
  for (int64_t i = 0; i < part; i++) {
    float sum = parts_[i];
    for (int thread = 1; thread < size; thread++) sum += parts_[thread * part + i];
    total[i] = sum;
  }
  context_.team.run([&](int thread) {
    forPanels(thread, [&](int64_t begin, int64_t rows) {
      skinnyProduct(rows, count, basis.from(begin, 0), total, block_.data() + begin * kSkinny, Update::subtract);
    });
  });
}

// Cholesky QR of the block (Stathopoulos and Wu 2002, shifted as in Fukaya et al. 2020): block <-
// block r^-1, and link <- r link. A column shorter than `least` holds nothing but rounding and is
// replaced by a random one. Returns how far from orthogonal the columns were: the largest cosine
// between two of them.
double Krylov::normalise(double least) {
  const int size = context_.team.size();
  constexpr int64_t kPart = kSkinny * kSkinny;
  double gram[kSkinny][kSkinny] = {};
  {
    // Panels in float32, their sums in float64.
    const int64_t panels = (shorter_ + kBasisPanel - 1) / kBasisPanel;
    context_.team.run([&](int thread) {
      double* sum = grams_.data() + thread * kPart;
      std::fill(sum, sum + kPart, 0.0);
      float panel[kPart];
      for (int64_t p = panels * thread / size; p < panels * (thread + 1) / size; p++) {
        const int64_t begin = p * kBasisPanel, rows = std::min(kBasisPanel, shorter_ - begin);
        const float* z = block_.data() + begin * kSkinny;
        skinnyProduct(kSkinny, rows, Strided{z, 1, kSkinny}, z, panel, Update::assign);
        for (int64_t i = 0; i < kPart; i++) sum[i] += panel[i];
      }
    });
    for (int thread = 0; thread < size; thread++) {
      for (int64_t i = 0; i < kPart; i++) gram[i / kSkinny][i % kSkinny] += grams_[thread * kPart + i];
    }
  }
  double cosine = 0;
  for (int64_t i = 0; i < kSkinny; i++) {
    for (int64_t j = 0; j < i; j++) {
      const double scale = gram[i][i] * gram[j][j];
      if (scale > 0) cosine = std::max(cosine, gram[i][j] * gram[i][j] / scale);
    }
  }
  // r upper triangular with r'r = gram; `inverse` = r^-1. Row by row, so that the compiler makes
  // vectors of what runs along a row.
  double r[kSkinny][kSkinny] = {}, inverse[kSkinny][kSkinny] = {};
  bool exhausted[kSkinny] = {};
  for (int64_t i = 0; i < kSkinny; i++) {
    double row[kSkinny];
    std::copy_n(gram[i], kSkinny, row);
    for (int64_t l = 0; l < i; l++) {
      for (int64_t j = i; j < kSkinny; j++) row[j] -= r[l][i] * r[l][j];
    }
    const double pivot = std::max(row[i], kShift * gram[i][i]);
    exhausted[i] = !(pivot > std::max(least * least, kTiny));
    r[i][i] = exhausted[i] ? 1 : std::sqrt(pivot);
    for (int64_t j = i + 1; j < kSkinny; j++) r[i][j] = exhausted[i] ? 0 : row[j] / r[i][i];
  }
  for (int64_t i = kSkinny; i-- > 0;) {
    double row[kSkinny] = {};
    for (int64_t l = i + 1; l < kSkinny; l++) {
      for (int64_t j = l; j < kSkinny; j++) row[j] += r[i][l] * inverse[l][j];
    }
    inverse[i][i] = 1 / r[i][i];
    for (int64_t j = i + 1; j < kSkinny; j++) inverse[i][j] = -row[j] / r[i][i];
  }
  float factor[kPart];
  for (int64_t i = 0; i < kPart; i++) factor[i] = static_cast<float>(inverse[i / kSkinny][i % kSkinny]);
  context_.team.ranges(shorter_, kBasisPanel, [&](int64_t begin, int64_t end) {
    float panel[kBasisPanel * kSkinny];
    for (int64_t row = begin; row < end; row += kBasisPanel) {
      const int64_t rows = std::min(kBasisPanel, end - row);
      float* z = block_.data() + row * kSkinny;
      skinnyProduct(rows, kSkinny, Strided{z, kSkinny, 1}, factor, panel, Update::assign);
      std::memcpy(z, panel, static_cast<size_t>(rows * kSkinny) * sizeof(float));
    }
  });
  fresh_ = false;
  for (int64_t j = 0; j < kSkinny; j++) {
    if (!exhausted[j]) continue;
    randomise(j);
    fresh_ = true;
    for (int64_t i = 0; i < kSkinny; i++) r[j][i] = 0; // what was there is not in the new direction
  }
  double product[kSkinny][kSkinny] = {};
  for (int64_t i = 0; i < kSkinny; i++) {
    for (int64_t l = i; l < kSkinny; l++) {
      for (int64_t j = 0; j < kSkinny; j++) product[i][j] += r[i][l] * link_[l][j];
    }
  }
  std::memcpy(link_, product, sizeof link_);
  return std::sqrt(cosine);
}

// One block more: Q <- [Q, block], T its new columns, block the next one.
KrylovEnd Krylov::step() {
  const int64_t begin = dimension_;
  context_.team.ranges(shorter_, kBasisPanel, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; i++) {
      std::memcpy(basis_.data() + i * capacity_ + begin, block_.data() + i * kSkinny, kBlock * sizeof(float));
    }
  });
  multiply();
  dimension_ += kBlock;

  float* t = t_.data();
  const auto addToT = [&](int64_t from, bool first) {
    context_.team.ranges(dimension_ - from, kBasisPanel, [&](int64_t start, int64_t end) {
      for (int64_t i = from + start; i < from + end; i++) {
        float* row = t + i * capacity_ + begin;
        const float* coefficient = coefficients_.data() + i * kSkinny;
        if (first) {
          std::copy_n(coefficient, kBlock, row);
          continue;
        }
        double sum[kSkinny] = {};
        for (int64_t l = 0; l < kSkinny; l++) {
          for (int64_t j = 0; j < kSkinny; j++) sum[j] += coefficient[l] * link_[l][j];
        }
        for (int64_t j = 0; j < kBlock; j++) row[j] = static_cast<float>(sum[j] + row[j]);
      }
    });
  };
  // In exact arithmetic the product lies in the last two blocks and the next one. Taking those out
  // first, and the whole basis after the columns have been brought to length one, leaves no
  // component that the scaling could raise.
  const int64_t local = std::max<int64_t>(0, begin - kBlock);
  for (int64_t i = 0; i < local; i++) std::fill_n(t + i * capacity_ + begin, kBlock, 0.0f);
  projectOut(local);
  addToT(local, true);
  for (int64_t j = 0; j < kBlock; j++) {
    largest_ = std::max(largest_, static_cast<double>(t[(begin + j) * capacity_ + begin + j]));
  }
  std::memset(link_, 0, sizeof link_);
  for (int64_t i = 0; i < kSkinny; i++) link_[i][i] = 1;
  normalise(kExhausted * largest_);
  // Once more for columns that were replaced by random ones, which are not orthogonal to anything
  // yet, and where a round began with columns so nearly dependent that rounding has left them far
  // from orthogonal.
  for (int round = 0; round < kRounds; round++) {
    projectOut(0);
    addToT(0, false);
    const bool replaced = fresh_;
    const double cosine = normalise(kLost);
    if (!replaced && !fresh_ && cosine < kOrthogonal) break;
    if (round == kRounds - 1) return KrylovEnd::precision;
  }
  // T is symmetric; the next step fills only its own columns.
  for (int64_t j = begin; j < dimension_; j++) {
    for (int64_t i = 0; i < j; i++) t[j * capacity_ + i] = t[i * capacity_ + j];
  }
  return KrylovEnd::running;
}

// The estimate of |D|: the larger Rayleigh quotient of the probes, raised.
double Krylov::remainder() const {
  const double a = probeGram_[0], b = probeGram_[1], d = probeGram_[3];
  return kProbeMargin * ((a + d) / 2 + std::hypot((a - d) / 2, b));
}

KrylovEnd Krylov::check(double target) {
  const int64_t d = dimension_, k = wanted_;
  known_ = std::min(k + kBeyond, d);
  if (vectors_.size() < known_ * d) {
    // Once, at the size that the largest dimension needs.
    const int64_t most = std::min(k + kBeyond, capacity_);
    copy_ = Buffer<float>(context_.memory, capacity_ * spreadStride(Householder<float>::width(capacity_)));
    vectors_ = Buffer<float>(context_.memory, most * capacity_);
    values_ = Buffer<float>(context_.memory, most);
  }
  const int64_t stride = spreadStride(Householder<float>::width(d));
  for (int64_t i = 0; i < d; i++) {
    float* row = copy_.data() + i * stride;
    std::memcpy(row, t_.data() + i * capacity_, static_cast<size_t>(d) * sizeof(float));
    std::fill(row + d, row + stride, 0.0f);
  }
  // A caller's array that changes meanwhile could have brought a NaN.
  requireFinite(ConstMatrix(copy_.data(), d, d, stride), context_.team);
  {
    const Householder<float> form(context_, d, copy_.data(), stride);
    const Tridiagonal tridiagonal(context_, d, form.diagonal(), form.offDiagonal());
    if (!tridiagonal.vectors(0, known_, vectors_.data())) return KrylovEnd::precision;
    form.transformBack(known_, vectors_.data());
    for (int64_t i = 0; i < known_; i++) values_[i] = static_cast<float>(tridiagonal.value(i));
  }

  const double rounding = kRounding * kEpsilon * values_[0];
  double outside = remainder();
  for (int64_t i = 0; i < known_; i++) {
    if (residual(i) > kUnconverged * values_[i] + rounding) {
      outside = std::max(outside, static_cast<double>(values_[i]));
      if (i < k) break;
    }
  }
  for (int64_t i = 0; i + kBlock <= k; i++) {
    const double high = values_[i], low = values_[i + kBlock - 1];
    if (low > 16 * rounding && high - low < kRepeated * high) return KrylovEnd::multiple;
  }
  double kept = 0;
  for (int64_t i = 0; i < k; i++) kept += std::max(values_[i], 0.0f);
  const double allowed = 2 * target * std::max(energy_ - kept, 0.0);
  // All that was not kept: the other Ritz values, with what couples the first of them to the rest,
  // and the rest.
  double following = k < known_ ? values_[k] : 0;
  if (k < known_) following += std::min(residual(k), residual(k) * residual(k) / std::abs(following - outside));
  const double nu = std::max(following, outside);
  double rounded = 0, unrounded = 0;
  gain_ = 0;
  for (int64_t i = 0; i < k; i++) {
    rounded += gainAcross(rounding, values_[i] - following);
    gain_ += gainAcross(rounding + residual(i), values_[i] - nu);
    unrounded += gainAcross(residual(i), values_[i] - nu);
  }
  // Rounding has its statistical size at most; what it really did can be measured in the end.
  measured_ = rounded > allowed;
  if (measured_) gain_ = unrounded;
  following_ = nu;
  const double next = std::sqrt(static_cast<double>(values_[0]) * std::max(k < known_ ? values_[k] : 0.0f, 0.0f));
  if (rounding > kDrowned * kValueError * next) return KrylovEnd::precision;
  return values_[k - 1] > outside && gain_ <= allowed && valuesKnown(outside) ? KrylovEnd::converged
                                                                              : KrylovEnd::running;
}

// Whether each of the first k + 1 singular values is known to kValueError of the largest: the i-th
// eigenvalue of H exceeds the i-th Ritz value by no more than r_i^2 / (theta_i - |D|), by the
// argument of the header.
bool Krylov::valuesKnown(double outside) const {
  const int64_t count = std::min(wanted_ + 1, known_);
  for (int64_t i = 0; i < count; i++) {
    const double gap = values_[i] - outside;
    const double allowed = 2 * kValueError * std::sqrt(static_cast<double>(values_[0]) * values_[i]);
    if (!(gap > 0) || residual(i) * residual(i) > allowed * gap) return false;
  }
  return true;
}

// Whether a full check can be expected to succeed where k + 1 Ritz values have left the spectrum of
// the remainder behind: the residual of the last of them must be small.
bool Krylov::promising(BandMatrix& band, double outside, double target) {
  // The next value has to be known as well, and is the last to converge. Ritz values only grow, but
  // for rounding.
  const double value = band.kthLargest(wanted_ + 1, std::max(outside, cut_));
  cut_ = kStill * value;
  const double residual = squaredResidual(band.eigenvectorNear(value) + dimension_ - kBlock);
  // The tail is smaller than the energy, and a handful of Ritz values near the cut are as far off
  // as the last.
  const double hopeful = (dimension_ < kSmall ? kHopefulSmall : kHopeful) * target * energy_;
  const double known = 2 * kValueError * std::sqrt(largest_ * value);
  return residual <= std::min(hopeful, known) * (value - outside);
}

template <class T> double Krylov::squaredResidual(const T* lastBlock) const {
  double squared = 0;
  for (int64_t row = 0; row < kBlock; row++) {
    double sum = 0;
    for (int64_t j = row; j < kBlock; j++) sum += link_[row][j] * lastBlock[j];
    squared += sum * sum;
  }
  return squared;
}

double Krylov::residual(int64_t i) const {
  return std::sqrt(squaredResidual(vectors_.data() + i * dimension_ + dimension_ - kBlock));
}

KrylovEnd Krylov::run(int64_t k, double target, const Worthwhile& worthwhile) {
  wanted_ = k;
  if (shorter_ < 2 * kSkinny) return KrylovEnd::dimension;
  for (int64_t column = 0; column < kSkinny; column++) randomise(column);
  std::memset(link_, 0, sizeof link_);
  normalise(0);
  normalise(kLost);
  for (;;) {
    // The new block and the probes need a space of their own beside the basis.
    if (dimension_ + kBlock > limit_ || dimension_ + kBlock + kSkinny > shorter_) return KrylovEnd::dimension;
    const KrylovEnd grown = step();
    if (grown != KrylovEnd::running) return grown;
    const auto reached = static_cast<double>(dimension_);
    context_.progress(kSearchShare * reached / std::max(likelyDimension(k), reached + 2 * kBlock));
    if (indistinct()) return KrylovEnd::precision;
    if (dimension_ < k + kBlock) continue;
    BandMatrix band(context_.memory, t_.data(), dimension_, capacity_, kBlock);
    const double outside = std::max(remainder(), kEpsilon * kEpsilon * largest_);
    const int64_t above = outside > 0 ? band.countAbove(outside) : 0;
    if (above > k && promising(band, outside, target)) {
      const KrylovEnd end = check(target);
      if (end != KrylovEnd::running) return end;
    } else if (dimension_ >= kSettled) {
      const double left = kLeft * std::max(kEnough * static_cast<double>(k) / static_cast<double>(above) - 1, 0.0);
      if (worthwhile && !worthwhile(dimension_, (1 + left) * reached)) return KrylovEnd::late;
    }
  }
}

// Whether float32 cannot tell s_(k+1) from the rounding of s_1, as `check` would find in the end:
// the k squares after s_1^2, which is at least as large as any element of the diagonal, are at
// least k s_(k+1)^2.
bool Krylov::indistinct() const {
  const double next = std::max(energy_ - largest_, 0.0) / static_cast<double>(wanted_) + kEpsilon * largest_;
  return kRounding * kEpsilon * std::sqrt(largest_) > kDrowned * kValueError * std::sqrt(next);
}

double Krylov::possibleGain(ConstMatrix b, ConstMatrix a) const {
  if (!measured_) return gain_ / (scale_ * scale_);
  const std::vector<double> coupled = couplings(context_, w_, a, b);
  double gain = 0;
  for (int64_t i = 0; i < wanted_; i++) {
    gain += gainAcross(coupled[static_cast<size_t>(i)], (values_[i] - following_) / (scale_ * scale_));
  }
  return gain;
}

double Krylov::nextSingularValue() const {
  if (known_ <= wanted_) return std::sqrt(remainder()) / scale_;
  const ConstMatrix images(images_.data(), longer_, dimension_, capacity_);
  return imageLength(context_, images, false, vectors_.data() + wanted_ * dimension_) / scale_;
}

void Krylov::factors(float* b, float* a, float* s) const {
  const int64_t d = dimension_, k = wanted_;
  const auto alpha = static_cast<float>(1 / scale_);
  Team& team = context_.team;
  if (tall_) {
    // b = (w Q) g, whose columns have the singular values as lengths; a = (Q g)'.
    gemm(team, false, true, longer_, k, d, alpha, images_.data(), capacity_, vectors_.data(), d, b, k);
    gemm(team, false, true, k, shorter_, d, 1, vectors_.data(), d, basis_.data(), capacity_, a, shorter_);
  } else {
    gemm(team, false, true, shorter_, k, d, 1, basis_.data(), capacity_, vectors_.data(), d, b, k);
    gemm(team, false, true, k, longer_, d, alpha, vectors_.data(), d, images_.data(), capacity_, a, longer_);
  }
  if (tall_) return columnLengths(ConstMatrix(b, longer_, k), s);
  rowLengths(ConstMatrix(a, k, longer_), s);
  moveSingularValues(context_, w_, Matrix(b, shorter_, k), Matrix(a, k, longer_), s);
}

} // namespace lowrank
