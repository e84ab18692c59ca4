# Which components each package has, and where: read by CPack once for each generator, after the
# configuration that cmake/LongrunPackage.cmake wrote.
set(parts programs libtorch data)
if(CPACK_GENERATOR STREQUAL "DEB")
  set(CPACK_PACKAGING_INSTALL_PREFIX /)
  set(prefix /usr)
else()
  list(APPEND parts bundled)  # last: it looks at the programs that are installed already
  set(prefix /)
endif()
set(CPACK_INSTALL_CMAKE_PROJECTS "")
foreach(part ${parts})
  list(APPEND CPACK_INSTALL_CMAKE_PROJECTS "${CPACK_CMAKE_BUILD_FOLDER};longrun;${part};${prefix}")
endforeach()
if(CPACK_GENERATOR STREQUAL "DEB")
  list(APPEND CPACK_INSTALL_CMAKE_PROJECTS "${CPACK_CMAKE_BUILD_FOLDER};longrun;system;/")
endif()
