// What a caller asks of an approximation, and what comes back.
#pragma once

#include <cstdint>

#include "core/exact.h"
#include "lowrank/test_hooks.h"

namespace lowrank {

// `automatic` tries the cheapest route first; the others name the one to try first. A route that
// cannot prove its result hands over to the next.
enum class Method { automatic, exact, gram, krylov };
// The names that JavaScript sees; each index is a code.
inline constexpr const char* kMethodNames[] = {"auto", "exact", "gram", "krylov"};

// How the rank is chosen: given, or the smallest that discards at most a share of the energy
// sum(s_i^2).
struct RankRule {
  enum Kind { fixed, byTail } kind;
  int64_t rank;
  Exact tail;
};

struct Request {
  RankRule rule;
  Method method = Method::automatic;
  // |w - what|_F may exceed the smallest possible by this share.
  double target = 1e-6;
  // Seeds random starts, together with the numbers of w.
  uint64_t seed = 0;
  TestHooks hooks = {};
};

// Outputs, owned by the caller; null where not wanted. `capacity` bounds the rank; b is m x k, a is
// k x n, both compact with the k found (w ~ b a; a has orthonormal rows, b = u diag(s)). `dense` is
// m x n and may be w itself.
struct Result {
  int64_t capacity;
  float* b = nullptr;
  float* a = nullptr;
  float* s = nullptr;
  float* dense = nullptr;
  // Of factors of full rank only the columns of b and s are used: b need not have the lengths s,
  // and the error of the product is not measured.
  bool spanAlone = false;

  bool wantsFactors() const { return b != nullptr; }
};

// How a result was made. routes.h says what each one does.
enum class Route { copy, zero, krylov, gram, gram64, complement, gesdd, gesvd };

// Error figures of an approximation, measured on the numbers that are returned.
struct Certificate {
  int64_t rank = 0;
  Route route = Route::zero;
  uint32_t tried = 0;       // bit r: route r was tried
  double norm = 0;          // |w|_F
  double error = 0;         // |w - what|_F, measured; of factors, of their product without rounding
  double leastError = 0;    // the smallest possible error is at least this
  double spectralError = 0; // s_(k+1)

  double slack = 0; // what forming the product of factors in float32 can add to the error

  // error / (smallest possible) - 1 is at most this; infinite where the smallest possible error may
  // be 0.
  double excessBound() const;
};

} // namespace lowrank
