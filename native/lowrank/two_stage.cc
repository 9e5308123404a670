#include "lowrank/two_stage.h"

#include <algorithm>
#include <cstring>

#include "lowrank/back_transformation.h"
#include "lowrank/bulge_chasing.h"

namespace lowrank {
namespace {

template <class T> int64_t bandBytes(int64_t n) { return bandRows(n) * kBandRow * static_cast<int64_t>(sizeof(T)); }

template <class T> Buffer<T> emptyBand(const Context& context, int64_t n) {
  Buffer<T> band(context.memory, bandRows(n) * kBandRow);
  std::fill_n(band.data(), band.size(), T{0});
  return band;
}

} // namespace

TwoStage::TwoStage(const Context& context, int64_t n, float* a, int64_t stride)
    : TwoStage(context, n, a, stride, emptyBand<float>(context, n)) {}

TwoStage::TwoStage(const Context& context, int64_t n, float* a, int64_t stride, Buffer<float> band)
    : context_(context), reduction_(context, n, a, stride, band.data(), kBandRow), reflectors_(context, n),
      d_(context.memory, n), e_(context.memory, n) {
  chaseBulges(context, n, band.data(), &reflectors_, d_.data(), e_.data());
  reflectors_.join(context.team);
}

void TwoStage::transformBack(int64_t count, float* rows) const {
  lowrank::transformBack(context_, reflectors_, count, rows);
  reduction_.transformBack(count, rows);
}

int64_t TwoStage::heldBytes(int64_t n) { return BandReduction<float>::heldBytes(n) + Reflectors::bytes(n) + 8 * n; }

int64_t TwoStage::bytes(int64_t n) {
  return bandBytes<float>(n) +
         std::max(heldBytes(n), BandReduction<float>::heldBytes(n) + BandReduction<float>::peakBytes(n));
}

int64_t TwoStage::transformBytes(int64_t n, int threads) {
  return std::max(transformBackBytes(n, threads), BandReduction<float>::transformBackBytes(n, threads));
}

void tridiagonaliseOverBand(const Context& context, int64_t n, double* a, int64_t stride, double* d, double* e) {
  const Buffer<double> band = emptyBand<double>(context, n);
  const BandReduction<double> reduction(context, n, a, stride, band.data(), kBandRow);
  chaseBulges<double>(context, n, band.data(), nullptr, d, e);
}

int64_t tridiagonaliseOverBandBytes(int64_t n) {
  return bandBytes<double>(n) + BandReduction<double>::heldBytes(n) + BandReduction<double>::peakBytes(n);
}

} // namespace lowrank
