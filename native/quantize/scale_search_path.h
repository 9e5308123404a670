// For scale_search.cc, which compiles it for each width of vector registers.

// The sums from which the error of rounding a block follows for the best scale with these codes:
// `with` is sum d w c, `square` is sum d c^2, c = code - zero.
PATH_TARGET inline void roundedSums(const float* w, const float* weights, int64_t block, float inverse, float zero,
                                    float top, float& with, float& square) {
  using Vector = Lane<float, PATH_BYTES>::type;
  constexpr int64_t kWidth = Lane<float, PATH_BYTES>::width;
  // Adding and subtracting it rounds to a whole number.
  constexpr float kRounder = 12582912.0f;
  Vector sumWith = {}, sumSquare = {};
  for (int64_t i = 0; i < block; i += kWidth) {
    const Vector x = *reinterpret_cast<const Vector*>(w + i), d = *reinterpret_cast<const Vector*>(weights + i);
    Vector code = x * inverse + zero;
    code = code < 0.0f ? Vector{} : code;
    code = code > top ? Vector{} + top : code;
    const Vector c = ((code + kRounder) - kRounder) - zero;
    sumWith += d * x * c;
    sumSquare += d * c * c;
  }
  with = square = 0;
  for (int64_t lane = 0; lane < kWidth; lane++) {
    with += sumWith[lane];
    square += sumSquare[lane];
  }
}

PATH_TARGET void search(const float* w, const float* weights, int64_t block, const Candidate* candidates, int64_t count,
                        float top, Candidate& best, float& bestScale) {
  float most = -1;
  for (int64_t i = 0; i < count; i++) {
    const Candidate& candidate = candidates[i];
    float with, square;
    roundedSums(w, weights, block, candidate.inverse, candidate.zero, top, with, square);
    if (!(square > 0)) continue;
    // The error is the energy of the block less this.
    const float gain = with * with / square;
    if (gain > most) {
      most = gain;
      best = candidate;
      bestScale = with / square;
    }
  }
}
