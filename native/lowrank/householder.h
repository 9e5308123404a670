// A symmetric matrix brought to tridiagonal form A = Q T Q' by Householder reflections, in
// panels whose update of the rest is a matrix product (Dongarra, Hammarling and Sorensen 1989,
// LAPACK's sytrd), shared by the threads of a team: each owns blocks of rows for the whole
// reduction, so that they stay in its cache. What it leaves half done by LAPACK's rules, the
// product of the rest with each reflector, reads every element once (blas/symmetric.h).
#pragma once

#include <cstdint>

#include "blas/symmetric.h"
#include "core/context.h"
#include "core/memory.h"

namespace lowrank {

// Whether vectors will be transformed back.
enum class Keep { values, vectors };

template <class T> class Householder {
public:
  // a: rows of `stride` numbers, laid out as blas/symmetric.h says, up to `width(n)` columns of
  // finite numbers. It is overwritten by the reflectors and has to outlive this.
  Householder(const Context& context, int64_t n, T* a, int64_t stride, Keep keep = Keep::vectors);

  static int64_t width(int64_t n) { return (n + kSymmetricBlock - 1) / kSymmetricBlock * kSymmetricBlock; }

  // T: its n diagonal and n - 1 off-diagonal elements.
  const T* diagonal() const { return d_.data(); }
  const T* offDiagonal() const { return e_.data(); }

  // From eigenvectors of T to those of A: rows (count x n) <- rows Q'.
  void transformBack(int64_t count, T* rows) const;

  // Native bytes without `a`: what it holds, the peak of its construction, and what `transformBack`
  // adds.
  static int64_t heldBytes(int64_t n, Keep keep = Keep::vectors);
  static int64_t bytes(int64_t n, int threads, Keep keep = Keep::vectors);
  static int64_t transformBytes(int threads);

private:
  void reduce();
  void reflect(int64_t j, double squared);
  void eliminate(int64_t begin, int64_t j, int64_t end);
  void update(int64_t begin, int64_t end);
  void aggregate();
  int parts(int64_t from) const;
  template <class Work> void share(int parts, const Work& work) const;
  T* row(int64_t i) const { return a_ + i * stride_; }

  const Context& context_;
  const int64_t n_;
  const int64_t width_;
  T* const a_;
  const int64_t stride_;
  Buffer<T> d_, e_, tau_;
  Buffer<T> t_; // for each block of reflectors, I - V T V' is their product

  // While the panel of rows [begin, end) is reduced: its updates are sum_l left_l right_l', with
  // pairs v_j w_j' and w_j v_j'.
  Buffer<T> left_, right_;
  Buffer<T> v_;
  Buffer<T> products_; // A v: a part for each thread
  Buffer<T> dots_;     // left' v: a part for each thread
  Buffer<double> sums_;
};

} // namespace lowrank
