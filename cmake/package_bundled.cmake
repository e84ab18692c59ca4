# Copies every shared library that the installed programs need, and that is not installed with them
# already, into LIBRARIES, and the licence of the Debian package of each into DOC/licences/. Run at
# installation, after the programs and LibTorch, with LIBRARIES and DOC set. glibc stays out: its
# parts must be of one version, and every machine has one.
set(root $ENV{DESTDIR}${CMAKE_INSTALL_PREFIX})
file(GLOB programs ${root}/bin/*)
file(GET_RUNTIME_DEPENDENCIES EXECUTABLES ${programs}
  RESOLVED_DEPENDENCIES_VAR libraries
  PRE_EXCLUDE_REGEXES "^ld-linux" "^lib(c|m|mvec|dl|rt|pthread|util|resolv|anl|nsl|nss_[a-z]+)\\.so\\."
  POST_EXCLUDE_REGEXES "^${root}/")
file(INSTALL ${libraries} DESTINATION ${CMAKE_INSTALL_PREFIX}/${LIBRARIES} FOLLOW_SYMLINK_CHAIN)

# dpkg knows a file by the path that its package has, with or without /usr: one of two is unknown.
set(paths "")
foreach(library ${libraries})
  get_filename_component(file ${library} REALPATH)
  string(REGEX REPLACE "^/usr/" "/" short ${file})
  list(APPEND paths ${file} ${short})
endforeach()
execute_process(COMMAND dpkg-query --search ${paths} OUTPUT_VARIABLE owners ERROR_QUIET)
string(REPLACE "\n" ";" owners "${owners}")
while(paths)
  list(POP_FRONT paths file short)
  set(owner ${owners})
  string(REGEX REPLACE "([.+])" "\\\\\\1" pattern "(${file}|${short})")
  list(FILTER owner INCLUDE REGEX ": ${pattern}$")
  if(NOT owner MATCHES "^([^:]+):")
    message(FATAL_ERROR "${file} belongs to no Debian package, so its licence is unknown: make the package on "
      "Debian, with the libraries that ./dev setup installs")
  endif()
  file(INSTALL /usr/share/doc/${CMAKE_MATCH_1}/copyright DESTINATION ${CMAKE_INSTALL_PREFIX}/${DOC}/licences
    RENAME ${CMAKE_MATCH_1} FOLLOW_SYMLINK_CHAIN)
endwhile()
