"""Reads the machine code in liblongrun_cuda.so: do kernels keep their numbers in registers?

    cuda_code_test.py LIBRARY NVCC VENV [ARCHITECTURE]

For each pipelined kernel (kernels/cuda/pipeline-inl.h, few_queries-inl.h) that the library must have: the compiler has
reserved no stack, its code neither reads nor writes local memory (LDL, STL), multiplies by tensor cores (HMMA; but not
fp32), and copies to shared memory asynchronously (LDGSTS). A spilled register would pass every other test, and cost
time.

The kernels over rows (kernels/cuda/norm-inl.h, activation-inl.h, cross_entropy-inl.h, key_bias-inl.h) and AdamW's have
no stack and no local memory either; those whose rows are aligned read and write 16 bytes at once (LDG.E.128, STG.E.128).

ARCHITECTURE ("sm_80") says which machine code is read, if the library has it for several. The disassemblers
(cuobjdump, nvdisasm) are beside NVCC, in VENV or on the PATH; `./dev test` installs them in .venv where there is an
nvcc. Without them, the test is skipped (77). Standard library only.
"""
import os
import pathlib
import re
import shutil
import subprocess
import sys

SKIPPED = 77
SCALARS = {"1": "Bf16", "3": "Fp16"}  # of TensorCoreMath (device.h)
FORWARD, KEYS = "PipelinedForwardKernel", "PipelinedKeyKernelBf16"
DISTANCES = "PipelinedDistanceKernelBf16"
KERNELS = [f"{FORWARD}Bf16", f"{FORWARD}Fp16", "PipelinedQueryKernelBf16", KEYS]
SINGLE_PARAMS = ["PlainParams", "KeyBiasParams", "TableParams"]
SINGLE_PARAMS += [f"Masked{params}" for params in SINGLE_PARAMS]
PARAMS = [*SINGLE_PARAMS, "PiecesParams", "MaskedPiecesParams", "TwoSidedParams", "MaskedTwoSidedParams"]
HEAD_DIMS = [64, 128]
FEW_QUERIES = {"FewQueriesKernelBf16": ["FewQueriesParams", "RotatedFewQueriesParams"],
               "FewQueriesKernelFp16": ["FewQueriesParams", "RotatedFewQueriesParams"],
               "FewQueriesKernelFp32": ["FewQueriesParams"]}
FEW_HEAD_DIMS = [64, 128, 256]
# Four blocks of 128 threads fit into an SM's 65,536 registers, as into its shared memory.
REGISTERS_MAX = {(f"FewQueriesKernel{scalar}", 64, "FewQueriesParams"): 128 for scalar in SCALARS.values()}
# The kernels are written for compute capability 9.0. For others, nvcc 13.0 spills some bytes of a
# few of them, by their parameters, and gives calls of few queries more registers: three blocks fit
# then.
SPILLS_OF_8 = {(KEYS, 64): {"KeyBiasParams": 8, "SkippingKeyBiasParams": 8, "TableParams": 16, "SingleKeyBiasParams": 8,
                            "SingleTableParams": 8}}
FORWARD_OF_10 = {"MaskedKeyBiasParams": 32, "MaskedTableParams": 8}
SPILLS = {"sm_80": SPILLS_OF_8, "sm_89": SPILLS_OF_8,
          "sm_100": {(f"{FORWARD}Bf16", 128): FORWARD_OF_10, (f"{FORWARD}Fp16", 128): FORWARD_OF_10,
                     (KEYS, 64): {"PlainParams": 8, "KeyBiasParams": 24, "SkippingKeyBiasParams": 16, "TableParams": 16,
                                  "SkippingTableParams": 8, "SingleKeyBiasParams": 8, "SingleTableParams": 24,
                                  "SingleSkippingTableParams": 24}}}
