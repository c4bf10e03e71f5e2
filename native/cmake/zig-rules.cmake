# Read after CMake's own rules for the platform. CMAKE_AR must be one word, so the commands are spelt out.
set(CMAKE_CXX_ARCHIVE_CREATE "\"${HUNCH_ZIG}\" ar qc <TARGET> <OBJECTS>")
set(CMAKE_CXX_ARCHIVE_APPEND "\"${HUNCH_ZIG}\" ar q <TARGET> <OBJECTS>")
set(CMAKE_CXX_ARCHIVE_FINISH "\"${HUNCH_ZIG}\" ranlib <TARGET>")
if(APPLE)
  set(CMAKE_SHARED_MODULE_CREATE_CXX_FLAGS "-shared") # Zig knows no -bundle; Node loads either
endif()
