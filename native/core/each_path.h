// Compiles the file PATH_FILE once for each width of vector registers, in the namespaces avx512,
// avx2 and narrow. In it, PATH_BYTES is the width, and PATH_TARGET goes before each function.
// Included within a namespace, and as often as there are such files, so it has no guard.

#if defined(__x86_64__)
namespace avx512 {
#define PATH_TARGET __attribute__((target("avx512f,fma")))
#define PATH_BYTES 64
#include PATH_FILE
#undef PATH_TARGET
#undef PATH_BYTES
} // namespace avx512
namespace avx2 {
#define PATH_TARGET __attribute__((target("avx2,fma")))
#define PATH_BYTES 32
#include PATH_FILE
#undef PATH_TARGET
#undef PATH_BYTES
} // namespace avx2
#endif
namespace narrow {
#define PATH_TARGET
#define PATH_BYTES 16
#include PATH_FILE
#undef PATH_TARGET
#undef PATH_BYTES
} // namespace narrow
#undef PATH_FILE
