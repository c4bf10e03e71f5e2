# Compiles kernels/cuda with whatever nvcc is there (PATH, CUDA_PATH or the one that scripts/ fetched) and puts the result into hunch_engine.
# Nothing of CUDA is linked: the driver is looked up when the program runs.
set(HUNCH_CUDA auto CACHE STRING "Build the CUDA kernels: auto (where nvcc is found), ON or OFF")
set(HUNCH_CUDA_ARCHS "75;80;86;89;90;100;120" CACHE STRING "Compute capabilities to compile for; the newest also as PTX")
set(HUNCH_CUDA_FOLDER "$ENV{HUNCH_CUDA_FOLDER}" CACHE PATH "Where a toolkit from NVIDIA's Python packages was unpacked")

if(NOT HUNCH_CUDA_FOLDER)
  if(DEFINED ENV{XDG_CACHE_HOME})
    set(cache "$ENV{XDG_CACHE_HOME}")
  elseif(WIN32)
    set(cache "$ENV{LOCALAPPDATA}")
  else()
    set(cache "$ENV{HOME}/.cache")
  endif()
  set(HUNCH_CUDA_FOLDER "${cache}/hunch/cuda")
endif()

set(HUNCH_CUDA_FOUND OFF)
if(NOT HUNCH_CUDA STREQUAL "OFF" AND NOT APPLE AND NOT HUNCH_SANITIZE)
  find_program(HUNCH_NVCC nvcc PATHS "${HUNCH_CUDA_FOLDER}/nvidia/cu13/bin" "$ENV{CUDA_PATH}/bin" /usr/local/cuda/bin NO_CMAKE_FIND_ROOT_PATH)
  if(HUNCH_NVCC)
    set(HUNCH_CUDA_FOUND ON)
  elseif(HUNCH_CUDA STREQUAL "ON")
    message(FATAL_ERROR "HUNCH_CUDA is ON, but there is no nvcc on the PATH, in CUDA_PATH or in ${HUNCH_CUDA_FOLDER}. Run `npm run cuda` to fetch it, or configure with -DHUNCH_CUDA=OFF.")
  endif()
endif()
message(STATUS "CUDA kernels: ${HUNCH_CUDA_FOUND} (${HUNCH_NVCC})")

function(hunch_cuda_kernels target)
  if(NOT HUNCH_CUDA_FOUND)
    return()
  endif()
  set(codes)
  foreach(arch ${HUNCH_CUDA_ARCHS})
    list(APPEND codes "-gencode=arch=compute_${arch},code=sm_${arch}")
    set(newest ${arch})
  endforeach()
  list(APPEND codes "-gencode=arch=compute_${newest},code=compute_${newest}")
  file(GLOB headers CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/kernels/cuda/*.cuh" "${CMAKE_CURRENT_SOURCE_DIR}/kernels/cuda/*.h")
  set(images)
  foreach(name token prefill)
    set(image "${CMAKE_CURRENT_BINARY_DIR}/cuda/${name}.fatbin")
    string(TOUPPER ${name} upper)
    add_custom_command(OUTPUT "${image}"
      COMMAND "${CMAKE_COMMAND}" -E make_directory "${CMAKE_CURRENT_BINARY_DIR}/cuda"
      COMMAND "${HUNCH_NVCC}" -std=c++20 -O3 --prec-div=false --prec-sqrt=false --fatbin ${codes} -diag-suppress=186 -o "${image}" "${CMAKE_CURRENT_SOURCE_DIR}/kernels/cuda/${name}.cu"
      DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/kernels/cuda/${name}.cu" ${headers}
      COMMENT "CUDA kernels: ${name} for ${HUNCH_CUDA_ARCHS}" VERBATIM)
    list(APPEND images "${image}")
    set_property(SOURCE src/cuda/image.cpp APPEND PROPERTY COMPILE_DEFINITIONS "HUNCH_CUDA_${upper}_IMAGE=\"${image}\"")
  endforeach()
  set_property(SOURCE src/cuda/image.cpp APPEND PROPERTY OBJECT_DEPENDS "${images}")
  add_custom_target(hunch_cuda_images DEPENDS ${images})
  add_dependencies(${target} hunch_cuda_images)
endfunction()

# Every kernel compiles to PTX and to machine code of the oldest architecture: what a machine without a GPU can say about them.
function(hunch_cuda_tests)
  if(NOT HUNCH_CUDA_FOUND)
    return()
  endif()
  foreach(name token prefill)
    foreach(form ptx cubin)
      add_test(NAME "cuda: ${name}.cu compiles to ${form} for sm_75"
        COMMAND "${HUNCH_NVCC}" -std=c++20 -O3 --${form} -arch=sm_75 -diag-suppress=186 -o "${CMAKE_CURRENT_BINARY_DIR}/cuda/${name}_75.${form}"
          "${CMAKE_CURRENT_SOURCE_DIR}/kernels/cuda/${name}.cu")
    endforeach()
  endforeach()
endfunction()
