// The one function of the Fortran runtime that LAPACK's compiled Fortran calls (to build the name
// it looks up in ilaenv). Defining it here keeps libgfortran out of the binary, and with it
// libquadmath, which is under the LGPL. It is weak, so that an OpenBLAS that needs more of the
// runtime can still be linked with all of it.

#include <algorithm>
#include <cstddef>
#include <cstring>

#if defined(__GNUC__)
#define LOWRANK_WEAK __attribute__((weak))
#else
#define LOWRANK_WEAK
#endif

// Fortran's `to = a // b`: truncated to the length of `to`, or padded with blanks.
extern "C" LOWRANK_WEAK void _gfortran_concat_string(size_t length, char* to, size_t lengthA, const char* a,
                                                     size_t lengthB, const char* b) {
  const size_t fromA = std::min(length, lengthA);
  const size_t fromB = std::min(length - fromA, lengthB);
  std::memcpy(to, a, fromA);
  std::memcpy(to + fromA, b, fromB);
  std::memset(to + fromA + fromB, ' ', length - fromA - fromB);
}
