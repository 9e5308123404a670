// The kernel of sturm.cc, compiled once for each path of core/simd.h; see twisted_path.h.

template <class Number>
PATH_TARGET void count(int64_t n, const Number* d, const Number* squares, const Number* x, int64_t* below) {
  typedef Number V __attribute__((vector_size(PATH_BYTES), aligned(sizeof(Number)), may_alias));
  constexpr int64_t kWidth = PATH_BYTES / sizeof(Number), kVectors = 4;
  static_assert(kCounted % (kWidth * kVectors) == 0);
  for (int64_t begin = 0; begin < kCounted; begin += kWidth * kVectors) {
    V shift[kVectors], pivot[kVectors];
    decltype(shift[0] < shift[0]) negative[kVectors] = {};
    for (int v = 0; v < kVectors; v++) {
      shift[v] = *reinterpret_cast<const V*>(x + begin + v * kWidth);
      pivot[v] = d[0] - shift[v];
      negative[v] += pivot[v] < Number{};
    }
    for (int64_t i = 1; i < n; i++) {
      for (int v = 0; v < kVectors; v++) {
        pivot[v] = d[i] - shift[v] - squares[i - 1] / pivot[v];
        negative[v] += pivot[v] < Number{};
      }
    }
    for (int v = 0; v < kVectors; v++) {
      for (int64_t lane = 0; lane < kWidth; lane++) below[begin + v * kWidth + lane] = -negative[v][lane];
    }
  }
}

// The same with one step of Newton's method: x[i] becomes x[i] - p / p' for the characteristic
// polynomial p of T. With the pivots q_i, the logarithmic derivative is the sum of q_i' / q_i. All
// q_i' are negative, so none of them cancels.
PATH_TARGET inline void newton(int64_t n, const double* d, const double* squares, double* x, int64_t* below) {
  typedef double V __attribute__((vector_size(PATH_BYTES), aligned(8), may_alias));
  constexpr int64_t kWidth = PATH_BYTES / sizeof(double), kVectors = 4;
  for (int64_t begin = 0; begin < kCounted; begin += kWidth * kVectors) {
    V shift[kVectors], inverse[kVectors], derivative[kVectors], sum[kVectors];
    decltype(shift[0] < shift[0]) negative[kVectors] = {};
    for (int v = 0; v < kVectors; v++) {
      shift[v] = *reinterpret_cast<const V*>(x + begin + v * kWidth);
      const V pivot = d[0] - shift[v];
      negative[v] += pivot < 0.0;
      inverse[v] = 1 / pivot;
      derivative[v] = V{} - 1;
      sum[v] = -inverse[v];
    }
    for (int64_t i = 1; i < n; i++) {
      for (int v = 0; v < kVectors; v++) {
        const V before = squares[i - 1] * inverse[v], pivot = d[i] - shift[v] - before;
        negative[v] += pivot < 0.0;
        derivative[v] = before * inverse[v] * derivative[v] - 1;
        inverse[v] = 1 / pivot;
        sum[v] += derivative[v] * inverse[v];
      }
    }
    for (int v = 0; v < kVectors; v++) {
      *reinterpret_cast<V*>(x + begin + v * kWidth) = shift[v] - 1 / sum[v];
      for (int64_t lane = 0; lane < kWidth; lane++) below[begin + v * kWidth + lane] = -negative[v][lane];
    }
  }
}
