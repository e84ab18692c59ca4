# Cross-builds for 64-bit Arm with Debian's compiler, and runs what it built under qemu's user mode
# (preset arm64, ./dev soak arm64). Which processor qemu shows is told at run time: QEMU_CPU.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)

# Debian's compiler brings Arm's C and C++ libraries in this folder, and nothing else is taken for
# Arm's: a library of the host is not found here, so what is optional is left out
# (zlib, GoogleTest).
set(_root /usr/aarch64-linux-gnu)
set(CMAKE_FIND_ROOT_PATH ${_root})
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64 -L ${_root})
