// Keeps the addon loaded for the life of the process, as -z nodelete does on Linux: Node unloads an
// addon when a worker's environment closes, but OpenBLAS' threads outlive it. Mach-O has no linker
// option for that.
#if defined(__APPLE__)

#include <dlfcn.h>

namespace {

__attribute__((constructor)) void stayLoaded() {
  Dl_info self;
  if (dladdr(reinterpret_cast<const void*>(&stayLoaded), &self) == 0) return;
  // The handle is not kept: RTLD_NODELETE alone makes the library stay.
  dlopen(self.dli_fname, RTLD_LAZY | RTLD_NOLOAD | RTLD_NODELETE);
}

} // namespace

#endif
