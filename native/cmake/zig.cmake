# Windows and macOS with Zig's C++ compiler: clang with the headers and libraries of every system.
# HUNCH_ZIG: the program. HUNCH_ZIG_TARGET: <cpu>-windows-gnu or <cpu>-macos.<oldest version>.
set(HUNCH_ZIG zig CACHE STRING "Zig's program")
list(APPEND CMAKE_TRY_COMPILE_PLATFORM_VARIABLES HUNCH_ZIG HUNCH_ZIG_TARGET)

string(REGEX MATCH "^[^-]+" CMAKE_SYSTEM_PROCESSOR "${HUNCH_ZIG_TARGET}")
if(HUNCH_ZIG_TARGET MATCHES "-windows-")
  set(CMAKE_SYSTEM_NAME Windows)
  set(CMAKE_RC_COMPILER "${HUNCH_ZIG}") # CMake wants one; there are no resources
else()
  set(CMAKE_SYSTEM_NAME Darwin)
  set(CMAKE_INSTALL_NAME_TOOL "${CMAKE_COMMAND}") # CMake wants one; nothing is installed
endif()
set(CMAKE_CXX_COMPILER "${HUNCH_ZIG}" c++ -target ${HUNCH_ZIG_TARGET})
set(CMAKE_USER_MAKE_RULES_OVERRIDE "${CMAKE_CURRENT_LIST_DIR}/zig-rules.cmake")
# Only what the compiler brings: never headers or libraries of this machine.
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
