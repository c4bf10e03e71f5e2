// Node-API's functions on Windows, looked up in the program that loads the addon, whatever it is called (node.exe, electron.exe,
// Hunch.exe). An import library would name one program; node-gyp's delay-load hook does the same as this, with MSVC only.
#include <windows.h>

// "__imp_f" is the pointer through which a call of a dllimport function f goes.
#define X(name) extern "C" void* __imp_##name = nullptr;
#include "node_api_names.inc"
#undef X

namespace {
struct Imports {
  Imports() {
    const HMODULE host = GetModuleHandleW(nullptr);
#define X(name) __imp_##name = reinterpret_cast<void*>(GetProcAddress(host, #name));
#include "node_api_names.inc"
#undef X
  }
};
const Imports imports __attribute__((init_priority(101)));  // before any other static
}  // namespace
