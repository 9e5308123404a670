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
