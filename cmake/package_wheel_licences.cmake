# Installs the licences of LibTorch and of NVIDIA's two libraries from the wheels' metadata into
# DOC/licences/. Run at installation, with TORCH_ROOT and DOC set.
file(GLOB wheels ${TORCH_ROOT}/../torch-*.dist-info)
if(NOT wheels)
  message(FATAL_ERROR "the licence of LibTorch is not beside \"${TORCH_ROOT}\": a package needs LibTorch from "
    "the wheel that ./dev setup installs; unset LONGRUN_TORCH_ROOT, and call ./dev setup")
endif()
file(GLOB nvidia ${TORCH_ROOT}/../nvidia_cuda_runtime-*.dist-info ${TORCH_ROOT}/../nvidia_cuda_cupti-*.dist-info)
foreach(wheel ${wheels} ${nvidia})
  get_filename_component(name ${wheel} NAME_WLE)
  file(GLOB files ${wheel}/licenses/* ${wheel}/LICENSE* ${wheel}/NOTICE* ${wheel}/License*)
  file(INSTALL ${files} DESTINATION ${CMAKE_INSTALL_PREFIX}/${DOC}/licences/${name})
endforeach()
