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
set(owners "")
foreach(library ${libraries})
  file(INSTALL ${library} DESTINATION ${CMAKE_INSTALL_PREFIX}/${LIBRARIES} FOLLOW_SYMLINK_CHAIN)
  # dpkg knows the file by the path that its package has: with or without /usr.
  get_filename_component(file ${library} REALPATH)
  string(REGEX REPLACE "^/usr/" "/" short ${file})
  execute_process(COMMAND dpkg-query --search ${file} OUTPUT_VARIABLE owner RESULT_VARIABLE failed ERROR_QUIET)
  if(failed)
    execute_process(COMMAND dpkg-query --search ${short} OUTPUT_VARIABLE owner RESULT_VARIABLE failed)
  endif()
  if(failed OR NOT owner MATCHES "^([^:\n]+):")
    message(FATAL_ERROR "${file} belongs to no Debian package, so its licence is unknown: make the package on "
      "Debian, with the libraries that ./dev setup installs")
  endif()
  list(APPEND owners ${CMAKE_MATCH_1})
endforeach()
list(REMOVE_DUPLICATES owners)
foreach(owner ${owners})
  file(INSTALL /usr/share/doc/${owner}/copyright DESTINATION ${CMAKE_INSTALL_PREFIX}/${DOC}/licences
    RENAME ${owner} FOLLOW_SYMLINK_CHAIN)
endforeach()
