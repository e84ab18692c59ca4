# longrun_local_cuda_architectures(OUT NVCC NVIDIA_SMI): what a build is compiled for if nobody says
# it: machine code for the GPUs of this machine, so that builds stay short. For a GPU that is newer
# than NVCC, it is PTX, which the GPU's driver compiles. Without a GPU of compute capability 8.0 or
# newer, it is machine code for 9.0. NVIDIA_SMI may be a program that is missing.
function(longrun_local_cuda_architectures out nvcc nvidia_smi)
  execute_process(COMMAND ${nvcc} --list-gpu-code OUTPUT_VARIABLE known COMMAND_ERROR_IS_FATAL ANY)
  set(answer "")
  # A driver that does not know the question prints no number.
  execute_process(COMMAND ${nvidia_smi} --query-gpu=compute_cap --format=csv,noheader
    OUTPUT_VARIABLE answer ERROR_QUIET RESULT_VARIABLE ignored)
  string(REGEX MATCHALL "[0-9]+\\.[0-9]" capabilities "${answer}")
  set(architectures "")
  foreach(capability IN LISTS capabilities)
    string(REPLACE "." "" number ${capability})
    if(number EQUAL 90)
      list(APPEND architectures 90a-real)
    elseif(number GREATER_EQUAL 80 AND known MATCHES "sm_${number}(\n|$)")
      list(APPEND architectures ${number}-real)
    elseif(number GREATER_EQUAL 80)
      list(APPEND architectures 80-virtual)
    endif()
  endforeach()
  list(REMOVE_DUPLICATES architectures)
  if(NOT architectures)
    set(architectures 90a-real)
  endif()
  set(${out} "${architectures}" PARENT_SCOPE)
endfunction()
