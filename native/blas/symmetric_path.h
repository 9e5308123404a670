// The kernel of symmetric.cc, compiled once for each path of core/simd.h; see
// lowrank/twisted_path.h.

typedef float FloatQuarter __attribute__((vector_size(16), aligned(4), may_alias));
typedef double DoubleQuarter __attribute__((vector_size(16), aligned(8), may_alias));

PATH_TARGET inline float sumOf(FloatQuarter sum) { return (sum[0] + sum[1]) + (sum[2] + sum[3]); }
PATH_TARGET inline double sumOf(DoubleQuarter sum) { return sum[0] + sum[1]; }

template <class Quarter, class V> PATH_TARGET inline Quarter quarterOf(const V& lanes) {
  const Quarter* part = reinterpret_cast<const Quarter*>(&lanes);
  Quarter sum = part[0];
  for (size_t i = 1; i < sizeof(V) / sizeof(Quarter); i++) sum += part[i];
  return sum;
}

template <int Rows, class Number, class Quarter>
PATH_TARGET inline void symmetricTile(int64_t i, int64_t width, const Number* a, int64_t stride, const Number* x,
                                      Number* y) {
  typedef Number V __attribute__((vector_size(PATH_BYTES), aligned(sizeof(Number)), may_alias));
  constexpr int64_t kWidth = sizeof(V) / sizeof(Number);
  V sum[Rows] = {}, own[Rows];
  for (int r = 0; r < Rows; r++) own[r] = V{} + x[i + r];
  const int64_t begin = i / kSymmetricBlock * kSymmetricBlock;
  for (int64_t j = begin; j < begin + kSymmetricBlock; j += kWidth) {
    const V there = *reinterpret_cast<const V*>(x + j);
    for (int r = 0; r < Rows; r++) sum[r] += *reinterpret_cast<const V*>(a + (i + r) * stride + j) * there;
  }
  for (int64_t j = begin + kSymmetricBlock; j < width; j += kWidth) {
    const V there = *reinterpret_cast<const V*>(x + j);
    V product = *reinterpret_cast<const V*>(y + j);
    for (int r = 0; r < Rows; r++) {
      const V row = *reinterpret_cast<const V*>(a + (i + r) * stride + j);
      sum[r] += row * there;
      product += row * own[r];
    }
    *reinterpret_cast<V*>(y + j) = product;
  }
  for (int r = 0; r < Rows; r++) y[i + r] += sumOf(quarterOf<Quarter>(sum[r]));
}

template <class Number, class Quarter>
PATH_TARGET inline void symmetricRange(int64_t first, int64_t last, int64_t width, const Number* a, int64_t stride,
                                       const Number* x, Number* y) {
  int64_t i = first;
  for (; i + 4 <= last; i += 4) symmetricTile<4, Number, Quarter>(i, width, a, stride, x, y);
  for (; i < last; i++) symmetricTile<1, Number, Quarter>(i, width, a, stride, x, y);
}

PATH_TARGET void symmetricFloat(int64_t first, int64_t last, int64_t width, const float* a, int64_t stride,
                                const float* x, float* y) {
  symmetricRange<float, FloatQuarter>(first, last, width, a, stride, x, y);
}
PATH_TARGET void symmetricDouble(int64_t first, int64_t last, int64_t width, const double* a, int64_t stride,
                                 const double* x, double* y) {
  symmetricRange<double, DoubleQuarter>(first, last, width, a, stride, x, y);
}
