#include "blas/coretype.h"

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <mutex>
#include <string>

#include "core/processor.h"

// Weak, because an OpenBLAS built for a single processor lacks them.
extern "C" {
char* openblas_get_corename(void);
#if defined(__GNUC__)
void gotoblas_dynamic_init(void) __attribute__((weak));
void gotoblas_dynamic_quit(void) __attribute__((weak));
#endif
}

namespace lowrank::blas {
namespace {

#if defined(__x86_64__) && defined(__GNUC__)

// All kernels of OpenBLAS that do not use AVX2.
constexpr const char* kWithoutAvx2[] = {
    "Prescott",    "Atom",         "Core2",  "Penryn",    "Dunnington", "Nehalem",   "Opteron",    "Nano",
    "Sandybridge", "Opteron_SSE3", "Bobcat", "Barcelona", "Athlon",     "Bulldozer", "Piledriver", "Steamroller"};

void choose() {
  constexpr const char* kVariable = "OPENBLAS_CORETYPE";
  if (gotoblas_dynamic_init == nullptr || gotoblas_dynamic_quit == nullptr || std::getenv(kVariable)) return;
  const std::string found = kernelName();
  const auto known = std::find(std::begin(kWithoutAvx2), std::end(kWithoutAvx2), found);
  if (known == std::end(kWithoutAvx2)) return;
  const Processor& vectors = processor();
  if (!vectors.avx2) return;
  // The environment is the only way to choose; child processes must not inherit a choice that the
  // user did not make.
#if defined(_WIN32)
  _putenv_s(kVariable, vectors.avx512 ? "SkylakeX" : "Haswell");
#else
  setenv(kVariable, vectors.avx512 ? "SkylakeX" : "Haswell", 0);
#endif
  gotoblas_dynamic_quit();
  gotoblas_dynamic_init();
#if defined(_WIN32)
  _putenv_s(kVariable, "");
#else
  unsetenv(kVariable);
#endif
}

#else

void choose() {}

#endif

} // namespace

std::string kernelName() {
  const std::string name = openblas_get_corename();
  // A library with only some of the kernels calls Prescott's by the first name that they answer to.
  return name == "Katmai" ? "Prescott" : name;
}

void chooseKernels() {
  static std::once_flag once;
  std::call_once(once, choose);
}

} // namespace lowrank::blas
