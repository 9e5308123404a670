// The functions of the Fortran runtimes that LAPACK's compiled Fortran calls: gfortran's joins two
// strings, to build the name that is looked up in ilaenv, and flang's compares two. Defining them
// here keeps libgfortran out of the binary, and with it libquadmath, which is under the LGPL. They
// are weak, so that an OpenBLAS that needs more of a runtime can still be linked with all of it.

#include <algorithm>
#include <cstddef>
#include <cstring>

#if defined(__GNUC__)
#define LOWRANK_WEAK __attribute__((weak))
#else
#define LOWRANK_WEAK
#endif

// gfortran's `to = a // b`: truncated to the length of `to`, or padded with blanks.
extern "C" LOWRANK_WEAK void _gfortran_concat_string(size_t length, char* to, size_t lengthA, const char* a,
                                                     size_t lengthB, const char* b) {
  const size_t fromA = std::min(length, lengthA);
  const size_t fromB = std::min(length - fromA, lengthB);
  std::memcpy(to, a, fromA);
  std::memcpy(to + fromA, b, fromB);
  std::memset(to + fromA + fromB, ' ', length - fromA - fromB);
}

// flang's comparison of a and b: -1, 0 or 1, as if the shorter one were padded with blanks.
extern "C" LOWRANK_WEAK int _FortranACharacterCompareScalar1(const char* a, const char* b, size_t lengthA,
                                                             size_t lengthB) {
  for (size_t i = 0; i < std::max(lengthA, lengthB); i++) {
    const unsigned char x = i < lengthA ? a[i] : ' ', y = i < lengthB ? b[i] : ' ';
    if (x != y) return x < y ? -1 : 1;
  }
  return 0;
}
