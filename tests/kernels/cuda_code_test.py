"""Reads the machine code in liblongrun_cuda.so: do kernels keep their numbers in registers?

    cuda_code_test.py LIBRARY NVCC VENV [ARCHITECTURE...]

For each pipelined kernel (kernels/cuda/pipeline-inl.h, few_queries-inl.h) that the library must have: the compiler has
reserved no stack, its code neither reads nor writes local memory (LDL, STL), multiplies by tensor cores (HMMA; but not
fp32), and copies to shared memory asynchronously (LDGSTS). A spilled register would pass every other test, and cost
time.

The kernels over rows (kernels/cuda/norm-inl.h, activation-inl.h, cross_entropy-inl.h, key_bias-inl.h) and AdamW's have
no stack and no local memory either; those whose rows are aligned read and write 16 bytes at once (LDG.E.128, STG.E.128).

docs/gpu-model.md lists the registers of the kernels of attention for compute capability 9.0, and the bytes of their
stacks, as one release of nvcc gives them. With that release, the page's tables must say what the machine code says. A
kernel of attention that has a stack must be in them.

ARCHITECTURE ("sm_80") must be in the library; without one, all that are there are read. The disassemblers (cuobjdump,
nvdisasm) are beside NVCC, in VENV or on the PATH; `./dev test` installs them in .venv where there is an nvcc. Without
them, the test is skipped (77). Standard library only.
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
# For other compute capabilities than 9.0, nvcc 13.0 gives calls of few queries more registers:
# three blocks fit then.
FEW_REGISTERS = {"sm_80": 168, "sm_100": 168}
KNOWN = ["sm_80", "sm_89", "sm_90a", "sm_100"]
# How many there are: norms for 5 shapes of rows, times 3 types of the addend and 2 of the result,
# or 2 of a gradient, and 4 pairs with fp16; 5 operations on elements of 2 types, those of forward
# also of fp16, the loss of 3 types, aligned or not, and a key bias forward and backward.
ROW_KERNELS = {"NormForwardKernel": 50, "NormBackwardKernel": 10, "ElementKernel": 24, "CrossEntropyKernel": 6,
               "PartialSumKernel": 1, "AdamWKernel": 1, "KeyBiasRangesKernel": 2, "KeyBiasKernel": 2}


# The tables of the page: what a row begins with, the kernels of its lists of registers, and their
# parameters.
PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs/gpu-model.md"
PAGE_SECTION = "## Registers and shared memory"
FEW_TERMS = ["PlainParams", "KeyBiasParams", "TableParams"]
# What benchmarks measure backward with the same bits each time against.
UNORDERED_PARAMS = ["UnorderedPlainParams", "UnorderedKeyBiasParams"]


# The bytes of stack that the page says of the kernels before and after attention.
OTHER_STACKS = {"DeltaKernel": 32, "SkipKernel": 8}


def columns_of(kernel, *params):
    return [(kernel, one) for one in params]


def page_rows():
    """For each beginning of a row, the (kernel, parameters) that it lists the registers of."""
    rows = {}
    for words, kernel in (("forward", f"{FORWARD}Bf16"), ("backward, queries", "PipelinedQueryKernelBf16"),
                          ("backward, keys", KEYS)):
        rows[words] = columns_of(kernel, *FEW_TERMS)
        rows[f"{words}, mask"] = columns_of(kernel, *(f"Masked{one}" for one in FEW_TERMS))
        rows[f"{words}, FIRE"] = columns_of(kernel, "PiecesParams", "MaskedPiecesParams")
        rows[f"{words}, two-sided"] = columns_of(kernel, "TwoSidedParams", "MaskedTwoSidedParams")
    rows["forward, rotated"] = columns_of(f"{FORWARD}Bf16", "RotatedParams")
    rows["forward, mask, rotated"] = columns_of(f"{FORWARD}Bf16", "MaskedRotatedParams")
    rows["backward, keys, skipping"] = columns_of(KEYS, "SkippingKeyBiasParams", "SkippingTableParams")
    rows["backward, single kernel"] = columns_of(KEYS, *(f"Single{one}" for one in FEW_TERMS))
    rows["backward, in any order"] = columns_of(KEYS, *UNORDERED_PARAMS)
    rows["backward, single kernel, mask"] = columns_of(KEYS, *(f"SingleMasked{one}" for one in FEW_TERMS))
    rows["distances, FIRE"] = columns_of(DISTANCES, "PiecesParams", "MaskedPiecesParams")
    rows["distances, table"] = columns_of(DISTANCES, "TableParams", "MaskedTableParams")
    for scalar in ("bf16", "fp32"):
        kernel = f"FewQueriesKernel{scalar.title()}"
        rows[f"few queries, {scalar}"] = columns_of(kernel, "FewQueriesParams")
    rows["few queries, bf16, rotated"] = columns_of("FewQueriesKernelBf16", "RotatedFewQueriesParams")
    for words, kernel in (("forward", "Forward"), ("backward, queries", "Query"), ("backward, keys", "Key"),
                          ("distances", "Distance")):
        rows[f"all terms, {words}"] = [(f"{kernel}Kernel{scalar}", "Params") for scalar in ("Bf16", "Fp32")]
        few = FEW_TERMS if kernel != "Distance" else ["TableParams"]
        rows[f"fp32, {words}"] = columns_of(f"{kernel}KernelFp32", *few)
    rows["all terms, split"] = [(f"ForwardKernel{scalar}", "SplitParams") for scalar in ("Bf16", "Fp32")]
    return rows


def name_of(function):
    """(kernel with its type, head_dim, parameters) of a mangled name of a kernel of attention, or None.

    None for a kernel with narrow tiles, too: most architectures that are read here have none.
    """
    found = re.search(r"\d(Pipelined\w+?Kernel|FewQueriesKernel|(?:Forward|Query|Key|Distance)Kernel)I.*?"
                      r"(?:TensorCoreMathILi(\d)EE|Fp32Math)ELi(\d+)E.*?"
                      r"\d((?!Params)[A-Z]\w*?Params|Params)E", function)
    if not found:
        return None
    params = re.sub(r"^(Single|Unordered)BackwardParamsI.*?\d(?=[A-Z]\w*Params)", r"\1", found[4])
    params = re.sub(r"(Skipping|Masked)ParamsI.*?\d(?=[A-Z]\w*Params$)", r"\1", params)
    return found[1] + (SCALARS[found[2]] if found[2] else "Fp32"), int(found[3]), params


def is_pipelined(name):
    return name[0].startswith(("Pipelined", "FewQueries"))


def page_tables(text):
    """(cells of a row by the table's heads) for each row of the section's tables."""
    section = text.split(f"\n{PAGE_SECTION}\n", 1)[1].split("\n## ", 1)[0]
    heads = None
    for line in section.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")] if line.startswith("|") else []
        if not cells:
            heads = None
        elif heads is None:
            heads = cells
        elif not set(cells[0]) <= set("-: "):
            yield dict(zip(heads, cells))


def blocks_of(registers, shared_bytes):
    """How many blocks of 128 threads fit into an SM of compute capability 9.0."""
    of_registers = 65536 // (128 * -(-registers // 8) * 8)
    return min(of_registers, (228 << 10) // (shared_bytes + 1024))


def of_page(text, usage):
    """What is wrong in the page's tables, and the kernels in them. usage: {name: (registers, bytes of stack)}."""
    rows, wrong, listed = page_rows(), [], set()
    missing = {(words, head_dim) for words in rows for head_dim in (64, 128, 256)
               if (*rows[words][0], head_dim) in {(kernel, params, head) for kernel, head, params in usage}}
    for cells in page_tables(text):
        row = f"{PAGE.name}: {cells['kernel']}, {cells['head']}"
        if cells["kernel"] not in rows:
            wrong.append(f"{row}: the test does not know this row")
            continue
        head_dim = int(cells["head"])
        missing.discard((cells["kernel"], head_dim))
        names = [(kernel, head_dim, params) for kernel, params in rows[cells["kernel"]]]
        listed.update(names)
        if absent := [name for name in names if name not in usage]:
            wrong.append(f"{row}: the machine code has no {absent[0]}")
            continue
        found = [usage[name] for name in names]
        for head, of_code in (("registers", [one[0] for one in found]), ("stack in bytes", [one[1] for one in found])):
            said = cells.get(head, "0")
            expected = ", ".join(map(str, of_code)) if any(of_code) else "0"
            if said != expected:
                wrong.append(f"{row}: {head} {said}, but the machine code has {expected}")
        # One number for all columns, or one for each.
        shared = [int(one.replace(",", "")) for one in cells["shared memory in bytes"].split(";")]
        of_code = [blocks_of(registers, n_byte) for (registers, _), n_byte in
                   zip(found, shared if len(shared) == len(found) else shared * len(found))]
        expected = ", ".join(map(str, of_code if len(set(of_code)) > 1 else of_code[:1]))
        if cells["blocks for each SM"] != expected:
            wrong.append(f"{row}: {cells['blocks for each SM']} blocks for each SM, but its registers and bytes give "
                         f"{expected}")
    wrong += [f"{PAGE.name} has no row \"{words}\" for heads of {head_dim}" for words, head_dim in sorted(missing)]
    return wrong, listed


def registers_of(name, architecture):
    """The registers that a kernel may take."""
    limit = REGISTERS_MAX.get(name, 255)
    return limit if limit == 255 else FEW_REGISTERS.get(architecture, limit)


def faults(name, text):
    """What is wrong with the machine code of a kernel of attention."""
    listed = re.findall(r"\*/\s+(?:@!?U?P\w+\s+)?([A-Z][A-Z0-9_.]*)", text)
    instructions = {one.split(".")[0] for one in listed}
    needed = ["LDGSTS"] if name[0].endswith("Fp32") else ["LDGSTS", "HMMA"]
    wrong = [f"has no {one}" for one in needed if one not in instructions]
    wrong += [f"has {one}" for one in ("LDL", "STL") if one in instructions]
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


def of_architecture(library, cuobjdump, environment, architecture, compares_page):
    """What is wrong with the machine code for an architecture."""
    wrong, functions, rows, usage, others = [], {}, [], {}, {}
    text = run([cuobjdump, "-arch", architecture, "--dump-resource-usage", library], environment)
    for function, numbers in re.findall(r"Function (\S+):\s*\n\s*(REG:.*)", text):
        registers, stack = (int(re.search(rf"{key}:(\d+)", numbers)[1]) for key in ("REG", "STACK"))
        if name := name_of(function):
            usage[name] = registers, stack
            print(f"{architecture} {' '.join(map(str, name))}: {registers} registers, {stack} bytes of stack")
            if not is_pipelined(name):
                continue
            functions[name] = function
            if stack > 0:
                wrong.append(f"{' '.join(map(str, name))} has {stack} bytes of stack")
            if registers > registers_of(name, architecture):
                wrong.append(f"{' '.join(map(str, name))} has {registers} registers, more than "
                             f"{registers_of(name, architecture)}")
        elif row_kernel_of(function):
            rows.append(function)
            if stack > 0:
                wrong.append(f"{function} has {stack} bytes of stack")
        elif stack > 0:
            kernel = re.search(r"\d([A-Z][A-Za-z]*?Kernel)I", function)[1]
            others[kernel] = max(stack, others.get(kernel, 0))
    expected = {(kernel, head_dim, params) for kernel in KERNELS for head_dim in HEAD_DIMS for params in PARAMS}
    expected |= {(FORWARD + scalar, head_dim, params) for scalar in SCALARS.values() for head_dim in HEAD_DIMS
                 for params in ("RotatedParams", "MaskedRotatedParams")}
    expected |= {(KEYS, head_dim, f"Skipping{params}") for head_dim in HEAD_DIMS
                 for params in ("KeyBiasParams", "TableParams")}
    expected |= {(KEYS, head_dim, f"Single{params}") for head_dim in HEAD_DIMS
                 for params in (*SINGLE_PARAMS, "SkippingKeyBiasParams", "SkippingTableParams")}
    expected |= {(KEYS, head_dim, params) for head_dim in HEAD_DIMS for params in UNORDERED_PARAMS}
    expected |= {(DISTANCES, head_dim, params) for head_dim in HEAD_DIMS
                 for params in ("TableParams", "MaskedTableParams", "PiecesParams", "MaskedPiecesParams")}
    expected |= {(kernel, head_dim, params) for kernel, kinds in FEW_QUERIES.items() for head_dim in FEW_HEAD_DIMS
                 for params in kinds}
    wrong += [f"{' '.join(map(str, name))} is not in {library}" for name in sorted(expected - functions.keys())]

    for kernel, n in ROW_KERNELS.items():
        found = sum(row_kernel_of(function) == kernel for function in rows)
        print(f"{architecture} {kernel}: {found}")
        if found != n:
            wrong.append(f"{library} has {found} of {kernel}, not {n}")

    if compares_page:
        of_tables, listed = of_page(PAGE.read_text(), usage)
        wrong += of_tables
        wrong += [f"{' '.join(map(str, name))} has {stack} bytes of stack, but is not in {PAGE.name}"
                  for name, (_, stack) in sorted(usage.items()) if stack > 0 and name not in listed]
        if others != OTHER_STACKS:
            wrong.append(f"other kernels have stacks of {others} bytes, but {PAGE.name} says {OTHER_STACKS}")

    # In one call: it takes as long for one function as for all.
    listed = [*functions.values(), *rows]
    code = (run([cuobjdump, "-arch", architecture, "-sass", "-fun", ",".join(listed), library], environment)
            if listed else "")
    seen = set()
    for text in code.split("Function : ")[1:]:
        name = name_of(text.split("\n", 1)[0])
        if name is None:
            continue
        seen.add(name)
        wrong += faults(name, text)
    wrong += [f"{' '.join(map(str, name))} has no machine code" for name in sorted(functions.keys() - seen)]
    wrong += of_rows(rows, code)
    return [f"{architecture}: {one}" for one in wrong]


def main():
    library, nvcc, venv = sys.argv[1:4]
    wheels = sorted(pathlib.Path(venv).glob("lib/python3*/site-packages/nvidia/*/bin"))
    path = os.pathsep.join([str(pathlib.Path(nvcc).parent), *map(str, wheels), os.environ.get("PATH", "")])
    missing = [name for name in ("cuobjdump", "nvdisasm") if not shutil.which(name, path=path)]
    if missing:
        print(f"skipped: {' and '.join(missing)} missing; `./dev test` installs them where there is an nvcc")
        return SKIPPED
    environment = os.environ | {"PATH": path}
    cuobjdump = shutil.which("cuobjdump", path=path)

    there = set(re.findall(r"\.(sm_\w+)\.cubin", run([cuobjdump, "--list-elf", library], environment)))
    architectures = sys.argv[4:] or sorted(there)
    if not there:
        print(f"{library} has no machine code, only PTX: skipped. For the code of an H200, configure with "
              "-DLONGRUN_CUDA_ARCHITECTURES=90a-real")
        return SKIPPED
    if lacking := sorted(set(architectures) - there):
        print(f"{library} has no machine code for {', '.join(lacking)}, but for {', '.join(sorted(there))}")
        return 1
    release = re.search(r"\bV(\d+\.\d+\.\d+)", run([nvcc, "--version"], environment))[1]
    is_of_page = f"(CUDA {release}, `sm_90a`)" in PAGE.read_text()
    wrong = []
    for architecture in architectures:
        if architecture not in KNOWN:
            print(f"{architecture}: not compared, since what nvcc does for it is not known")
            continue
        compares_page = is_of_page and architecture == "sm_90a"
        if architecture == "sm_90a" and not is_of_page:
            print(f"not compared with {PAGE.name}, which is about another release of nvcc than {release}")
        wrong += of_architecture(library, cuobjdump, environment, architecture, compares_page)
    print("\n".join(wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
