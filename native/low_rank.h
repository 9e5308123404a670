// The best approximation of a matrix by one of rank k (Eckart and Young 1936; Mirsky 1960), with a certificate of what
// was reached, measured on the numbers that are returned.
#pragma once

#include <cstdint>

#include "matrix_view.h"
#include "svd.h"

namespace lowrank {

enum class Method { automatic, exact };

// How the rank is chosen: given, or the smallest that discards at most a share of the energy sum(s_i^2).
struct RankRule {
  enum Kind { fixed, byTail } kind;
  int64_t rank;
  double tail;
};

struct Request {
  RankRule rule;
  Method method = Method::automatic;
  SvdOptions svd = {};
};

// Outputs, owned by the caller; null where not wanted. `capacity` bounds the rank; b is m x k, a is k x n, both compact
// with the k found (w ~ b a; a has orthonormal rows, b = u diag(s)). `dense` is m x n and may be w itself.
struct Result {
  int64_t capacity;
  float* b = nullptr;
  float* a = nullptr;
  float* s = nullptr;
  float* dense = nullptr;
};

enum class Route { copy, zero, gesdd, gesvd };

struct Certificate {
  int64_t rank;
  Route route;
  double norm;          // |w|_F
  double error;         // |w - what|_F, measured
  double spectralError; // |w - b a|_2 = s_(k+1)
};

Certificate approximate(const Context& context, ConstMatrix w, const Request& request, const Result& result);

// The native bytes that `approximate` takes at its peak; an upper bound.
int64_t approximateBytes(int64_t m, int64_t n, const Request& request, bool factors, bool dense);

} // namespace lowrank
