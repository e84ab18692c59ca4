# What a build is compiled for if nobody says it, by stand-ins for nvcc and nvidia-smi.
#
#   cmake -DSOURCE=... -DFOLDER=... -P cuda_architectures_test.cmake
include(${SOURCE}/cmake/LongrunCudaArchitectures.cmake)

# program(NAME ARGUMENTS LINES): one that prints the lines. With other arguments it fails.
function(program name arguments lines)
  file(WRITE ${FOLDER}/${name} "#!/bin/sh\n[ \"$*\" = \"${arguments}\" ] || exit 2\nprintf '${lines}'\n")
  file(CHMOD ${FOLDER}/${name} PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE)
endfunction()

# expect(WANTED CAPABILITIES): with what nvidia-smi prints
function(expect wanted capabilities)
  program(nvidia-smi "--query-gpu=compute_cap --format=csv,noheader" "${capabilities}")
  longrun_local_cuda_architectures(found ${FOLDER}/nvcc ${FOLDER}/nvidia-smi)
  if(NOT found STREQUAL wanted)
    message(SEND_ERROR "nvidia-smi prints \"${capabilities}\": expected ${wanted}, found ${found}")
  endif()
endfunction()

program(nvcc --list-gpu-code "sm_75\\nsm_80\\nsm_86\\nsm_90\\nsm_100\\nsm_121")
expect("90a-real" "9.0\\n")
expect("80-real" "8.0\\n8.0\\n")
expect("86-real;90a-real" "8.6\\n9.0\\n8.6\\n")
expect("121-real" "12.1\\n")
# Newer than this nvcc.
expect("80-virtual" "8.9\\n12.0\\n13.2\\n")
# No kernel runs there.
expect("90a-real" "7.5\\n")
expect("80-real" "7.5\\n8.0\\n")
expect("90a-real" "")
expect("90a-real" "Field \"compute_cap\" is not a valid field to query.\\n")

file(REMOVE ${FOLDER}/nvidia-smi)
longrun_local_cuda_architectures(found ${FOLDER}/nvcc ${FOLDER}/nvidia-smi)
if(NOT found STREQUAL "90a-real")
  message(SEND_ERROR "without nvidia-smi: expected 90a-real, found ${found}")
endif()
