// Sums and products to twice the precision of float64, as unevaluated pairs (Dekker 1971; Knuth
// 1969), for decisions that must not depend on rounding.
#pragma once

#include <cmath>

namespace lowrank {

struct Exact {
  double high = 0;
  double low = 0;

  void add(double x) {
    const double sum = high + x, part = sum - high;
    low += (high - (sum - part)) + (x - part);
    high = sum;
    normalise();
  }
  void add(Exact x) {
    add(x.high);
    add(x.low);
  }
  Exact times(Exact x) const {
    const double product = high * x.high;
    Exact result{product, std::fma(high, x.high, -product) + (high * x.low + low * x.high)};
    result.normalise();
    return result;
  }
  double minus(Exact x) const { return (high - x.high) + (low - x.low); }

private:
  void normalise() {
    const double sum = high + low;
    low -= sum - high;
    high = sum;
  }
};

} // namespace lowrank
