// Node-API on Windows, from whichever executable loads the addon. An import would name one file,
// node.exe, and fail in Electron, Bun, Deno or a renamed Node. Code calls a function F of a DLL
// through the pointer __imp_F, which the system fills in from the table of imports. Here these
// pointers are variables, which DllMain fills in. MSVC's linker has delay loading for this.
#if defined(_WIN32) && !defined(_MSC_VER)

#include <windows.h>

// The functions that the objects call. The linker names a missing one.
#define EACH_FUNCTION(F)                                                                                               \
  F(napi_add_env_cleanup_hook)                                                                                         \
  F(napi_add_finalizer)                                                                                                \
  F(napi_call_threadsafe_function)                                                                                     \
  F(napi_close_escapable_handle_scope)                                                                                 \
  F(napi_close_handle_scope)                                                                                           \
  F(napi_coerce_to_bool)                                                                                               \
  F(napi_create_array)                                                                                                 \
  F(napi_create_double)                                                                                                \
  F(napi_create_error)                                                                                                 \
  F(napi_create_function)                                                                                              \
  F(napi_create_object)                                                                                                \
  F(napi_create_promise)                                                                                               \
  F(napi_create_reference)                                                                                             \
  F(napi_create_string_utf8)                                                                                           \
  F(napi_create_threadsafe_function)                                                                                   \
  F(napi_create_type_error)                                                                                            \
  F(napi_define_properties)                                                                                            \
  F(napi_delete_reference)                                                                                             \
  F(napi_escape_handle)                                                                                                \
  F(napi_fatal_error)                                                                                                  \
  F(napi_get_and_clear_last_exception)                                                                                 \
  F(napi_get_array_length)                                                                                             \
  F(napi_get_cb_info)                                                                                                  \
  F(napi_get_instance_data)                                                                                            \
  F(napi_get_last_error_info)                                                                                          \
  F(napi_get_named_property)                                                                                           \
  F(napi_get_property)                                                                                                 \
  F(napi_get_reference_value)                                                                                          \
  F(napi_get_typedarray_info)                                                                                          \
  F(napi_get_undefined)                                                                                                \
  F(napi_get_value_bool)                                                                                               \
  F(napi_get_value_double)                                                                                             \
  F(napi_get_value_string_utf8)                                                                                        \
  F(napi_has_property)                                                                                                 \
  F(napi_is_exception_pending)                                                                                         \
  F(napi_is_typedarray)                                                                                                \
  F(napi_open_escapable_handle_scope)                                                                                  \
  F(napi_open_handle_scope)                                                                                            \
  F(napi_ref_threadsafe_function)                                                                                      \
  F(napi_reject_deferred)                                                                                              \
  F(napi_release_threadsafe_function)                                                                                  \
  F(napi_resolve_deferred)                                                                                             \
  F(napi_set_element)                                                                                                  \
  F(napi_set_instance_data)                                                                                            \
  F(napi_set_named_property)                                                                                           \
  F(napi_throw)                                                                                                        \
  F(napi_typeof)                                                                                                       \
  F(napi_unref_threadsafe_function)

extern "C" {
#define POINTER(name) void* __imp_##name;
EACH_FUNCTION(POINTER)
#undef POINTER
}

namespace {

struct Import {
  const char* name;
  void** pointer;
};

const Import kImports[] = {
#define IMPORT(name) {#name, &__imp_##name},
    EACH_FUNCTION(IMPORT)
#undef IMPORT
};

// The host is the executable itself, or a DLL if Node is embedded as a shared library.
bool findHost() {
  const HMODULE hosts[] = {GetModuleHandleW(nullptr), GetModuleHandleW(L"libnode.dll"), GetModuleHandleW(L"node.dll")};
  for (const HMODULE host : hosts) {
    if (host == nullptr || GetProcAddress(host, kImports[0].name) == nullptr) continue;
    for (const Import& import : kImports) {
      *import.pointer = reinterpret_cast<void*>(GetProcAddress(host, import.name));
      if (*import.pointer == nullptr) return false;
    }
    return true;
  }
  return false;
}

} // namespace

extern "C" BOOL WINAPI DllMain(HINSTANCE self, DWORD reason, void*) {
  if (reason != DLL_PROCESS_ATTACH) return TRUE;
  // Never unload the library when a worker's environment closes, because OpenBLAS' threads outlive
  // it.
  HMODULE pinned;
  const DWORD flags = GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS | GET_MODULE_HANDLE_EX_FLAG_PIN;
  if (!GetModuleHandleExW(flags, reinterpret_cast<LPCWSTR>(self), &pinned)) return FALSE;
  return findHost() ? TRUE : FALSE;
}

#endif
