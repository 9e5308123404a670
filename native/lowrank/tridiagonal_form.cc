#include "lowrank/tridiagonal_form.h"

namespace lowrank {

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
  return stages == Stages::one ? Householder::heldBytes(n) : TwoStage::heldBytes(n);
}

int64_t TridiagonalForm::bytes(int64_t n, Stages stages, int threads) {
  return stages == Stages::one ? Householder::bytes(n, threads) : TwoStage::bytes(n);
}

int64_t TridiagonalForm::transformBytes(int64_t n, Stages stages, int threads) {
  return stages == Stages::one ? Householder::transformBytes(threads) : TwoStage::transformBytes(n, threads);
}

} // namespace lowrank
