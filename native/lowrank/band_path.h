// The kernel of band.cc, compiled once for each path of core/simd.h; see twisted_path.h.

// T - sigma = L D L' without pivoting: row i of `rows` (the elements (i, i) to (i, i + width), then
// zeros up to `stride`) becomes the pivot and what lies below it in L. A pivot closer to 0 than
// `least` is moved aside. `pivots` has room for a row and a vector after it, which is zero. Returns
// how many pivots are positive.
PATH_TARGET inline int64_t eliminate(int64_t n, int64_t width, int64_t stride, double least, double* rows,
                                     double* pivots) {
  typedef double V __attribute__((vector_size(PATH_BYTES), aligned(8), may_alias));
  constexpr int64_t kWidth = PATH_BYTES / sizeof(double);
  int64_t positive = 0;
  for (int64_t i = 0; i < n; i++) {
    double* row = rows + i * stride;
    if (std::abs(row[0]) < least) row[0] = -least;
    positive += row[0] > 0;
    const double inverse = 1 / row[0];
    std::copy_n(row, width + 1, pivots);
    for (int64_t p = 1; p <= width; p++) {
      row[p] = pivots[p] * inverse;
      double* target = row + p * stride;
      for (int64_t q = 0; q <= width - p; q += kWidth) {
        *reinterpret_cast<V*>(target + q) -= row[p] * *reinterpret_cast<const V*>(pivots + p + q);
      }
    }
  }
  return positive;
}
