#include "lowrank/tridiagonal_form.h"

#include <algorithm>

namespace lowrank {
namespace {

// From this order on two stages are faster in float64.
constexpr int64_t kTwoStages64 = 1024;

} // namespace

Stages stagesFor(int64_t order, const TestHooks& hooks) {
  constexpr int64_t kTwoStages = 1792;
  return order >= kTwoStages || hooks.twoStages ? Stages::two : Stages::one;
}

TridiagonalForm::TridiagonalForm(const Context& context, int64_t n, float* a, int64_t stride, Stages stages) {
  if (stages == Stages::one) {
    one_.emplace(context, n, a, stride);
  } else {
    two_.emplace(context, n, a, stride);
  }
}

void TridiagonalForm::transformBack(int64_t count, float* rows) const {
  if (one_) {
    one_->transformBack(count, rows);
  } else {
    two_->transformBack(count, rows);
  }
}

int64_t TridiagonalForm::heldBytes(int64_t n, Stages stages) {
  return stages == Stages::one ? Householder<float>::heldBytes(n) : TwoStage::heldBytes(n);
}

int64_t TridiagonalForm::bytes(int64_t n, Stages stages, int threads) {
  return stages == Stages::one ? Householder<float>::bytes(n, threads) : TwoStage::bytes(n);
}

int64_t TridiagonalForm::transformBytes(int64_t n, Stages stages, int threads) {
  return stages == Stages::one ? Householder<float>::transformBytes(threads) : TwoStage::transformBytes(n, threads);
}

void tridiagonalise(const Context& context, int64_t n, double* a, int64_t stride, double* d, double* e) {
  if (n >= kTwoStages64) return tridiagonaliseOverBand(context, n, a, stride, d, e);
  const Householder<double> form(context, n, a, stride, Keep::values);
  std::copy_n(form.diagonal(), n, d);
  std::copy_n(form.offDiagonal(), n - 1, e);
}

int64_t tridiagonaliseBytes(int64_t n, int threads) {
  return n >= kTwoStages64 ? tridiagonaliseOverBandBytes(n) : Householder<double>::bytes(n, threads, Keep::values);
}

} // namespace lowrank
