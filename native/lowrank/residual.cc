#include "lowrank/residual.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "blas/gemm.h"
#include "blas/lapack.h"
#include "core/norms.h"
#include "core/random.h"

namespace lowrank {
namespace {

// The product is formed and compared a panel at a time: small enough to stay in cache, but with
// rows enough for gemm, which packs all of the other factor for each panel.
constexpr int64_t kPanelElements = int64_t{1} << 19;
constexpr int64_t kPanelRows = 256;

// Tiles of the product in float64.
constexpr int64_t kTileRows = 256;
constexpr int64_t kTileCols = 128;

// Rows that are widened at a time for products with a few vectors.
constexpr int64_t kProbeRows = 64;

int64_t panelRows(int64_t m, int64_t n) { return std::min(m, std::max(kPanelElements / n, kPanelRows)); }

int64_t tileSize(int64_t m, int64_t n, int64_t k) {
  const int64_t rows = std::min(kTileRows, m), cols = std::min(kTileCols, n);
  return rows * k + k * cols + rows * cols;
}

void widen(ConstMatrix from, double* to) {
  for (int64_t i = 0; i < from.rows; i++) std::copy_n(from.row(i), from.cols, to + i * from.cols);
}

// The sum over rows of what panel(part, begin, rows, perRow) leaves in perRow[begin, begin + rows),
// for panels of at most `height` rows shared out among the team.
template <class Panel> double sumOverPanels(const Context& context, int64_t m, int64_t height, const Panel& panel) {
  const int parts = context.team.size();
  const Buffer<double> perRow(context.memory, m);
  context.team.run([&](int part) {
    const int64_t end = m * (part + 1) / parts;
    for (int64_t begin = m * part / parts; begin < end; begin += height) {
      if (context.control.cancelled()) return;
      panel(part, begin, std::min(height, end - begin), perRow.data());
    }
  });
  context.control.check();
  double sum = 0;
  for (int64_t i = 0; i < m; i++) sum += perRow[i];
  return sum;
}

// Random vectors of the estimate, and the factor that raises it: of 8 the mean of squares is below
// a quarter of what it stands for once in 10^4 times.
constexpr int64_t kProbes = 8;
constexpr double kRaised = 2;

// y = a x in float64, x: a.cols x kProbes.
void wideProduct(const Context& context, ConstMatrix a, const double* x, double* y) {
  const int64_t height = std::min(kProbeRows, a.rows), parts = context.team.size();
  const Buffer<double> panels(context.memory, parts * height * a.cols);
  context.team.run([&](int part) {
    double* panel = panels.data() + part * height * a.cols;
    const int64_t end = a.rows * (part + 1) / parts;
    for (int64_t begin = a.rows * part / parts; begin < end; begin += height) {
      const int64_t rows = std::min(height, end - begin);
      widen(a.rowRange(begin, begin + rows), panel);
      blas::gemm(rows, kProbes, a.cols, panel, x, y + begin * kProbes);
    }
  });
}

} // namespace

double form(const Context& context, ConstMatrix w, const Product& product, float* dense) {
  const int64_t n = w.cols, height = panelRows(w.rows, n);
  const bool scratchNeeded = dense == nullptr || dense == w.data || product.complement;
  const Buffer<float> scratch(context.memory, scratchNeeded ? context.team.size() * height * n : 0);
  return sumOverPanels(context, w.rows, height, [&](int part, int64_t begin, int64_t rows, double* perRow) {
    float* panel = scratchNeeded ? scratch.data() + part * height * n : dense + begin * n;
    if (product.a.rows == 0) {
      std::fill(panel, panel + rows * n, 0.0f);
    } else {
      multiplyRows(product.b.rowRange(begin, begin + rows), product.a, panel);
    }
    for (int64_t i = 0; i < rows; i++) {
      const float* original = w.row(begin + i);
      float* row = panel + i * n;
      if (product.complement) {
        for (int64_t j = 0; j < n; j++) row[j] = original[j] - row[j];
      }
      perRow[begin + i] = squaredDistance(original, row, n);
    }
    if (dense && scratchNeeded) std::memcpy(dense + begin * n, panel, static_cast<size_t>(rows * n) * sizeof(float));
  });
}

int64_t formBytes(int64_t m, int64_t n, bool scratch, int threads) {
  return 8 * m + (scratch ? 4 * threads * panelRows(m, n) * n : 0);
}

double measure(const Context& context, ConstMatrix w, ConstMatrix b, ConstMatrix a) {
  const int64_t m = w.rows, n = w.cols, k = a.rows, height = std::min(kTileRows, m), size = tileSize(m, n, k);
  const Buffer<double> tiles(context.memory, context.team.size() * size);
  return sumOverPanels(context, m, height, [&](int part, int64_t begin, int64_t rows, double* perRow) {
    double* left = tiles.data() + part * size;
    double* right = left + height * k;
    double* tile = right + k * std::min(kTileCols, n);
    widen(b.rowRange(begin, begin + rows), left);
    std::fill_n(perRow + begin, rows, 0.0);
    for (int64_t col = 0; col < n; col += kTileCols) {
      const int64_t cols = std::min(kTileCols, n - col);
      if (k == 0) {
        std::fill_n(tile, rows * cols, 0.0);
      } else {
        widen(a.colRange(col, col + cols), right);
        blas::gemm(rows, cols, k, left, right, tile);
      }
      for (int64_t i = 0; i < rows; i++) {
        perRow[begin + i] += squaredDistance(w.row(begin + i) + col, tile + i * cols, cols);
      }
    }
  });
}

double backwardError(const Context& context, ConstMatrix w, ConstMatrix u, const float* s, ConstMatrix vt) {
  const int64_t m = w.rows, n = w.cols, r = vt.rows;
  const Buffer<double> x(context.memory, n * kProbes), y(context.memory, m * kProbes), z(context.memory, r * kProbes),
      other(context.memory, m * kProbes);
  for (int64_t i = 0; i < x.size(); i++) x[i] = randomNormal(0, static_cast<uint64_t>(i));
  wideProduct(context, w, x.data(), y.data());
  wideProduct(context, vt, x.data(), z.data());
  for (int64_t i = 0; i < z.size(); i++) z[i] *= s[i / kProbes];
  wideProduct(context, u, z.data(), other.data());
  double sum = 0;
  for (int64_t i = 0; i < y.size(); i++) sum += (y[i] - other[i]) * (y[i] - other[i]);
  return kRaised * std::sqrt(sum / kProbes);
}

int64_t backwardErrorBytes(int64_t m, int64_t n, int threads) {
  return 8 * ((2 * m + n + std::min(m, n)) * kProbes + threads * kProbeRows * n);
}

int64_t measureBytes(int64_t m, int64_t n, int64_t k, int threads) { return 8 * (m + threads * tileSize(m, n, k)); }

} // namespace lowrank