FEW_REGISTERS = {"sm_80": 168, "sm_100": 168}
# How many there are: norms for 5 shapes of rows, times 3 types of the addend and 2 of the result,
# or 2 of a gradient, and 4 pairs with fp16; 5 operations on elements of 2 types, those of forward
# also of fp16, the loss of 3 types, aligned or not, and a key bias forward and backward.
ROW_KERNELS = {"NormForwardKernel": 50, "NormBackwardKernel": 10, "ElementKernel": 24, "CrossEntropyKernel": 6,
               "PartialSumKernel": 1, "AdamWKernel": 1, "KeyBiasRangesKernel": 2, "KeyBiasKernel": 2}


def name_of(function):
    """(kernel with its type, head_dim, parameters) of a mangled name, or None."""
    found = re.search(r"\d(Pipelined\w+?Kernel|FewQueriesKernel)I.*?(?:TensorCoreMathILi(\d)EE|Fp32Math)ELi(\d+)E.*?"
                      r"\d([A-Z]\w*?Params)E", function)
    if not found:
        return None
    params = re.sub(r"^SingleBackwardParamsI.*?\d(?=[A-Z]\w*Params)", "Single", found[4])
    params = re.sub(r"(Skipping|Masked)ParamsI.*?\d(?=[A-Z]\w*Params$)", r"\1", params)
    return found[1] + (SCALARS[found[2]] if found[2] else "Fp32"), int(found[3]), params


def spills_of(name, architecture):
    """The bytes that a kernel is known to spill."""
    return SPILLS.get(architecture, {}).get(name[:2], {}).get(name[2], 0)


def registers_of(name, architecture):
    """The registers that a kernel may take."""
    limit = REGISTERS_MAX.get(name, 255)
    return limit if limit == 255 else FEW_REGISTERS.get(architecture, limit)


def faults(name, text, may_spill):
    """What is wrong with the machine code of a kernel of attention."""
    listed = re.findall(r"\*/\s+(?:@!?U?P\w+\s+)?([A-Z][A-Z0-9_.]*)", text)
    instructions = {one.split(".")[0] for one in listed}
    needed = ["LDGSTS"] if name[0].endswith("Fp32") else ["LDGSTS", "HMMA"]
    wrong = [f"has no {one}" for one in needed if one not in instructions]
    wrong += [f"has {one}" for one in ("LDL", "STL") if one in instructions and not may_spill]
    of_bf16 = {"BF16" in one.split(".") for one in listed if one.startswith("HMMA")}
    if of_bf16 and of_bf16 != {name[0].endswith("Bf16")}:
        wrong.append("multiplies numbers of another type")
    return [f"{' '.join(map(str, name))} {fault}" for fault in wrong]


def row_kernel_of(function):
    """The name of a kernel over rows, or None."""
    found = re.search(rf"\d({'|'.join(ROW_KERNELS)})I", function)
    return found[1] if found else None


def is_aligned(function):
    """Whether a kernel over rows moves 16 bytes at once: RowShape<.., true>, ElementKernel<.., true>, AdamW's."""
    kernel = row_kernel_of(function)
    return kernel == "AdamWKernel" or ("Lb1E" in function and not kernel.startswith("KeyBias"))


def run(command, environment):
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command[:3])} failed: {done.stderr.strip()}")
    return done.stdout


def of_rows(rows, code):
    """What is wrong with the machine code of the kernels over rows."""
    wrong, seen = [], set()
    for text in code.split("Function : ")[1:]:
        function = text.split("\n", 1)[0].strip()
        if not row_kernel_of(function):
            continue
        seen.add(function)
        instructions = set(re.findall(r"\*/\s+(?:@!?U?P\w+\s+)?([A-Z][A-Z0-9_.]*)", text))
        wrong += [f"{function} has {one}" for one in instructions if one.split(".")[0] in ("LDL", "STL")]
        moves = ["LDG"] if "SumOnly" in function else ["LDG", "STG"]
        if is_aligned(function):
            wrong += [f"{function} has no {one} of 16 bytes" for one in moves
                      if not any(have.startswith(one) and ".128" in have for have in instructions)]
    return wrong + [f"{function} has no machine code" for function in set(rows) - seen]


