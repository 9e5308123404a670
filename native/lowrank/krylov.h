// The dominant right (or left) singular subspace by block Lanczos on w'w, with full
// reorthogonalisation.
//
// Golub, Luk and Overton 1981 (block Lanczos for singular vectors); Musco and Musco 2015 (why block
// Krylov beats subspace iteration at the same number of passes); Halko, Martinsson and Tropp 2011
// (random starts). The basis Q grows by a block a step; each step reads w once, forming y = w v and
// w'y panel by panel while the panel is in cache. T = Q'w'wQ falls out of the orthogonalisation.
// Its leading eigenvectors g give the approximation (w Q g)(Q g)', the best one within span(Q).
//
// When to stop is measured. With H = w'w in the basis [Q, rest] = [T, C'; C, D], only the last
// block of C is not 0 and it is known: r_i = |C g_i| are the Ritz residuals. For every t > 0, H <=
// diag(T + C'C / t, D + t), so while |D| + t <= s_k^2 the k largest eigenvalues of H sum to at most
// those of T plus sum_i r_i^2 / t: that is what a better approximation could gain at most. Proved,
// given |D|; |D| itself is estimated, by random vectors that travel along and are kept orthogonal
// to Q (power iteration on D), and by the largest Ritz value that has not converged.
#pragma once

#include <cstdint>
#include <functional>

#include "blas/skinny.h"
#include "core/context.h"
#include "core/matrix_view.h"
#include "core/memory.h"
#include "core/norms.h"
#include "lowrank/band.h"

namespace lowrank {

enum class KrylovEnd {
  running,
  converged,
  dimension, // the subspace would have to be larger than allowed
  precision, // float32 cannot tell what was reached from the optimum, to the target
  late,      // another route would end sooner
  multiple,  // a singular value repeats as often as the block is wide: more copies of it could have been missed
};

class Krylov {
public:
  // The basis lies in the space of the smaller side and may grow to `maxDimension`.
  Krylov(const Context& context, ConstMatrix w, const MatrixStats& stats, int64_t maxDimension, uint64_t seed);

  // Grows the basis until the best approximation of rank k in it is proved to be within `target`
  // (relative, in the Frobenius norm) of the best one at all, and the first k + 1 singular values
  // are known. Asks after a step whether a search that has reached a dimension, and will likely end
  // at another, is still worthwhile; if no function is given, it is.
  using Worthwhile = std::function<bool(int64_t reached, double likely)>;
  KrylovEnd run(int64_t k, double target, const Worthwhile& worthwhile = {});

  // After `converged`: w ~ b a with b: m x k and a: k x n, as request.h defines factors.
  void factors(float* b, float* a, float* s) const;
  // The largest singular value left out, as far as the subspace knows it.
  double nextSingularValue() const;
  // How much larger than |b a|_F^2, of these factors, the sum of the k largest s_i^2 can be.
  double possibleGain(ConstMatrix b, ConstMatrix a) const;

  // The dimension at which a search for rank k ends with spectra that decay as trained weights do.
  static double likelyDimension(int64_t k) { return 2.1 * static_cast<double>(k) + 150; }

  // Native bytes, for a subspace that may grow to maxDimension.
  static int64_t bytes(int64_t m, int64_t n, int64_t k, int64_t maxDimension, int threads);

private:
  KrylovEnd step();
  void multiply();
  Strided packed(int64_t begin, int64_t rows, float* to) const;
  void projectOut(int64_t from);
  double normalise(double least);
  void randomise(int64_t column);
  bool indistinct() const;
  bool promising(BandMatrix& band, double outside, double target);
  KrylovEnd check(double target);
  bool valuesKnown(double outside) const;
  template <class T> double squaredResidual(const T* lastBlock) const;
  double residual(int64_t i) const;
  double remainder() const;

  const Context& context_;
  const ConstMatrix w_;
  const int64_t longer_;  // rows of w q
  const int64_t shorter_; // rows of the basis
  const bool tall_;       // the basis lies in the space of the columns
  const Strided a_;       // w or its transpose: longer x shorter
  const uint64_t seed_;
  uint64_t drawn_ = 0;
  const int64_t limit_;    // the largest dimension
  const int64_t capacity_; // columns there is room for
  double scale_;           // power of two that brings w to order 1
  double energy_;          // |scale w|_F^2
  int64_t dimension_ = 0;
  int64_t wanted_ = 0;
  int64_t known_ = 0; // eigenvectors of T computed by the last check
  double gain_ = 0;
  double following_ = 0;  // all that was not kept is at most this
  bool measured_ = false; // the gain needs the couplings of the factors
  double largest_ = 0;    // of the diagonal of T so far
  double cut_ = 0;        // the (k + 1)-th Ritz value is at least this, once it was sought
  double probeGram_[4] = {};
  bool fresh_ = false; // a column was replaced: what it replaced was zero to rounding

  Buffer<float> basis_;        // Q: shorter x capacity
  Buffer<float> images_;       // scale w Q: longer x capacity
  Buffer<float> block_;        // shorter x 32: the next block and the probes, orthonormal and orthogonal to Q
  Buffer<float> packed_;       // a panel of w for each thread, where its own stride would not do
  Buffer<float> image_;        // w block, scaled: a panel for each thread
  Buffer<float> parts_;        // one part for each thread
  Buffer<float> coefficients_; // capacity x 32
  Buffer<float> t_;            // capacity x capacity, row-major
  Buffer<double> grams_;       // 32 x 32 for each thread
  Buffer<float> copy_;         // of T, for the eigensolver to destroy
  Buffer<float> vectors_;      // eigenvectors of T as rows
  Buffer<float> values_;
  double link_[kSkinny][kSkinny]; // the last product = (what lies in span(Q)) + block * link
};

} // namespace lowrank
