#include "lowrank/band_reduction.h"

#include <algorithm>

#include "blas/lapack.h"
#include "core/flush_denormals.h"

namespace lowrank {
namespace {

constexpr int64_t b = kPanelRows;

// The side of the tiles of the trailing matrix, which begin at its multiples. Tiles on the diagonal
// are kept whole, and of the others those above it.
constexpr int64_t kTile = 128;

// Rows of the panels that are applied to vectors together, and the vectors of one task.
constexpr int64_t kJoined = 2 * b;
constexpr int64_t kVectors = 256;
constexpr int64_t kLeastParts = 4;

// Rows for V' of the panel, X', and V' again, so that [V X]' and [X V]' are one matrix each.
constexpr int64_t kUpdateRows = 3 * b;

int64_t panels(int64_t n) { return n > b ? (n - 1) / b : 0; }
int64_t joinedBlocks(int64_t n) { return (panels(n) * b + kJoined - 1) / kJoined; }
int64_t tiles(int64_t n) { return (n + kTile - 1) / kTile; }

// The columns [begin, end) of a tile. Index 0 is the tile that holds column `start`.
struct TileColumns {
  int64_t begin, end;
  TileColumns(int64_t index, int64_t start, int64_t n) {
    const int64_t tile = start / kTile + index;
    begin = std::max(start, tile * kTile);
    end = std::min(n, (tile + 1) * kTile);
  }
  int64_t size() const { return end - begin; }
};
int64_t tilesFrom(int64_t start, int64_t n) { return tiles(n) - start / kTile; }

} // namespace

// Each step eliminates the b rows of a panel: Q' A Q = A - V X' - X V' with X = W - V (T' V' W) / 2
// and W = A V T. It forms the products of all tiles with V, then X, then the update. During the
// update, one member of the team already factorises the next panel.
template <class T>
BandReduction<T>::BandReduction(const Context& context, int64_t n, T* a, int64_t stride, T* band, int64_t bandStride)
    : context_(context), n_(n), a_(a), stride_(stride), t_(context.memory, panels(n) * b * b) {
  Team& team = context.team;
  const Buffer<T> y(context.memory, b * n), sides(context.memory, kUpdateRows * n),
      inner(context.memory, (tiles(n) + 2) * b * b), r(context.memory, b * b);
  // The products read tiles on the diagonal as general matrices.
  team.tasks(tiles(n), [&](int64_t tile) {
    const int64_t end = std::min(n, (tile + 1) * kTile);
    for (int64_t i = tile * kTile; i < end; i++) {
      for (int64_t j = i + 1; j < end; j++) a[j * stride + i] = a[i * stride + j];
    }
  });
  factorise(0, band, bandStride, r.data());
  for (int64_t row = 0; row + b < n; row += b) {
    context.control.check();
    const int64_t start = row + b, count = tilesFrom(start, n);
    const T* v = a + row * stride;
    const T* t = t_.data() + row * b;
    T* const products = inner.data();
    team.tasks(count, [&](int64_t tile) {
      const TileColumns columns(tile, start, n);
      T* target = y.data() + columns.begin;
      // The tiles above and on the diagonal, then those to the right of it.
      blas::gemm(false, false, b, columns.size(), columns.end - start, 1, v + start, stride,
                 a + start * stride + columns.begin, stride, 0, target, n);
      blas::gemm(false, true, b, columns.size(), n - columns.end, 1, v + columns.end, stride,
                 a + columns.begin * stride + columns.end, stride, 1, target, n);
      blas::gemm(false, true, b, b, columns.size(), 1, target, n, v + columns.begin, stride, 0, products + tile * b * b,
                 b);
    });
    // K = V' A V and M = - T' K T / 2, so that X' = T' (V' A) + M V'.
    for (int64_t tile = 1; tile < count; tile++) {
      for (int64_t i = 0; i < b * b; i++) products[i] += products[tile * b * b + i];
    }
    T *const kt = products + b * b, *const m = kt + b * b;
    blas::gemm(false, false, b, b, b, 1, products, b, t, b, 0, kt, b);
    blas::gemm(true, false, b, b, b, T{-0.5}, t, b, kt, b, 0, m, b);
    team.tasks(count, [&](int64_t tile) {
      const TileColumns columns(tile, start, n);
      T* const side = sides.data() + columns.begin;
      for (int64_t i = 0; i < b; i++) {
        std::copy_n(v + i * stride + columns.begin, columns.size(), side + i * n);
        std::copy_n(v + i * stride + columns.begin, columns.size(), side + (2 * b + i) * n);
      }
      T* const x = side + b * n;
      blas::gemm(true, false, b, columns.size(), b, 1, t, b, y.data() + columns.begin, n, 0, x, n);
      blas::gemm(false, false, b, columns.size(), b, 1, m, b, side, n, 1, x, n);
    });
    const auto update = [&](int64_t begin, int64_t end, int64_t column) {
      blas::gemm(true, false, end - begin, n - column, 2 * b, -1, sides.data() + begin, n,
                 sides.data() + b * n + column, n, 1, a + begin * stride + column, stride);
    };
    const int64_t next = start + b;
    team.tasks(1 + (next < n ? tilesFrom(next, n) : 0), [&](int64_t task) {
      if (task == 0) {
        update(start, std::min(next, n), start);
        return factorise(start, band, bandStride, r.data());
      }
      const TileColumns rows(task - 1, next, n);
      update(rows.begin, rows.end, std::max(rows.begin / kTile * kTile, next));
    });
  }
}

// Copies the b rows from `row` on into the band, and makes reflectors of the elements to the right
// of it.
template <class T> void BandReduction<T>::factorise(int64_t row, T* band, int64_t bandStride, T* r) {
  const int64_t start = row + b, rows = std::min(b, n_ - row);
  for (int64_t i = row; i < row + rows; i++) {
    T *const from = a_ + i * stride_, *const to = band + i * bandStride;
    std::copy(from + i, from + row + rows, to);
    std::fill(to + row + rows - i, to + b + 1, T{0});
    // Panels that are applied together read these elements as zeros of V.
    std::fill(from + row, from + row + rows, T{0});
  }
  if (start >= n_) return;
  const int64_t m = n_ - start;
  factoriseRows(b, m, a_ + row * stride_ + start, stride_, r, t_.data() + row * b, b);
  for (int64_t i = 0; i < b; i++) std::copy_n(r + i * b, std::min(i + 1, m), band + (row + i) * bandStride + b - i);
}

// Applies I - V T V' from the last panels to the first; to row vectors, z' - ((z' V) T') V'.
template <class T> void BandReduction<T>::transformBack(int64_t k, T* vectors) const {
  const int64_t blocks = joinedBlocks(n_);
  const Buffer<T> joined(context_.memory, blocks * kJoined * kJoined);
  context_.team.tasks(blocks, [&](int64_t block) {
    T* const t = joined.data() + block * kJoined * kJoined;
    const int64_t first = block * kJoined, last = std::min(first + kJoined, panels(n_) * b);
    std::fill_n(t, kJoined * kJoined, T{0});
    for (int64_t row = first; row < last; row++) {
      std::copy_n(t_.data() + row * b, b, t + (row - first) * kJoined + (row - first) / b * b);
    }
    if (last - first > b) {
      joinProducts(b, last - first, n_ - first - b, a_ + first * stride_ + first + b, stride_, t, kJoined);
    }
  });
  const int64_t parts = std::max((k + kVectors - 1) / kVectors, std::min(k, kLeastParts));
  context_.team.tasks(parts, [&](int64_t part) {
    const FlushDenormals flush;
    const int64_t begin = k * part / parts, count = k * (part + 1) / parts - begin;
    const Buffer<T> y(context_.memory, 2 * count * kJoined);
    T* const yt = y.data() + count * kJoined;
    for (int64_t block = blocks; block-- > 0;) {
      context_.control.check();
      const int64_t first = block * kJoined, rows = std::min(kJoined, panels(n_) * b - first), start = first + b;
      const T *const v = a_ + first * stride_ + start, *const t = joined.data() + block * kJoined * kJoined;
      T* const z = vectors + begin * n_ + start;
      blas::gemm(false, true, count, rows, n_ - start, 1, z, n_, v, stride_, 0, y.data(), kJoined);
      blas::gemm(false, true, count, rows, rows, 1, y.data(), kJoined, t, kJoined, 0, yt, kJoined);
      blas::gemm(false, false, count, n_ - start, rows, -1, yt, kJoined, v, stride_, 1, z, n_);
    }
  });
}

template <class T> int64_t BandReduction<T>::heldBytes(int64_t n) {
  return panels(n) * b * b * static_cast<int64_t>(sizeof(T));
}

template <class T> int64_t BandReduction<T>::peakBytes(int64_t n) {
  return ((b + kUpdateRows) * n + (tiles(n) + 3) * b * b) * static_cast<int64_t>(sizeof(T));
}

template <class T> int64_t BandReduction<T>::transformBackBytes(int64_t n, int threads) {
  return (joinedBlocks(n) * kJoined + threads * 2 * kVectors) * kJoined * static_cast<int64_t>(sizeof(T));
}

template class BandReduction<float>;
template class BandReduction<double>;

} // namespace lowrank
