#include "core/norms.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "core/failure.h"

namespace lowrank {
namespace {

// Enough independent sums to fill the vector units; the compiler may not reorder a single one.
constexpr int kLanes = 16;
// Below this many elements a further thread costs more than it saves.
constexpr int64_t kElementsPerThread = 1 << 18;

template <class Term> double sum(int64_t count, Term term) {
  double lanes[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (int l = 0; l < kLanes; l++) lanes[l] += term(i + l);
  }
  for (; i < count; i++) lanes[i % kLanes] += term(i);
  for (int width = kLanes / 2; width > 0; width /= 2) {
    for (int l = 0; l < width; l++) lanes[l] += lanes[l + width];
  }
  return lanes[0];
}

// Calls work(row) for every row, on the whole team if the matrix is large enough.
template <class Work> void forRows(int64_t rows, int64_t size, Team& team, Work work) {
  if (size < kElementsPerThread * team.size()) {
    for (int64_t i = 0; i < rows; i++) work(i);
    return;
  }
  team.ranges(rows, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) work(i);
  });
}

// Sums each row, then the rows in order.
template <class RowTerm> double sumRows(int64_t rows, int64_t size, Team& team, RowTerm rowTerm) {
  std::vector<double> perRow(static_cast<size_t>(rows));
  forRows(rows, size, team, [&](int64_t i) { perRow[static_cast<size_t>(i)] = rowTerm(i); });
  double total = 0;
  for (const double part : perRow) total += part;
  return total;
}

bool isFinite(const float* x, int64_t count) {
  // An exponent of all ones is a NaN or an infinity; as integers this vectorises.
  constexpr uint32_t kExponent = 0x7f800000;
  uint32_t bad = 0;
  for (int64_t i = 0; i < count; i++) {
    uint32_t bits;
    std::memcpy(&bits, &x[i], sizeof bits);
    bad |= static_cast<uint32_t>((bits & kExponent) == kExponent);
  }
  return bad == 0;
}

float largestMagnitude(const float* x, int64_t count) {
  // As integers, magnitudes compare as they do as floats, and this vectorises.
  uint32_t largest = 0;
  for (int64_t i = 0; i < count; i++) {
    uint32_t bits;
    std::memcpy(&bits, &x[i], sizeof bits);
    largest = std::max(largest, bits & 0x7fffffff);
  }
  float magnitude;
  std::memcpy(&magnitude, &largest, sizeof magnitude);
  return magnitude;
}

} // namespace

double squares(const float* x, int64_t count) {
  return sum(count, [x](int64_t i) { return static_cast<double>(x[i]) * x[i]; });
}
double squares(const double* x, int64_t count) {
  return sum(count, [x](int64_t i) { return x[i] * x[i]; });
}

template <class Y> double distance(const float* x, const Y* y, int64_t count) {
  return sum(count, [x, y](int64_t i) {
    const double d = static_cast<double>(x[i]) - y[i];
    return d * d;
  });
}
double squaredDistance(const float* x, const float* y, int64_t count) { return distance(x, y, count); }
double squaredDistance(const float* x, const double* y, int64_t count) { return distance(x, y, count); }

Exact exactSquares(ConstMatrix w, Team& team) {
  std::vector<Exact> perRow(static_cast<size_t>(w.rows));
  forRows(w.rows, w.size(), team, [&](int64_t i) {
    Exact sum;
    for (int64_t j = 0; j < w.cols; j++) sum.add(static_cast<double>(w.row(i)[j]) * w.row(i)[j]);
    perRow[static_cast<size_t>(i)] = sum;
  });
  Exact total;
  for (const Exact part : perRow) total.add(part);
  return total;
}

void requireFinite(ConstMatrix w, Team& team) {
  std::atomic<int64_t> first{w.rows};
  forRows(w.rows, w.size(), team, [&](int64_t i) {
    if (isFinite(w.row(i), w.cols)) return;
    int64_t seen = first.load();
    while (i < seen && !first.compare_exchange_weak(seen, i)) {
    }
  });
  const int64_t row = first.load();
  if (row == w.rows) return;
  const float* x = w.row(row);
  const int64_t col = std::find_if(x, x + w.cols, [](float v) { return !std::isfinite(v); }) - x;
  throw Failure("ERR_NOT_FINITE", std::string("the matrix holds ") + (std::isnan(x[col]) ? "NaN" : "an infinity") +
                                      " at row " + std::to_string(row) + ", column " + std::to_string(col));
}

MatrixStats matrixStats(ConstMatrix w, Team& team) {
  std::vector<float> largest(static_cast<size_t>(w.rows));
  const double energy = sumRows(w.rows, w.size(), team, [&](int64_t i) {
    largest[static_cast<size_t>(i)] = largestMagnitude(w.row(i), w.cols);
    return squares(w.row(i), w.cols);
  });
  // A NaN or an infinity anywhere shows in the sum; float32 squares cannot overflow float64.
  if (!std::isfinite(energy)) {
    requireFinite(w, team);
    // The sum saw one that is gone now: another thread is writing to the array.
    throw Failure("ERR_NOT_FINITE",
                  "the matrix held a NaN or an infinity while it was read, and was changed meanwhile");
  }
  return {energy, *std::max_element(largest.begin(), largest.end())};
}

} // namespace lowrank
