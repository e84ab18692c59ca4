# Packages: a relocatable tarball (TZST) and a Debian package (DEB), both by CPack; `./dev package`
# makes them. Both contain the four programs in bin/, LibTorch in lib/longrun/, and what a user or
# Prometheus or Grafana reads in share/. The components:
#
#   programs    the programs, and completions for three shells
#   libtorch    the shared libraries that LibTorch needs, as they are in the wheel, with licences
#   data        sweeps, dashboards, rules, documentation
#   bundled     (tarball) the other shared libraries, apart from glibc's, with licences
#   system      (.deb) the systemd units and /etc/longrun
#
# cmake/package_parts.cmake says which package has which components. LibTorch's CUDA half stays out:
# with NVIDIA's libraries for it, the packages would be several times larger.
# RPATH and not RUNPATH: only RPATH is also used to find the libraries of bundled libraries, and
# LD_LIBRARY_PATH cannot replace it by other versions.
set(_lr_libraries lib/longrun)
set(_lr_rpath "$ORIGIN/../${_lr_libraries}")
foreach(program longrun longrun-coordinator longrun-worker longrun-trainer)
  set_target_properties(${program} PROPERTIES INSTALL_RPATH ${_lr_rpath} BUILD_WITH_INSTALL_RPATH ON)
  target_link_options(${program} PRIVATE -Wl,--disable-new-dtags)
  install(TARGETS ${program} RUNTIME DESTINATION bin COMPONENT programs)
endforeach()
# In the build folder the trainer also looks for LibTorch in the wheel (cmake/LongrunTorch.cmake).
install(CODE "file(RPATH_SET FILE \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/bin/longrun-trainer\"
  NEW_RPATH \"\\${_lr_rpath}\")" COMPONENT programs)

foreach(shell_and_file "bash;bash-completion/completions/longrun" "zsh;zsh/vendor-completions/_longrun"
        "fish;fish/vendor_completions.d/longrun.fish")
  list(GET shell_and_file 0 shell)
  list(GET shell_and_file 1 file)
  install(CODE "execute_process(COMMAND $<TARGET_FILE:longrun> completion ${shell}
    OUTPUT_FILE ${CMAKE_BINARY_DIR}/completion.${shell} COMMAND_ERROR_IS_FATAL ANY)" COMPONENT programs)
  get_filename_component(folder ${file} DIRECTORY)
  get_filename_component(name ${file} NAME)
  install(FILES ${CMAKE_BINARY_DIR}/completion.${shell} DESTINATION share/${folder} RENAME ${name} COMPONENT programs)
endforeach()

set(_lr_doc share/doc/longrun)
get_property(libraries TARGET longrun_torch PROPERTY LONGRUN_LIBRARIES)
foreach(library ${libraries})
  if(IS_ABSOLUTE "${library}")
    # A toolkit's libcudart.so.13 is a link.
    get_filename_component(name ${library} NAME)
    get_filename_component(library ${library} REALPATH)
    install(PROGRAMS ${library} DESTINATION ${_lr_libraries} RENAME ${name} COMPONENT libtorch)
  else()  # a stand-in: $<TARGET_FILE:...>
    install(PROGRAMS ${library} DESTINATION ${_lr_libraries} COMPONENT libtorch)
  endif()
endforeach()
install(CODE "set(TORCH_ROOT \"${LONGRUN_TORCH_ROOT}\")\nset(DOC ${_lr_doc})" COMPONENT libtorch)
install(SCRIPT ${CMAKE_SOURCE_DIR}/cmake/package_wheel_licences.cmake COMPONENT libtorch)

install(FILES sweeps/quickstart.yaml sweeps/position-methods.yaml sweeps/extend-context.yaml
  DESTINATION share/longrun/sweeps COMPONENT data)
install(DIRECTORY sweeps/presets DESTINATION share/longrun/sweeps COMPONENT data)
install(DIRECTORY deploy/grafana deploy/prometheus deploy/kubernetes DESTINATION share/longrun COMPONENT data)
install(FILES deploy/compose.yaml DESTINATION share/longrun COMPONENT data)
install(FILES README.md CHANGELOG.md ARCHITECTURE.md LICENSE DESTINATION ${_lr_doc} COMPONENT data)
install(FILES deploy/README.md DESTINATION ${_lr_doc}/deploy COMPONENT data)
install(FILES sweeps/reference.md DESTINATION ${_lr_doc}/sweeps COMPONENT data)
install(DIRECTORY docs DESTINATION ${_lr_doc} COMPONENT data)

install(CODE "set(LIBRARIES ${_lr_libraries})\nset(DOC ${_lr_doc})" COMPONENT bundled)
install(SCRIPT ${CMAKE_SOURCE_DIR}/cmake/package_bundled.cmake COMPONENT bundled)

# Relative to / (see package_parts.cmake).
install(FILES deploy/systemd/longrun-coordinator.service deploy/systemd/longrun-worker.service
  DESTINATION usr/lib/systemd/system COMPONENT system)
install(FILES deploy/debian/coordinator.env deploy/debian/worker.env DESTINATION etc/longrun COMPONENT system)
install(FILES deploy/debian/copyright DESTINATION usr/${_lr_doc} COMPONENT system)

set(CPACK_PACKAGE_NAME longrun)
set(CPACK_PACKAGE_VENDOR longrun)
set(CPACK_PACKAGE_CONTACT "the longrun developers <longrun@localhost>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "measures how language models read texts longer than they were trained on")
set(CPACK_PACKAGE_DESCRIPTION "longrun trains models at one length, reads text of other lengths with them, and prints
perplexity and recall by position method and context length. A coordinator
schedules the experiments over workers, which start the trainers. This package
contains all programs, LibTorch for CPUs, and systemd units.")
set(CPACK_RESOURCE_FILE_LICENSE ${CMAKE_SOURCE_DIR}/LICENSE)
set(CPACK_GENERATOR TZST DEB)
set(CPACK_STRIP_FILES ON)
set(CPACK_CMAKE_BUILD_FOLDER ${CMAKE_BINARY_DIR})
set(CPACK_PROJECT_CONFIG_FILE ${CMAKE_SOURCE_DIR}/cmake/package_parts.cmake)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS
  OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
string(TOLOWER ${CMAKE_SYSTEM_NAME} system)
set(CPACK_PACKAGE_FILE_NAME longrun-${PROJECT_VERSION}-${system}-${CMAKE_SYSTEM_PROCESSOR})
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_COMPRESSION_TYPE zstd)
set(CPACK_DEBIAN_PACKAGE_SECTION science)
set(CPACK_DEBIAN_PACKAGE_DEPENDS adduser)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
foreach(file conffiles postinst prerm postrm)
  list(APPEND CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA ${CMAKE_SOURCE_DIR}/deploy/debian/${file})
endforeach()
include(CPack)
