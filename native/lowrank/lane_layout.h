// What is worked on in lanes, where it lies, and what comes out.
#pragma once

#include <cstdint>

#include "lowrank/lane_products.h"

namespace lowrank::lanes {

constexpr int64_t kMostLanes = 16;

// Sizes of the problem. A (rows x order) is W, or W' where W is wider than tall.
struct Sizes {
  int64_t m, n; // of W
  int64_t rank;
  bool complement; // the order - rank smallest are taken away, instead of the rank largest put together

  bool turned() const { return m < n; }
  int64_t rows() const { return turned() ? n : m; }
  int64_t order() const { return turned() ? m : n; }
  // Eigenvectors: of the largest, also the next one, which comes first, as they ascend.
  int64_t vectors() const { return complement ? order() - rank : rank + 1; }
  int64_t firstIndex() const { return complement ? 0 : order() - rank - 1; }
  // Eigenvalues: of the smallest, also the next one, which comes last.
  int64_t values() const { return complement ? vectors() + 1 : vectors(); }
  // The vectors of the approximation or of what it lacks.
  int64_t firstUsed() const { return complement ? 0 : 1; }
  int64_t used() const { return complement ? vectors() : rank; }
  // The vector of singular value rank + 1, and the value on the other side of the cut.
  int64_t boundary() const { return complement ? vectors() - 1 : 0; }
  int64_t across() const { return complement ? vectors() : 0; }

  int64_t stride() const { return strideOf(order()); }
  int64_t vectorStride() const { return strideOf(vectors()); }
};

// Places, in vectors, of what the lanes share: large arrays and then small ones.
struct Places {
  int64_t a, g, z, b, d, e, tau, values, quotients, left, residuals, reach, work, end;

  explicit Places(const Sizes& s) {
    int64_t next = 0;
    const auto place = [&next](int64_t count) {
      const int64_t at = next;
      next += count;
      return at;
    };
    const int64_t rows = padded(s.rows()), n = s.order(), columns = s.vectorStride();
    a = place(rows * s.stride());
    g = place(rows * s.stride()); // the Gram matrix, then the reflectors, then the approximation
    z = place(padded(n) * columns);
    b = place(rows * columns);
    d = place(n), e = place(n), tau = place(n);
    values = place(s.values()), quotients = place(s.values());
    left = place(s.vectors()), residuals = place(s.vectors());
    reach = place(1);
    work = place(8 * n);
    end = next;
  }
};

// What is known of each lane.
struct Figures {
  double energy[kMostLanes];   // |W|_F^2
  float largest[kMostLanes];   // magnitude
  float scale[kMostLanes];     // a power of two, by which W was divided; what follows is of W / scale
  double squares[kMostLanes];  // |W - What|_F^2
  double boundary[kMostLanes]; // s_(rank + 1)^2
};

// The arrays themselves, for lanes of `width` numbers.
struct Arrays {
  float *a, *g, *z, *b, *d, *e, *tau, *values, *quotients, *left, *residuals, *reach, *work;

  Arrays(const Sizes& s, float* memory, int64_t width) {
    const Places p(s);
    const auto at = [memory, width](int64_t place) { return memory + place * width; };
    a = at(p.a), g = at(p.g), z = at(p.z), b = at(p.b), d = at(p.d), e = at(p.e), tau = at(p.tau);
    values = at(p.values), quotients = at(p.quotients), left = at(p.left), residuals = at(p.residuals);
    reach = at(p.reach), work = at(p.work);
  }
};

} // namespace lowrank::lanes