def main():
    library, nvcc, venv = sys.argv[1:4]
    architecture = sys.argv[4] if len(sys.argv) > 4 else ""
    of_architecture = ["-arch", architecture] if architecture else []
    wheels = sorted(pathlib.Path(venv).glob("lib/python3*/site-packages/nvidia/*/bin"))
    path = os.pathsep.join([str(pathlib.Path(nvcc).parent), *map(str, wheels), os.environ.get("PATH", "")])
    missing = [name for name in ("cuobjdump", "nvdisasm") if not shutil.which(name, path=path)]
    if missing:
        print(f"skipped: {' and '.join(missing)} missing; `./dev test` installs them where there is an nvcc")
        return SKIPPED
    environment = os.environ | {"PATH": path}
    cuobjdump = shutil.which("cuobjdump", path=path)

    wrong, functions, rows = [], {}, []
    usage = run([cuobjdump, *of_architecture, "--dump-resource-usage", library], environment)
    for function, numbers in re.findall(r"Function (\S+):\s*\n\s*(REG:.*)", usage):
        if name := name_of(function):
            functions[name] = function
            registers, stack = (int(re.search(rf"{key}:(\d+)", numbers)[1]) for key in ("REG", "STACK"))
            print(f"{' '.join(map(str, name))}: {registers} registers, {stack} bytes of stack")
            if stack > spills_of(name, architecture):
                wrong.append(f"{' '.join(map(str, name))} has {stack} bytes of stack")
            if registers > registers_of(name, architecture):
                wrong.append(f"{' '.join(map(str, name))} has {registers} registers, more than "
                             f"{registers_of(name, architecture)}")
        elif row_kernel_of(function):
            rows.append(function)
            stack = int(re.search(r"STACK:(\d+)", numbers)[1])
            if stack > 0:
                wrong.append(f"{function} has {stack} bytes of stack")
    if not usage.count("Function "):
        print(f"{library} has no machine code, only PTX: configure with a `-real` architecture, such as "
              "-DLONGRUN_CUDA_ARCHITECTURES=90-real")
        return 1
    expected = {(kernel, head_dim, params) for kernel in KERNELS for head_dim in HEAD_DIMS for params in PARAMS}
    expected |= {(FORWARD + scalar, head_dim, params) for scalar in SCALARS.values() for head_dim in HEAD_DIMS
                 for params in ("RotatedParams", "MaskedRotatedParams")}
    expected |= {(KEYS, head_dim, f"Skipping{params}") for head_dim in HEAD_DIMS
                 for params in ("KeyBiasParams", "TableParams")}
    expected |= {(KEYS, head_dim, f"Single{params}") for head_dim in HEAD_DIMS
                 for params in (*SINGLE_PARAMS, "SkippingKeyBiasParams", "SkippingTableParams")}
    expected |= {(DISTANCES, head_dim, params) for head_dim in HEAD_DIMS
                 for params in ("TableParams", "MaskedTableParams", "PiecesParams", "MaskedPiecesParams")}
    expected |= {(kernel, head_dim, params) for kernel, kinds in FEW_QUERIES.items() for head_dim in FEW_HEAD_DIMS
                 for params in kinds}
    wrong += [f"{' '.join(map(str, name))} is not in {library}" for name in sorted(expected - functions.keys())]

    for kernel, n in ROW_KERNELS.items():
        found = sum(row_kernel_of(function) == kernel for function in rows)
        print(f"{kernel}: {found}")
        if found != n:
            wrong.append(f"{library} has {found} of {kernel}, not {n}")

    # In one call: it takes as long for one function as for all.
    listed = [*functions.values(), *rows]
    code = (run([cuobjdump, *of_architecture, "-sass", "-fun", ",".join(listed), library], environment)
            if listed else "")
    seen = set()
    for text in code.split("Function : ")[1:]:
        name = name_of(text.split("\n", 1)[0])
        if name is None:
            continue
        seen.add(name)
        wrong += faults(name, text, spills_of(name, architecture) > 0)
    wrong += [f"{' '.join(map(str, name))} has no machine code" for name in sorted(functions.keys() - seen)]
    wrong += of_rows(rows, code)
    print("\n".join(wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
