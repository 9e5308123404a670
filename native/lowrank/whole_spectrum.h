// The whole spectrum of a matrix in float32. Rounding hides what is small against the largest value
// from a Gram matrix: of its eigenvectors those are kept whose values it knows, and the others,
// whose images hold nothing of these, are solved for again among themselves (a graded matrix, one
// grade after the other).
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "core/context.h"
#include "core/matrix_view.h"
#include "core/memory.h"
#include "lowrank/gram_spectrum.h"
#include "lowrank/test_hooks.h"

namespace lowrank {

struct WholeSpectrum {
  // w = b a with min(m, n) components: of m >= n, rows of a are right singular vectors and b their
  // images; of m < n, columns of b are left singular vectors and rows of a their images.
  Buffer<float> b, a;
  std::vector<double> squares; // of the lengths of the images, the singular values
  double doubt = 0;            // what rounding may have changed each singular value by
};

// From the spectrum of w, which is given back once its vectors are known. `spanAlone` as request.h
// has it. Nothing where float32 does not know every singular value to kValueError of the largest.
// Throws as GramSpectrum does.
std::optional<WholeSpectrum> wholeSpectrum(const Context& context, ConstMatrix w, const TestHooks& hooks,
                                           std::optional<GramSpectrum>& spectrum, bool spanAlone);
// Native bytes at the peak, the result and the spectrum included.
int64_t wholeSpectrumBytes(int64_t m, int64_t n, Stages stages, int threads);

} // namespace lowrank
