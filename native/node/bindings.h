// What addon.cc exports. The contract, with the meaning of every field, is lib/addon/contract.ts.
#pragma once

#include <napi.h>

namespace lowrank::bindings {

Napi::Value info(const Napi::CallbackInfo& info);
Napi::Value memory(const Napi::CallbackInfo& info);
Napi::Value resetPeak(const Napi::CallbackInfo& info);
Napi::Value estimateSvd(const Napi::CallbackInfo& info);
Napi::Value estimateApproximate(const Napi::CallbackInfo& info);

Napi::Value toFloat32(const Napi::CallbackInfo& info);
Napi::Value fromFloat32(const Napi::CallbackInfo& info);
Napi::Value gemm(const Napi::CallbackInfo& info);
Napi::Value gemmAsync(const Napi::CallbackInfo& info);
Napi::Value svd(const Napi::CallbackInfo& info);
Napi::Value svdAsync(const Napi::CallbackInfo& info);
Napi::Value approximate(const Napi::CallbackInfo& info);
Napi::Value approximateAsync(const Napi::CallbackInfo& info);

Napi::Value orthonormaliseRows(const Napi::CallbackInfo& info);
Napi::Value loraForward(const Napi::CallbackInfo& info);
Napi::Value loraBackward(const Napi::CallbackInfo& info);
Napi::Value addLowRank(const Napi::CallbackInfo& info);
Napi::Value affine(const Napi::CallbackInfo& info);
Napi::Value dropout(const Napi::CallbackInfo& info);
Napi::Value sgdStep(const Napi::CallbackInfo& info);
Napi::Value adamWStep(const Napi::CallbackInfo& info);
Napi::Value sumOfSquares(const Napi::CallbackInfo& info);
Napi::Value scale(const Napi::CallbackInfo& info);

} // namespace lowrank::bindings
