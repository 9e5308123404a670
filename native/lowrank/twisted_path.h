// The kernel of twisted.cc, compiled once for each path of core/simd.h. The compiler takes vector
// types apart before it inlines, by the target of the function that they stand in; so each function
// here is declared for the path itself, PATH_TARGET, with vectors as wide as its registers,
// PATH_BYTES. Included within the namespace of the path.

typedef double V __attribute__((vector_size(PATH_BYTES), aligned(8), may_alias));

PATH_TARGET inline V& vectorAt(double* x) { return *reinterpret_cast<V*>(x); }
PATH_TARGET inline V magnitude(V x) { return x < V{} ? -x : x; }
PATH_TARGET inline V guarded(V pivot) { return magnitude(pivot) < kTiny ? V{} + kTiny : pivot; }
PATH_TARGET inline V vanishing(V x) { return magnitude(x) < kVanishing ? V{} : x; }
PATH_TARGET inline void keepSmallest(V gamma, double row, V& least, V& best, V& at) {
  const V size = magnitude(gamma);
  at = size < least ? V{} + row : at;
  best = size < least ? gamma : best;
  least = size < least ? size : least;
}

// For kShifts values of lambda: x <- z, with z_r = 1; gamma <- gamma_r; norm <- |z|^2. `l` and `u`
// hold the multipliers from above and from below.
PATH_TARGET void solve(int64_t n, const double* d, const double* e, double* lambda, double* l, double* u, double* x,
                       double* gamma, double* norm) {
  constexpr int64_t kWidth = sizeof(V) / sizeof(double), kVectors = kShifts / kWidth;
  V shift[kVectors], p[kVectors], q[kVectors], best[kVectors], least[kVectors], at[kVectors], sum[kVectors];
  for (int v = 0; v < kVectors; v++) {
    shift[v] = vectorAt(lambda + v * kWidth);
    p[v] = guarded(d[0] - shift[v]);
    q[v] = guarded(d[n - 1] - shift[v]);
    least[v] = V{} + HUGE_VAL;
    best[v] = at[v] = sum[v] = V{};
  }
  // p goes down from row 0 while q comes up from row n - 1. Until they meet, x keeps the pivots for
  // the other one.
  const int64_t half = n / 2;
  for (int64_t i = 0; i < half; i++) {
    const int64_t j = n - 1 - i;
    for (int v = 0; v < kVectors; v++) {
      const int64_t lane = v * kWidth;
      vectorAt(x + i * kShifts + lane) = p[v];
      vectorAt(x + j * kShifts + lane) = q[v];
      const V down = e[i] / p[v], up = e[j - 1] / q[v];
      vectorAt(l + i * kShifts + lane) = down;
      vectorAt(u + (j - 1) * kShifts + lane) = up;
      p[v] = guarded(d[i + 1] - shift[v] - e[i] * down);
      q[v] = guarded(d[j - 1] - shift[v] - e[j - 1] * up);
    }
  }
  for (int64_t i = half; i < n; i++) {
    const int64_t j = n - 1 - i;
    for (int v = 0; v < kVectors; v++) {
      const int64_t lane = v * kWidth;
      const V fromBelow = i == j ? q[v] : vectorAt(x + i * kShifts + lane);
      const V fromAbove = i == j ? p[v] : vectorAt(x + j * kShifts + lane);
      keepSmallest(p[v] + fromBelow - (d[i] - shift[v]), static_cast<double>(i), least[v], best[v], at[v]);
      keepSmallest(q[v] + fromAbove - (d[j] - shift[v]), static_cast<double>(j), least[v], best[v], at[v]);
      if (j == 0) continue;
      const V down = e[i] / p[v], up = e[j - 1] / q[v];
      vectorAt(l + i * kShifts + lane) = down;
      vectorAt(u + (j - 1) * kShifts + lane) = up;
      p[v] = guarded(d[i + 1] - shift[v] - e[i] * down);
      q[v] = guarded(d[j - 1] - shift[v] - e[j - 1] * up);
    }
  }
  V z[kVectors] = {};
  for (int64_t i = n - 1; i >= 0; i--) {
    const double row = static_cast<double>(i);
    for (int v = 0; v < kVectors; v++) {
      const V above = i == n - 1 ? V{} : vanishing(-vectorAt(l + i * kShifts + v * kWidth) * z[v]);
      z[v] = at[v] > row ? above : V{};
      z[v] = at[v] == row ? V{} + 1.0 : z[v];
      sum[v] += z[v] * z[v];
      vectorAt(x + i * kShifts + v * kWidth) = z[v];
    }
  }
  for (int v = 0; v < kVectors; v++) z[v] = V{};
  for (int64_t i = 0; i < n; i++) {
    const double row = static_cast<double>(i);
    for (int v = 0; v < kVectors; v++) {
      const V below = i == 0 ? V{} : vanishing(-vectorAt(u + (i - 1) * kShifts + v * kWidth) * z[v]);
      z[v] = at[v] < row ? below : vectorAt(x + i * kShifts + v * kWidth);
      sum[v] += at[v] < row ? z[v] * z[v] : V{};
      vectorAt(x + i * kShifts + v * kWidth) = z[v];
    }
  }
  for (int v = 0; v < kVectors; v++) {
    vectorAt(gamma + v * kWidth) = best[v];
    vectorAt(norm + v * kWidth) = sum[v];
  }
}
