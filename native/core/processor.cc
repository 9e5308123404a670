#include "core/processor.h"

#include <cstdint>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace lowrank {
namespace {

#if defined(__x86_64__)

// Intel, Software Developer's Manual, volume 2A, CPUID, and volume 1, 13.3: which registers the
// system saves.
Processor ask() {
  constexpr uint32_t kFma = 1u << 12, kSaves = 1u << 27, kAvx = 1u << 28;
  constexpr uint32_t kAvx2 = 1u << 5, kAvx512f = 1u << 16, kDq = 1u << 17, kCd = 1u << 28, kBw = 1u << 30,
                     kVl = 1u << 31;
  constexpr uint32_t kYmm = 0x6, kZmm = 0xe6;
  Processor found;
  uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
  if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx)) return found;
  constexpr uint32_t needed = kFma | kSaves | kAvx;
  if ((ecx & needed) != needed) return found;
  uint32_t saved = 0, high = 0;
  __asm__("xgetbv" : "=a"(saved), "=d"(high) : "c"(0));
  if ((saved & kYmm) != kYmm || !__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx)) return found;
  found.avx2 = (ebx & kAvx2) != 0;
  found.avx512f = found.avx2 && (saved & kZmm) == kZmm && (ebx & kAvx512f) != 0;
  constexpr uint32_t rest = kDq | kCd | kBw | kVl;
  found.avx512 = found.avx512f && (ebx & rest) == rest;
  return found;
}

#else

Processor ask() { return {}; }

#endif

} // namespace

const Processor& processor() {
  static const Processor found = ask();
  return found;
}

} // namespace lowrank
