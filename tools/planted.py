"""./dev soak planted: do the tests of kernels, extensions, position schedules and caches detect errors?

Small errors, each of a kind that people make (a sign, an index, a factor, a dropped tail, a forgotten mode), are put
into the code one by one, in a copy of the tree under build/planted. The tests of the changed folder (TARGETS) are built
from the copy and run up to their first failure. If they pass, the tests lack something.

  planted.py [NAME...]   all errors, or those whose name contains a NAME
  planted.py --check     builds nothing: does each error still apply to the source?

Prints a table; exit code 1 when an error was missed, 2 when an error no longer applies to the source.
Standard library only.
"""
import os
import pathlib
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
WORK = ROOT / "build/planted"
TREE, BUILD = WORK / "tree", WORK / "build"
NET = "model/net/"  # its tests need LibTorch
CUDA_NORM, CUDA_ACTIVATION, CUDA_LOSS, CUDA_COLUMNS, CUDA_ADAMW, CUDA_KEY_BIAS = (
    f"kernels/cuda/{name}-inl.h" for name in ("norm", "activation", "cross_entropy", "columns", "adamw", "key_bias"))
# A program, and variables of its environment: as on a GPU whose blocks have 99 KiB of memory.
NARROW_TILES = ("test_kernels_conformance_cuda_host", ("LONGRUN_TEST_SHARED_KIB", "99"),
                ("GTEST_FILTER", "Attention/*WideHeads*"))
TARGETS = {  # by the beginning of a file's path, of which the longest counts
    "base/": ["test_base_subnormals"],
    "kernels/cuda/": ["test_kernels_conformance_cuda_host"],
    **{f"kernels/cuda/{name}-inl.h": ["test_kernels_conformance_cuda_host", "test_kernels_cuda_host_global"]
       for name in ("pipelined_backward", "pipelined_distances", "terms")},
    **{f"kernels/cuda/{name}-inl.h": [NARROW_TILES, "test_kernels_conformance_cuda_host"]
       for name in ("backward", "products")},
    **{file: ["test_kernels_rows_cuda_host"] for file in (
        CUDA_NORM, CUDA_ACTIVATION, CUDA_LOSS, CUDA_COLUMNS, CUDA_ADAMW, CUDA_KEY_BIAS)},
    "kernels/cpu/adamw": ["test_kernels_adamw", "test_kernels_subnormals"],
    "kernels/": ["test_kernels_conformance", "test_kernels_subnormals"],
    "model/extension/": ["test_model_extension"],
    "model/position_schedule/": ["test_model_position_schedule"],
    "model/sample_source/": ["test_model_sample_source"],
    "model/data/synthetic/": ["test_model_data_synthetic_rules"],
    NET: ["test_model_net"],
}
TEST_SECONDS_MAX = 900

FORWARD, BACKWARD = "kernels/cpu/forward-inl.h", "kernels/cpu/backward-inl.h"
SCORES, VECTOR, ROWS, ROW = (
    f"kernels/cpu/{name}-inl.h" for name in ("scores", "vector", "rows", "row"))
PLAN, SKIP, TRANSPOSE = "kernels/cpu/plan.cc", "kernels/cpu/skip.cc", "kernels/cpu/transpose-inl.h"
CUDA_FORWARD, CUDA_BACKWARD, CUDA_TERMS, CUDA_PRODUCTS, CUDA_ROWS, CUDA_CALL = (
    f"kernels/cuda/{name}-inl.h" for name in ("forward", "backward", "terms", "products", "rows", "attention"))
CUDA_SPLIT, CUDA_SKIP, CUDA_FEW = (
    f"kernels/cuda/{name}-inl.h" for name in ("split", "skip", "few_queries"))
CUDA_LAYER, CUDA_PIPELINE, CUDA_PIECES, CUDA_VISIBLE, PIPELINED_FORWARD, PIPELINED_BACKWARD, QUERY_SUMS = (
    f"kernels/cuda/{name}" for name in (
        "device.h", "pipeline-inl.h", "pieces-inl.h", "visible-inl.h", "pipelined_forward-inl.h",
        "pipelined_backward-inl.h", "query_sums-inl.h"))
PIPELINED_DISTANCES = "kernels/cuda/pipelined_distances-inl.h"
CUDA_TWO_SIDED = "kernels/cuda/two_sided-inl.h"
PI, NTK, DYNAMIC_NTK, YARN, LLAMA3, LONGROPE, SELF_EXTEND, DCA, GALI, REROPE, LEAKY, LM_INFINITE, STREAMING, NOISE = (
    f"model/extension/{name}.cc" for name in (
        "pi", "ntk", "dynamic_ntk", "yarn", "llama3", "longrope", "self_extend", "dca", "gali", "rerope",
        "leaky_rerope", "lm_infinite", "streaming", "score_noise"))
READING, CACHE, ATTENTION, STACK = (
    "model/extension/reading.h", "model/net/attention_cache.cc", "model/net/attention.cc", "model/net/stack.cc")
ADAMW, WEIGHT_COPIES = "model/net/adamw.cc", "model/net/weight_copies.cc"
HOST_KEYS, SAMPLE_COPIES = "model/net/host_keys.cc", "model/net/sample_copies.cc"
NETWORK, REGION_SCORES = "model/net/terms/network.cc", "model/net/region_scores.cc"
POSE, RANDPOS = "model/position_schedule/pose.cc", "model/position_schedule/randpos.cc"
DOCUMENTS = "model/sample_source/documents.cc"
COPY, INDUCTION, PASSKEY_TOKENS, PASSKEY = (
    f"model/data/synthetic/{name}.cc" for name in ("copy", "induction", "passkey_tokens", "passkey"))
MODE, KEPT = "const ScopedSubnormals mode(options.subnormals);", "const ScopedSubnormals mode(Subnormals::kKept);"


def keeps(name, file, then):
    """A call that keeps subnormal numbers although it is to flush them."""
    return (f"subnormals kept {name}", file, f"{MODE}\n{then}", f"{KEPT}\n{then}")


# (name, file, what stands there once, what stands there then)
ERRORS = [
    # A sign in each gradient.
    ("sign of dq", BACKWARD,
     "plan.n_query,\n                  plan.terms.scale,", "plan.n_query,\n                  -plan.terms.scale,"),
    ("sign of dk", BACKWARD, "begin, end, kLn2, room.dk", "begin, end, -kLn2, room.dk"),
    ("sign of dv", BACKWARD, "WriteRow(call.dv, b, h_kv, j, 1.0F,", "WriteRow(call.dv, b, h_kv, j, -1.0F,"),
    ("sign of delta", BACKWARD, "hn::Mul(p, hn::Sub(dp, row_delta))", "hn::Mul(p, hn::Add(dp, row_delta))"),
    ("sign of d_key_bias", BACKWARD, "AddColumnSums(tile, plan.n_key, room.ds, 1.0, key_bias)",
     "AddColumnSums(tile, plan.n_key, room.ds, -1.0, key_bias)"),
    ("sign of a two-sided gradient's keys", BACKWARD, "AddColumnSums(tile, plan.n_key, ds, -1.0, to)",
     "AddColumnSums(tile, plan.n_key, ds, 1.0, to)"),
    ("sign of a two-sided gradient's rows", BACKWARD, "to[p] += SumOf(sum);", "to[p] -= SumOf(sum);"),
    ("sign of d_distance_table", BACKWARD,
     "table.n_distance - 1)] +=\n        sums.totals[entry];", "table.n_distance - 1)] -=\n        sums.totals[entry];"),
    ("sign of d_slope in one segment", BACKWARD, "d_slope[pieces.first] += SumOf(all_u);",
     "d_slope[pieces.first] -= SumOf(all_u);"),
    ("sign of d_slope across segments", BACKWARD, "slope[segment] += static_cast<double>(ds[j]) *",
     "slope[segment] -= static_cast<double>(ds[j]) *"),
    ("sign of d_intercept", BACKWARD, "intercept[segment] += static_cast<double>(ds[j]);",
     "intercept[segment] -= static_cast<double>(ds[j]);"),
    ("sign of d_psi", BACKWARD, "to.n_psi + at)] += kLn2 *", "to.n_psi + at)] -= kLn2 *"),
    ("sign of d_row_factor", BACKWARD, "to.n_row_factor + p)] += kLn2 *", "to.n_row_factor + p)] -= kLn2 *"),
    ("rotation not turned back", ROWS,
     "turn == Turn::kQueryBack || turn == Turn::kKeyBack;", "turn == Turn::kQueryBack;"),
    ("growth not turned round for keys", ROWS, "is_query ? by.growth[c] : 1.0 / by.growth[c]", "is_query ? by.growth[c] : by.growth[c]"),
    # An index.
    ("rows of a transposed tile swapped by twos", TRANSPOSE, "store(hn::InterleaveUpper(two, ab_low, cd_low), 1);",
     "store(hn::InterleaveUpper(two, ab_low, cd_low), 3);"),
    ("pairs of a rotation read as neighbours", ROWS, "const std::int64_t other = half ? by.n_pairs : 1;",
     "const std::int64_t other = 1;"),
    ("query head reads the next key head's group", FORWARD, "tile.h / plan.group) * plan.n_key_tile",
     "tile.h % plan.n_kv_head) * plan.n_key_tile"),
    ("a diagonal beside", BACKWARD, "r % kParts * kEntries + kQueryTile - 1 - r;",
     "r % kParts * kEntries + kQueryTile - 2 - r;"),
    ("distances of whole tiles not added", SCORES,
     "if (distances != nullptr) x = hn::Add(x, hn::LoadU(f, distances + at));", "(void)distances;"),
    ("numbers that are not finite beside hidden keys", SCORES, "plan.distances_are_finite)", "true)"),
    ("distances beside pieces not added", SCORES,
     "if (plan.terms.distance_table && !ReaderAddsDistances(plan, tile)) {", "if (false) {"),
    ("a distance table read one beside", PLAN, "reversed_zero - m + table.n_ahead, 0, table.n_distance - 1",
     "reversed_zero - m + 1 + table.n_ahead, 0, table.n_distance - 1"),
    ("psi read one beside", PLAN, "std::abs(m - reversed_zero), n_psi - 1", "std::abs(m - reversed_zero) + 1, n_psi - 1"),
    ("the key bias of another head", SCORES,
     "const std::int64_t head = tile.b * plan.n_head + tile.h;\n  if (!term.values.empty()) {",
     "const std::int64_t head = tile.b * plan.n_head;\n  if (!term.values.empty()) {"),
    ("the diagonal counts as ahead", SCORES, "hn::IfThenElse(hn::Le(j, last_left), difference, hn::Neg(difference))",
     "hn::IfThenElse(hn::Lt(j, last_left), hn::Neg(difference), difference)"),
    ("dropout of the neighbour", SCORES, "first_block + block), i", "first_block + (block ^ 1)), i"),
    ("a segment too far", SCORES, "hn::Set(f, numbers[s + 1]), number", "hn::Set(f, numbers[s]), number"),
    # A tail that is dropped, a row or a column that is.
    ("four rows behind the last block of six dropped", VECTOR, "if (row < p.n_row) ProductRows<4", "if (row + 5 < p.n_row) ProductRows<4"),
    ("a last column of vectors dropped", VECTOR, "if (column < n_column) ProductColumns<1, kFetches>(p, column);",
     "if (column + kLanes < n_column) ProductColumns<1, kFetches>(p, column);"),
    ("the last key of a tile dropped", ROWS,
     "const std::int64_t n = std::min(kKeyTile, plan.n_key - begin);\n  for (std::int64_t j = 0; j < n; ++j) {\n    ReadRow",
     "const std::int64_t n = std::min(kKeyTile, plan.n_key - begin - 1);\n  for (std::int64_t j = 0; j < n; ++j) {\n    ReadRow"),
    ("the last query of a call dropped", ROWS, "for (std::int64_t i = begin; i < end; ++i) {\n    float* row = rows",
     "for (std::int64_t i = begin; i < end - 1; ++i) {\n    float* row = rows"),
    ("the last channel of a row not written", ROWS, "ForColumns(x.head_dim, [&](std::int64_t c, auto part) {\n      part.Store",
     "ForColumns(x.head_dim - 1, [&](std::int64_t c, auto part) {\n      part.Store"),
    ("a channel behind the row written", ROWS, "ForColumns(x.head_dim, [&](std::int64_t c, auto part) {\n      part.Store",
     "ForColumns(x.head_dim + 1, [&](std::int64_t c, auto part) {\n      part.Store"),
    ("the oldest tile of keys left out", FORWARD, "while (first > tiles.begin) {", "while (first > tiles.begin + 1) {"),
    ("the sinks left out backward", PLAN, "    sink_end = std::max<std::int64_t>(sink_end, row.sink_end);",
     "    sink_end = std::max<std::int64_t>(sink_end, row.sink_begin);"),
    ("the last column of a sum dropped", BACKWARD,
     "const std::int64_t n = std::min(kKeyTile, n_key - tile.key_begin);\n  for (std::int64_t j = 0; j < n; ++j) {\n    to[",
     "const std::int64_t n = std::min(kKeyTile, n_key - tile.key_begin);\n  for (std::int64_t j = 0; j < n - 1; ++j) {\n    to["),
    # What is seen.
    ("the next key is seen", PLAN, "v.causal ? std::min(p + 1, document_end)", "v.causal ? std::min(p + 2, document_end)"),
    ("a window one key too wide", PLAN, "p - v.window + 1", "p - v.window"),
    ("a document that ends one key late", PLAN,
     "static_cast<std::int32_t>(t + 1) : ends", "static_cast<std::int32_t>(std::min(t + 2, n)) : ends"),
    ("a tile that is not masked at its end", PLAN,
     "if (row.begin > key_begin || row.end < key_end) tile.masked = true;",
     "if (row.begin > key_begin || row.end + 1 < key_end) tile.masked = true;"),
    ("sums of a row not rescaled", FORWARD, "hn::Store(hn::Mul(factor, hn::Load(f, sum)), f, sum);",
     "hn::Store(hn::Load(f, sum), f, sum);"),
    ("outputs of a row not rescaled", FORWARD, "hn::Store(hn::Mul(factor, hn::Load(f, o + c)), f, o + c);",
     "hn::Store(hn::Load(f, o + c), f, o + c);"),
    ("lse without its anchor", FORWARD, "seen ? (two_sided ? 0.0 : anchor) +", "seen ? (two_sided ? anchor : 0.0) +"),
    ("a query that sees nothing divided by its sum", FORWARD, "seen ? static_cast<float>(1.0 / sum) : 0.0F",
     "static_cast<float>(1.0 / sum)"),
    # What is not multiplied because it is hidden.
    ("a block of rows without its last keys", PLAN, "RoundUp(keys.end, kKeyBlock)", "keys.end / kKeyBlock * kKeyBlock"),
    ("a block of rows without its sinks", PLAN, "if (row.sink_begin < row.sink_end) widen(keys,",
     "if (row.sink_begin > row.sink_end) widen(keys,"),
    ("a block of keys without its first rows", PLAN, "if (of.begin >= of.end) of.begin = row;",
     "if (of.begin >= of.end) of.begin = row + static_cast<std::int32_t>(kRowBlock);"),
    ("a block of keys without its last rows", PLAN, "of.end = row + static_cast<std::int32_t>(kRowBlock);", "of.end = row;"),
    ("every block of rows with the first one's keys", VECTOR, "p.k_of_rows[row / kRowBlock].end", "p.k_of_rows[0].end"),
    ("columns of the block before", VECTOR, "columns_of_rows[row / kRowBlock].end", "columns_of_rows[(row - 1) / kRowBlock].end"),
    ("a vector of keys that is hidden in part taken for seen", SCORES, "first + kLanes <= row.end", "first < row.end"),
    ("what stood beside the visited keys left there", SCORES, "for (int v = vectors.end; v < kRowVectors; ++v)",
     "for (int v = kRowVectors; v < kRowVectors; ++v)"),
    ("half a row of delta", BACKWARD, "DotOf(o_gradient_row, room.o, plan.width)", "DotOf(o_gradient_row, room.o, plan.width / 2)"),
    # Regions.
    ("a region that ends one key late", PLAN, ".end = region > 0 ? begin_of(region - 1) : n_key",
     ".end = region > 0 ? begin_of(region - 1) + 1 : n_key"),
    ("a region's last key of a tile from its neighbour", FORWARD, "hn::And(hn::Ge(j, begin), hn::Lt(j, end));\n    const V score",
     "hn::And(hn::Ge(j, begin), hn::Le(j, end));\n    const V score"),
    ("the last row of a region within a tile left out", FORWARD, "for (std::int64_t r = from; r < to; ++r) {\n      TakeProducts",
     "for (std::int64_t r = from; r < to - 1; ++r) {\n      TakeProducts"),
    ("rows of a tile that are in a region found too late", FORWARD, "keys.begin < keys.end && of_tile.Meets(keys);",
     "keys.begin < keys.end && of_tile.Meets({keys.begin, keys.end - 1});"),
    ("outermost keys of a region taken from its last query", PLAN, "std::min(all.begin, keys.begin)", "keys.begin"),
    ("queries of the nearest region for all", FORWARD, "t.q + (region * kQueryTile + begin) * plan.width",
     "t.q + begin * plan.width"),
    ("keys of the first set for all regions", FORWARD, "plan.key_set[static_cast<std::size_t>(region)]", "plan.key_set[0]"),
    ("sets of keys taken for one", PLAN, "if (x.key_row.data() != y.key_row.data() ||", "if (x.key_row.size() != y.key_row.size() ||"),
    ("a set of blended keys taken for the plain one", PLAN, "|| x.blended.has_value() != y.blended.has_value())", "|| false)"),
    ("weights of a blend swapped", ROWS, "(1.0 - weight) / Growth(a), of_b = weight / Growth(b)", "weight / Growth(a), of_b = (1.0 - weight) / Growth(b)"),
    ("a blend without its growth", ROWS, "of_b = weight / Growth(b)", "of_b = weight"),
    ("sines of a blend of one row alone", ROWS, "static_cast<float>(of_a * table_.sin[a] + of_b * table_.sin[b]);",
     "static_cast<float>((of_a + of_b) * table_.sin[a]);"),
    ("a blend's other row of the first tile", ROWS, "blended->row[key]", "blended->row[static_cast<std::size_t>(j)]"),
    ("a blend's weights of the first tile", ROWS, "blended->weight[key]", "blended->weight[static_cast<std::size_t>(j)]"),
    ("keys turned as those of the first tile", ROWS, "TurnAt(plan, plan.KeyTurn(region, b, begin + j))",
     "TurnAt(plan, plan.KeyTurn(region, b, j))"),
    ("skipping by the norms of the nearest region's queries", FORWARD, "t.q + (region * kQueryTile + r) * plan.width",
     "t.q + r * plan.width"),
    ("skipping by the norms of one set of keys", FORWARD, "with_norms && j < kKeyTile;", "with_norms && set == 0 && j < kKeyTile;"),
    # Keys in parts.
    ("keys of a part turned as the text's first", "kernels/cpu/plan.h", "TurnOf(b, terms.visibility.k_offset + j)", "TurnOf(b, j)"),
    ("slopes of a part counted from its first key", "kernels/cpu/plan.h", "n_key, terms.visibility.k_offset, j)", "n_key, 0, j)"),
    ("distances of a part counted from the text's first key", "kernels/cpu/plan.h",
     "return PositionOf(i) - terms.visibility.k_offset;", "return PositionOf(i);"),
    ("keys of a part seen as the text's first", PLAN, "position - v.k_offset, 0, n_key", "position, 0, n_key"),
    ("factors of rows by the part", SCORES, "static_cast<std::size_t>(plan.PositionOf(i));",
     "static_cast<std::size_t>(std::abs(plan.FromFirstKey(i)));"),
    ("dropout of a part chosen as the text's first", SCORES, "(plan.terms.visibility.k_offset + tile.key_begin) / kDropoutKeys",
     "tile.key_begin / kDropoutKeys"),
    ("an lse in fp32 read as fp64", BACKWARD, "LoadScalar(call.lse.scalar, call.lse.data,",
     "LoadScalar(Scalar::kFp64, call.lse.data,"),
    ("ties of fp16 away from zero", ROW, "hn::Add(odd, hn::Set(u32, 0xfffU))",
     "hn::Add(hn::Sub(odd, odd), hn::Set(u32, 0x1000U))"),
    ("small numbers of fp16 read as normal ones", ROW, "hn::Set(u32, 0x400U)", "hn::Set(u32, 0x200U)"),
    ("small results in fp16 written as normal ones", ROW, "hn::Set(u32, 0x38800000U)", "hn::Set(u32, 0x38000000U)"),
    ("an output in fp32 refused", "kernels/attention_check.cc", "x.scalar == Scalar::kFp32 && HasTwoBytes(q.scalar)", "false"),
    ("shares of parts not divided by their sum", "kernels/merge.cc", "for (double& x : lse) x /= sum;", ""),
    ("a merged lse of the largest part alone", "kernels/merge.cc", "return largest + std::log(sum);", "return largest;"),
    # A number.
    ("a coefficient of 2^x", VECTOR, "hn::Set(f, 5.5503272267e-2F)", "hn::Set(f, 5.5053272267e-2F)"),
    ("a key bias rounded before its anchor is taken off", SCORES, "static_cast<float>((values[j] - anchor) * kLog2E)",
     "(static_cast<float>(values[j]) - static_cast<float>(anchor)) * static_cast<float>(kLog2E)"),
    ("dropout without its factor backward", BACKWARD, "        dp = hn::Mul(dp, z);\n", ""),
    ("the scale on the bias, too", PLAN, "slope = ToFloats(f.slope, kLog2E);", "slope = ToFloats(f.slope, kLog2E * terms.scale);"),
    # Keys left out that weigh something.
    ("skipping by the current tile's norm alone", SKIP, "norm_max_.push_back(std::max(before, norms[at]));",
     "norm_max_.push_back(std::max(0.0F * before, norms[at]));"),
    ("skipping by the current tile's bias alone", SKIP, "      for (std::int64_t tile = 0; tile < n_tile; ++tile) {\n",
     "      for (std::int64_t tile = 0; tile < n_tile; ++tile) {\n"
     "        largest = -std::numeric_limits<double>::infinity();\n"),
    ("skipping without the farthest distance's number", SKIP, "distance_max_[at] = std::max(distance_max_[at], distance_max_[at - 1]);",
     "distance_max_[at] = distance_max_[at];"),
    ("backward visits what forward skipped", BACKWARD, "if (call.first_key.empty()) return ranges;", "if (plan.n_query > 0) return ranges;"),
    # What a GPU would pass over, or show only sometimes.
    ("no barrier before a tile is overwritten", CUDA_FORWARD, "Layer::Barrier();  // the tile before has been read\n", ""),
    ("no barrier before a tile is read", CUDA_FORWARD, "        load_keys(0, j_0);\n        Layer::Barrier();\n",
     "        load_keys(0, j_0);\n"),
    ("no barrier between regions", CUDA_FORWARD, "Layer::Barrier();  // the region before has been read\n", ""),
    ("no barrier before keys take the place of values", CUDA_BACKWARD,
     "Layer::Barrier();  // v has been read\n      if", "if"),
    ("queries read where the gradients of their outputs lie", CUDA_BACKWARD,
     "      if constexpr (Shape::kSharesRows) Load(p, p.q[0], b, h, i_0, kRows, p.n_query, q);\n", ""),
    ("values read where their keys lie", CUDA_BACKWARD, "          load_keys(p.v, v);\n", ""),
    ("no barrier after the sum of a distance", CUDA_BACKWARD,
     "          sum += DiagonalSum(pairs, column);\n          Layer::Barrier();\n",
     "          sum += DiagonalSum(pairs, column);\n"),
    ("no wait for a warp's products", CUDA_PRODUCTS, "Layer::WarpSync();  // before the next product writes\n", ""),
    ("one row read beyond a tile", CUDA_PRODUCTS, "begin + r >= n_row ||", "begin + r > n_row ||"),
    ("channels read beyond a row", CUDA_PRODUCTS, "channel >= p.head_dim)", "channel > p.head_dim)"),
    ("one key more on a GPU", CUDA_TERMS, "pair.j >= p.n_key", "pair.j > p.n_key"),
    ("a bias behind the last key's", CUDA_TERMS, "j < p.n_key ? KeyNumber", "j <= p.n_key ? KeyNumber"),
    ("a tile called whole too early", CUDA_TERMS, "(p.causal == 0 || nearest >= 0)", "(p.causal == 0 || nearest >= -1)"),
    ("a tile called hidden too early", CUDA_TERMS, "(nearest >= p.window ||", "(nearest >= p.window - 1 ||"),
    ("a wrong row of a fragment", CUDA_TERMS, "r = row + g + 8 * (e / 2), c", "r = row + g + 8 * (e % 2), c"),
    ("a wrong half of an operand", CUDA_PRODUCTS, "= x[2 * k + i / 2];", "= x[2 * k + i % 2];"),
    ("fp16 multiplied as bf16", CUDA_PRODUCTS, "Mma<Shape::Math::kScalar, kColumns / 8>",
     "Mma<kScalarBf16, kColumns / 8>"),
    ("fp16 probabilities packed as bf16", CUDA_PRODUCTS, "PackTwo<Layer>(kScalar, low, high)", "Layer::PackBf16(low, high)"),
    ("no headroom for probabilities in fp16", CUDA_PRODUCTS, "kScalar == kScalarFp16 ? 7 : 0", "0"),
    ("a rotation that grows in fp16", CUDA_CALL, "terms_.rotation.growth.n > 0", "false"),
    ("the low part of a row in fp16 as in bf16", CUDA_ROWS, "ToTwoBytes(p.to.scalar, x[half][c])", "ToBf16(x[half][c])"),
    ("rotated queries in bf16 without their low part", CUDA_FORWARD,
     "AddRowProducts<Layer, Shape, kColumns>(p, q_low, row, k, s);", "(void)q_low;"),
    # A call whose keys are split.
    ("a range's first tile of keys left out", CUDA_FORWARD, "Params::kIsSplit ? FirstKeyTile(of_head) :",
     "Params::kIsSplit ? FirstKeyTile(of_head) + (of_head > 0 ? 1 : 0) :"),
    ("a tile of keys in two ranges", CUDA_FORWARD, "FirstKeyTile(of_head + 1) - 1)", "FirstKeyTile(of_head + 1))"),
    ("a sum of earlier ranges that is not rescaled", CUDA_SPLIT, "sum *= factor;", "sum *= 1.0F;"),
    ("channels of earlier ranges that are not rescaled", CUDA_SPLIT, "o[n_c] *= factor;", "o[n_c] *= 1.0F;"),
    ("no barrier before the next ranges' numbers", CUDA_SPLIT, "Layer::Barrier();  // the parts before have been read\n",
     ""),
    ("the first head channel in place of a range's maximum", CUDA_SPLIT, "Layer::Thread() * p.PartStep() + p.head_dim",
     "Layer::Thread() * p.PartStep()"),
    # Keys that a GPU skips.
    ("a bound by the largest of one tile of keys", CUDA_SKIP,
     "      largest = fmax(largest, p.At(place(at)));\n      p.to", "      largest = p.At(place(at));\n      p.to"),
    ("a bound without the keys' bias", CUDA_SKIP, "bound += (p.bias_max[", "bound += 0.0 * (p.bias_max["),
    ("a bound by the bias of the oldest key's distance", CUDA_SKIP, "p.distance + i - (middle * kSkipTile - 1);",
     "p.distance + i;"),
    ("the first keys of another sequence", CUDA_TERMS, "return p.first_key[head * VisitedBlocks(",
     "return p.first_key[(head + b) * VisitedBlocks("),
    ("a bound of one instead of epsilon", CUDA_SKIP, "bound <= p.log2_epsilon", "bound <= 0.0"),
    ("no barrier before keys are scored", CUDA_SKIP, "Layer::Barrier();  // the keys before have been read\n", ""),
    ("a key's last queries left out of its gradient", CUDA_SKIP, "end = block + 1;", "end = block - 3;"),
    ("a window's oldest keys called hidden", CUDA_SKIP, "p.distance + i - p.window + 1);",
     "p.distance + i - p.window + 1 + kSkipTile);"),
    ("a document's oldest keys called hidden", CUDA_SKIP, "[p.q_offset + i] - p.k_offset;",
     "[p.q_offset + i] - p.k_offset + kSkipTile;"),
    ("sinks skipped with what a window hides", CUDA_CALL, "p_.n_sink == 0 &&", "p_.n_sink >= 0 &&"),
    ("norms of rows without their low parts", CUDA_SKIP,
     "if (rows.low != nullptr) ReadPart<Layer>(rows, rows.low, at + c, low);", ""),
    ("the nearest keys' scores without low parts", CUDA_SKIP,
     "          AddRowProducts<Layer, Shape, kColumns>(p, q_low, row, k, s);\n", ""),
    ("keys that forward has skipped, but a mask shows", CUDA_VISIBLE,
     "first = Max(first, FirstKey(p, b, h, i_0) / kColumns);", "first = Max(first, 0);"),
    ("queries of a masked call that skip a block's keys", PIPELINED_BACKWARD,
     "Params::kSkips || (Params::kHasMask && (kHasOneSided || Params::kHasTable));", "Params::kSkips;"),
    ("a gradient of a query that skipped the key", CUDA_BACKWARD, "view.is_hidden || FirstKey(p, b, h, i_0) > j_0",
     "view.is_hidden"),
    # A call of few queries, whose warps share the keys.
    ("a wrong fragment row of few queries", CUDA_FEW, "Min(Layer::Thread() % 32 / 4 + 8 * half, own.n_row - 1)",
     "Min(Layer::Thread() % 32 / 4 * 2 + half, own.n_row - 1)"),
    ("few queries do not wait for a tile", CUDA_FEW, "WaitCopies<kStages - 1>();", "WaitCopies<kStages>();"),
    ("few queries read a tile that other lanes copy", CUDA_FEW,
     "Layer::WarpSync();  // the tile and its numbers have arrived\n", ""),
    ("few queries fill a place that is still read", CUDA_FEW,
     "Layer::WarpSync();  // the tile and its numbers have been read\n", ""),
    ("few queries merge over tiles that are still read", CUDA_FEW,
     "Layer::Barrier();  // all tiles have been read: their place becomes that of the results\n", ""),
    ("few queries do not wait for their numbers", CUDA_FEW,
     "Layer::Barrier();  // the queries and their numbers have arrived\n", "Layer::WarpSync();\n"),
    ("few queries copy a key beyond the last", CUDA_FEW, "j_0 + row < p.n_key &&", "j_0 + row <= p.n_key &&"),
    ("few queries miss a range's first tile", CUDA_FEW, "for (int stage = 0; tile >= first_tile;",
     "for (int stage = 0; tile > first_tile;"),
    ("few queries hide what only the last one sees", CUDA_FEW, "ViewOf(p, own.b, 0, p.n_query, tile * kColumns, kColumns)",
     "ViewOf(p, own.b, 0, 1, tile * kColumns, kColumns)"),
    ("few queries of a group's first heads alone", CUDA_FEW, "own.h_kv * p.group + of_group;", "own.h_kv * p.group;"),
    ("few queries with the key bias of another head", CUDA_FEW, "key_numbers + rows.head[e / 2] * kColumns + c;",
     "key_numbers + c;"),
    ("few queries with the dropout of another head", CUDA_FEW, "Kept(p, own.b, own.h + rows.head[e / 2], pair)",
     "Kept(p, own.b, own.h, pair)"),
    ("few queries lose their last row in fp32", CUDA_FEW, "if (r < n_row_) visit", "if (r + 1 < n_row_) visit"),
    ("few queries with the factors of the warp's first row", CUDA_FEW, "scratch_.Get(first + r);", "scratch_.Get(first);"),
    ("few queries with a warp's sum that is not rescaled", CUDA_FEW, "sum += weight * warp_sums.Get(of_warp);",
     "sum += warp_sums.Get(of_warp);"),
    ("few rotated queries in bf16 without their low part", CUDA_FEW,
     "AddFragmentProducts<Layer, Math, kHeadDim, 1, kColumns>(low, k, row, 16 * step, of_q);", ""),
    ("dropout by the wrong word", CUDA_TERMS, "t % 8 / 2)", "t % 8 / 4)"),
    ("a key bias without its anchor", CUDA_TERMS, "return KeyNumber(p, b, h, KeyAt(p, i / kRows * kRows));",
     "return 0.0 * (b + h + i);"),
    ("an anchor in the lse of a two-sided bias", CUDA_TERMS, "return p.two_sided != 0 ? 0.0 : anchor;",
     "return p.two_sided != 0 ? anchor : anchor;"),
    ("a distance of one diagonal alone", CUDA_ROWS, "within <= -n_row) continue;", "within < 0) continue;"),
    ("the last segment's sum left out", CUDA_BACKWARD, "const int n = (p.n_knot + 1) * 2;",
     "const int n = (p.n_knot + 1) * 2 - 1;"),
    ("keys before the queries whose sums they add", CUDA_CALL,
     "      LaunchShaped<QueryKernel, Math>();\n      LaunchShaped<KeyKernel, Math>();\n",
     "      LaunchShaped<KeyKernel, Math>();\n      LaunchShaped<QueryKernel, Math>();\n"),
    # Copies that arrive later, and lazy maxima.
    ("no wait for a tile that is copied", PIPELINED_FORWARD,
     "      Layer::template WaitCopies<0>();\n      Layer::Barrier();", "      Layer::Barrier();"),
    ("a wait for the tile before", PIPELINED_FORWARD, "WaitCopies<0>();", "WaitCopies<1>();"),
    ("no wait for queries that are copied", PIPELINED_FORWARD, "WaitCopies<1>();", "WaitCopies<2>();"),
    ("no barrier before a place is filled again", PIPELINED_FORWARD,
     "Layer::Barrier();  // the tile has arrived, and the one before has been read\n", ""),
    ("a bias put where it is read", PIPELINED_FORWARD, "bias.Put(1 - place);", "bias.Put(place);"),
    ("a bit of the swizzle forgotten", CUDA_LAYER, "(row & 7) * kChunk", "(row & 3) * kChunk"),
    ("a tile copied beyond its last row", CUDA_PIPELINE, "begin + row < n_row &&", "begin + row <= n_row &&"),
    ("channels copied beyond a row", CUDA_PIPELINE, "channel < p.head_dim;", "channel <= p.head_dim;"),
    ("one key more in a pipeline", CUDA_VISIBLE, "Min(p.distance + i_0 + row + 1, p.n_key) : p.n_key) - j_0;",
     "Min(p.distance + i_0 + row + 1, p.n_key) : p.n_key) - j_0 + 1;"),
    ("one query less in a pipeline", CUDA_VISIBLE, "begin = j - p.distance - i_0;", "begin = j - p.distance - i_0 + 1;"),
    ("a diagonal of a table one beside", CUDA_PIPELINE, "kSign * (8 * diagonal - 1)", "kSign * (8 * diagonal + 1)"),
    ("distances of transposed scores turned round", CUDA_PIPELINE, "kSign = kKeysAreRows ? -1 : 1", "kSign = 1"),
    ("the threshold of a lazy maximum turned round", PIPELINED_FORWARD, "now > before + kGrowth", "now < before + kGrowth"),
    ("sums that do not follow a lazy maximum", PIPELINED_FORWARD, "sums[m][half] *= factor[m][half];", "(void)sums;"),
    ("outputs that follow another row's maximum", PIPELINED_FORWARD, "o[m][n][e] *= factor[m][e / 2]",
     "o[m][n][e] *= factor[m][e % 2]"),
    ("the last query of a tile of 128 left out", CUDA_VISIBLE, "last_query = Min(i_0 + n_row, p.n_query) - 1",
     "last_query = Min(i_0 + n_row, p.n_query) - 2"),
    # Calls with a mask.
    ("a window one key too wide on a GPU", CUDA_VISIBLE, "(distance >= p.window || distance",
     "(distance > p.window || distance"),
    ("a sink more on a GPU", CUDA_VISIBLE, "sees = sees && key < begin + p.n_sink;", "sees = sees && key <= begin + p.n_sink;"),
    ("a window's oldest tile left out", CUDA_VISIBLE, "of_window_ = oldest / kColumns;",
     "of_window_ = (oldest + kColumns - 1) / kColumns;"),
    ("the last sinks' tile left out", CUDA_VISIBLE, "(n_sink - 1) / kColumns", "(n_sink - 1) / kColumns - 1"),
    ("a jump to a tile's own place", CUDA_VISIBLE, "(tile - Max(of_sinks_, first - 1) + 1) % 2", "0"),
    ("a document that ends one key early", CUDA_VISIBLE, "begins[at] > own ? lane", "begins[at] >= own ? lane"),
    ("a window's last query left out", CUDA_VISIBLE, "j_1 - p.distance + p.window", "j_1 - p.distance + p.window - 1"),
    ("the queries that see a sink left out", CUDA_VISIBLE, "const bool has_sinks = p.n_sink > 0 &&",
     "const bool has_sinks = false &&"),
    ("a tile of two documents called whole", CUDA_TERMS, "is_one_document = key_begin == last_begin &&",
     "is_one_document = key_begin <= last_begin ||"),
    ("a segment that no pair is held against", CUDA_PIPELINE, "number <= range.last", "number < range.last"),
    ("segments of one corner less", CUDA_PIECES, "    u.Add(psi.smallest * factors.largest);\n", ""),
    ("knots after the first 32 left out", CUDA_PIECES, "at < p.n_knot; at += 32", "at < 32; at += 32"),
    ("pairs of all segments below", CUDA_PIECES, "!(u < low) && !(u >= high)", "!(u >= high)"),
    ("a row factor without the offset", CUDA_PIECES, "p.row_factor[p.q_offset + Min", "p.row_factor[Min"),
    ("another head's segments", CUDA_PIECES, "at = h * (p.n_knot + 1) + number", "at = h * p.n_knot + number"),
    ("the gradient of a row factor without the slope", PIPELINED_BACKWARD, "(segment.slope * psi)", "psi"),
    ("sums of segments in the wrong tile", PIPELINED_BACKWARD, "i_0 / kRows + tile) * n;", "i_0 / kRows) * n;"),
    ("row factors of the other tile", PIPELINED_BACKWARD, "row_factors.GetTwo(from + 8 * n", "row_factors.GetTwo(column + 8 * n"),
    ("rows beyond the last query in a segment", CUDA_VISIBLE, "i_0 + row >= p.n_query) end = 0;", "i_0 + row >= p.n_query) end = end;"),
    ("a gradient of a pair that a window hides", CUDA_VISIBLE, "if (hidden == 0) return;", "if (hidden != 1) return;"),
    # Two-sided biases.
    ("keys after their query with the sign of those before it", CUDA_TWO_SIDED, "farthest < 0 ? -1 : 0", "farthest < 0 ? 1 : 0"),
    ("a tile on the diagonal taken for one before it", CUDA_TWO_SIDED, "nearest >= 0 ? 1", "nearest >= -8 ? 1"),
    ("a tile on the diagonal taken for one after it", CUDA_TWO_SIDED, "farthest < 0 ? -1", "farthest <= 8 ? -1"),
    ("a row's key bias of another row", PIPELINED_BACKWARD, "bias.OfRow(2 * m + half, thread)", "bias.OfRow(2 * m, thread)"),
    ("a query's own position on the side after it", CUDA_TWO_SIDED, "farthest < 0 ? -1", "farthest <= 0 ? -1"),
    ("sides of transposed scores turned round", CUDA_TWO_SIDED, "(kKeysAreRows ? column - row : row - column) < 0",
     "(row - column) < 0"),
    ("sides by the whole tile's first row", CUDA_TWO_SIDED, "const int row = 16 * m + 8", "const int row = 0 * m + 8"),
    ("a two-sided bias of the column less the row", CUDA_PIPELINE, "(kKeysAreRows ? -1.0F : 1.0F) * (side < 0", "(side < 0"),
    ("numbers of the other tile's columns", CUDA_PIPELINE, "numbers_.GetTwo(place * kNumbers + column + 8 * n + 2 * (thread % 4)",
     "numbers_.GetTwo((1 - place) * kNumbers + column + 8 * n + 2 * (thread % 4)"),
    ("numbers of rows by their place and not their position", CUDA_PIPELINE, "KeyAt(p, first + 8 * n)", "first + 8 * n"),
    ("numbers of columns by their place and not their position", CUDA_PIPELINE, "KeyAt(p, i_0 + Layer::Thread())",
     "i_0 + Layer::Thread()"),
    ("gradients of a query's number with one sign", PIPELINED_BACKWARD, "Base::AddRowSums(ds, sides.Sign(ds), row_sums)",
     "Base::AddRowSums(ds, 1.0F, row_sums)"),
    ("gradients of a key's number with the query's sign", PIPELINED_BACKWARD, "sign = -sides.Sign(ds)", "sign = sides.Sign(ds)"),
    ("a key's number without its query's gradient", PIPELINED_BACKWARD, "sum += p.query_bias[head * p.n_query + i];",
     "sum += 0.0 * p.query_bias[head * p.n_query + i];"),
    ("a key's number with another query's gradient", PIPELINED_BACKWARD, "const int i = own - p.distance;", "const int i = own;"),
    ("keys in a pipeline before the queries whose sums they add", CUDA_CALL,
     "        if (!LaunchPipelinedQueries()) LaunchWith<QueryKernel, Math>(p_);\n"
     "        if (!LaunchPipelinedKeys()) LaunchWith<KeyKernel, Math>(p_);\n",
     "        if (!LaunchPipelinedKeys()) LaunchWith<KeyKernel, Math>(p_);\n"
     "        if (!LaunchPipelinedQueries()) LaunchWith<QueryKernel, Math>(p_);\n"),
    # Sums by distance over diagonals of squares.
    ("queries copied over a square that others read", PIPELINED_DISTANCES,
     "Layer::Barrier();  // the queries before have been read\n", ""),
    ("a part of a square read before it has arrived", PIPELINED_DISTANCES, "Layer::template WaitCopies<0>();\n", ""),
    ("the next square's keys from this one's diagonal", PIPELINED_DISTANCES,
     "if (next < own.end) copy_part((next - difference)", "if (next < own.end) copy_part((square - difference)"),
    ("the part of keys before", PIPELINED_DISTANCES, "copy_part(j_0, part + 1);", "copy_part(j_0, part);"),
    ("the last square of a diagonal left out", PIPELINED_DISTANCES, "n_key_square + difference),", "n_key_square + difference - 1),"),
    ("the first square of a diagonal left out", PIPELINED_DISTANCES, "NextSquare(p, own, Max(0, own.difference));",
     "NextSquare(p, own, Max(0, own.difference) + 1);"),
    ("squares that forward has skipped", PIPELINED_DISTANCES, "if (FirstKey(p, own.b, own.h, i_0) <= j_0) break;",
     "if (FirstKey(p, own.b, own.h, i_0) >= 0) break;"),
    ("squares with no visible pair", PIPELINED_DISTANCES, "kBlockRows).is_hidden) continue;", "kBlockRows).is_whole) continue;"),
    ("a diagonal at the edge of the causal mask called hidden", PIPELINED_DISTANCES, "p.causal != 0 && farthest < 0)",
     "p.causal != 0 && farthest < kBlockRows)"),
    ("a diagonal with sinks called hidden", PIPELINED_DISTANCES, "p.window > 0 && p.n_sink == 0 &&", "p.window > 0 &&"),
    ("a diagonal at the edge of a window called hidden", PIPELINED_DISTANCES, "(nearest >= p.window ||",
     "(nearest >= p.window - 2 * kBlockRows ||"),
    ("hidden diagonals without zeros", PIPELINED_DISTANCES, "      WriteZeros(p, own);\n", ""),
    ("a diagonal computed twice", PIPELINED_DISTANCES, "first - beyond / 2;", "last + beyond / 2;"),
    ("another head's sums of a diagonal", PIPELINED_DISTANCES, "head) * n_diagonal + diagonal", "h) * n_diagonal + diagonal"),
    ("queries beyond the last in the sums of their distance", PIPELINED_DISTANCES, "HideScores<Layer, false, true>",
     "HideScores<Layer, false, false>"),
    ("gradients of queries beyond the last in the sums of their distance", PIPELINED_DISTANCES,
     "HideGradients<Layer, false, true>", "HideGradients<Layer, false, false>"),
    ("sums of the next diagonal of fragments", PIPELINED_DISTANCES, "2 * m + e / 2 - n + kColumns / 8 - 1", "2 * m - n + kColumns / 8 - 1 + e % 2"),
    ("sums of another part's diagonal", PIPELINED_DISTANCES, "(kBlockRows - kColumns - column) / 8", "column / 8"),
    ("psi's gradient without the slope", PIPELINED_DISTANCES, "(segment.slope * factor)", "factor"),
    ("a distance without some of its diagonals", PIPELINED_DISTANCES, "within >= 8 * kSquareDiagonals)",
     "within >= 8 * kSquareDiagonals - 8)"),
    ("another column's sums", PIPELINED_DISTANCES, "kWarpRows * warp + 2 * t + e;", "kWarpRows * warp + 2 * t - e;"),
    ("sums over tiles that others still read", PIPELINED_DISTANCES,
     "    Layer::Barrier();  // the tiles have been read\n", ""),
    ("no barrier before sums are combined", PIPELINED_DISTANCES,
     "      }\n    }\n    Layer::Barrier();\n    LR_UNROLL\n    for (int n = 0; n < 2; ++n) {",
     "      }\n    }\n    LR_UNROLL\n    for (int n = 0; n < 2; ++n) {"),
    ("sums of psi in base 2", PIPELINED_DISTANCES, "Params::kHasPieces ? kLn2 : 1.0;", "1.0;"),
    ("a place that another tile's warps still read", PIPELINED_BACKWARD, "aside.Set(kTwoTiles + 2 * place, tile);",
     "aside.Set(kTwoTiles + 2 - 2 * place, tile);"),
    ("rotated queries in a pipeline without their low part", PIPELINED_FORWARD, "            add(low, k);\n", ""),
    ("rotated keys in a pipeline without their low part", PIPELINED_FORWARD, "            add(of_step, k_low);\n", ""),
    ("keys backward without a wait", PIPELINED_BACKWARD,
     "      Layer::template WaitCopies<0>();\n"
     "      Layer::Barrier();  // the tile has arrived, and the one before has been read\n      if (key_tile",
     "      Layer::Barrier();  // the tile has arrived, and the one before has been read\n      if (key_tile"),
    ("queries backward after a wait for the tile before", PIPELINED_BACKWARD,
     "WaitCopies<0>();\n"
     "      Layer::Barrier();  // the tile has arrived, and the one before has been read\n      if (next",
     "WaitCopies<1>();\n"
     "      Layer::Barrier();  // the tile has arrived, and the one before has been read\n      if (next"),
    ("no barrier before queries are copied over others", PIPELINED_BACKWARD,
     "      Layer::Barrier();  // the tile has arrived, and the one before has been read\n      if (next", "      if (next"),
    ("statistics put where they are read", PIPELINED_BACKWARD, "put_numbers(next, 1 - place);", "put_numbers(next, place);"),
    ("the first tile of queries left out", PIPELINED_BACKWARD, "Max(j_0 - p.distance, 0) : 0;",
     "Max(j_0 - p.distance, 0) + kTileRows : 0;"),
    ("queries that skip a block's keys", PIPELINED_BACKWARD,
     "kSkips && FirstKey(p, b, h_kv * p.group + head, i_0) > j_0", "false"),
    ("queries of the next head", PIPELINED_BACKWARD, "tile = (head + 1) * n_tile;", "tile = (head + 1) * n_tile + 1;"),
    ("the last heads in parts of more", CUDA_PIPELINE, "n = Min(n_of_part, n_all_head - first_head);", "n = n_of_part;"),
    ("an lse without the anchor of its keys", PIPELINED_BACKWARD, "static_cast<float>((sum - LseAnchor(p, anchor)) * kLog2E)",
     "static_cast<float>((sum + LseAnchor(p, anchor)) * kLog2E)"),
    ("sums of a head that go on in the next", PIPELINED_BACKWARD, "      ClearBiasSums(sums);\n    }", "    }"),
    ("a head without its own key bias", PIPELINED_BACKWARD,
     "if (next < tile_end) PutKeyBias(p, b, next_h, j_0, bias);", ""),
    ("heads whose queries all skip a block's keys", PIPELINED_BACKWARD, "for (; h < h_end; ++h) {",
     "for (h_end = Min(h_end, h + 1); h < h_end; ++h) {"),
    ("no barrier before other warps' ds are read", PIPELINED_BACKWARD,
     "Layer::Barrier();  // all warps have put their scores", ""),
    ("ds of hidden pairs as the tile before left them", PIPELINED_BACKWARD,
     "          if constexpr (Params::kAddsQueries) PutScores(of_queries, column, ds);\n          continue;",
     "          continue;"),
    ("another query's factor", PIPELINED_BACKWARD, "factors.Get(from + row)", "factors.Get(from)"),
    ("half of a single kernel's keys", PIPELINED_BACKWARD, "for (int j = 0; j < kBlockRows; j += 16) {",
     "for (int j = 0; j < kBlockRows / 2; j += 16) {"),
    ("a flag that several blocks write", PIPELINED_BACKWARD,
     "Layer::AtomicOr(p.of_queries.is_infinite + head * p.n_query + i, 1);",
     "p.of_queries.is_infinite[head * p.n_query + i] = 1;"),
    ("a NaN that integers hide", QUERY_SUMS, "return fabsf(part) < 0x1p50F;", "return !(fabsf(part) >= 0x1p50F);"),
    ("too large a unit", QUERY_SUMS, "kBits = 46;", "kBits = 8;"),
    ("zeros for integers in sums of floats", QUERY_SUMS, "kAtOnce = 16 / static_cast<int>(sizeof *sums);", "kAtOnce = 2;"),
    ("floats that blocks add without an atomic operation", PIPELINED_BACKWARD,
     "Layer::AtomicAdd(of_pass + Part::SumOf(m, n, e), part);", "of_pass[Part::SumOf(m, n, e)] += part;"),
    ("an infinite key in the bound of all queries", QUERY_SUMS, "? Larger(x, size) : x;", "? Larger(x, size) : Larger(x, size);"),
    ("sums of one fragment's rows", QUERY_SUMS, "Part::FirstRow(Layer::Thread()) + 16 * m;",
     "Part::FirstRow(Layer::Thread());"),
    # Subnormal numbers where there must be none.
    keeps("on a kernel's other threads", "kernels/cpu/parts.h", "    body(begin, end);"),
    keeps("by attention forward", "kernels/cpu/attention.cc", "  return kForward("),
    keeps("by attention backward", "kernels/cpu/attention.cc", "  return kBackward("),
    keeps("by norms forward", "kernels/cpu/norm.cc", "  LONGRUN_OF_SIMD(NormForwardOf"),
    keeps("by norms backward", "kernels/cpu/norm.cc", "  LONGRUN_OF_SIMD(NormBackwardOf"),
    keeps("by activations forward", "kernels/cpu/activation.cc", "  LONGRUN_OF_SIMD(ActivationForwardOf"),
    keeps("by activations backward", "kernels/cpu/activation.cc", "  LONGRUN_OF_SIMD(ActivationBackwardOf"),
    keeps("by gates forward", "kernels/cpu/activation.cc", "  LONGRUN_OF_SIMD(GatedForwardOf"),
    keeps("by gates backward", "kernels/cpu/activation.cc", "  LONGRUN_OF_SIMD(GatedBackwardOf"),
    keeps("by the loss", "kernels/cpu/cross_entropy.cc", "  LONGRUN_OF_SIMD(CrossEntropyOf"),
    keeps("by AdamW", "kernels/cpu/adamw.cc", "  LONGRUN_OF_SIMD(AdamWUpdateOf"),
    keeps("by the global norm", "kernels/cpu/adamw.cc", "  return LONGRUN_OF_SIMD(GlobalNormOf"),
    keeps("by embeddings", "kernels/cpu/embedding.cc", "  const auto add_segment"),
    keeps("by key biases forward", "kernels/cpu/key_bias.cc", "  LONGRUN_OF_SIMD(KeyBiasForwardOf"),
    keeps("by key biases backward", "kernels/cpu/key_bias.cc", "  LONGRUN_OF_SIMD(KeyBiasBackwardOf"),
    ("subnormal operands kept", "base/subnormals.cc", "kFlushBits = 0x8040;", "kFlushBits = 0x8000;"),
    ("subnormal results kept", "base/subnormals.cc", "kFlushBits = 0x8040;", "kFlushBits = 0x0040;"),
    ("a GPU's working memory for each pair", CUDA_CALL, "deltas.to = memory_.template Take<float>(n_row);",
     "deltas.to = memory_.template Take<float>(n_row * p_.n_key);"),
    # A GPU's kernels over rows.
    ("a GPU's norm without the rounding of its mean", CUDA_NORM, "(s[k][i] - mean - rest) * rstd", "(s[k][i] - mean) * rstd"),
    ("a GPU's variance about a mean that was rounded", CUDA_NORM, "squares - rest * rest;", "squares;"),
    ("a GPU's last row without its norm", CUDA_NORM, "if (row >= p.n_row) return;", "if (row + 1 >= p.n_row) return;"),
    ("a GPU's mean of a row from its first warp", CUDA_NORM,
     "for (int warp = 0; warp < kWarps; ++warp) x += shares.Get(slot * kWarps + warp);",
     "x += shares.Get(slot * kWarps);"),
    ("sign of a GPU's norm backward", CUDA_NORM, "- normed[k][i] * mean_gn)", "+ normed[k][i] * mean_gn)"),
    ("a GPU's gradient of beta times gamma", CUDA_NORM, "of_beta[i] = Widened(given[k][i]);", "of_beta[i] = g[k][i];"),
    ("a GPU's gradient of gamma without one warp", CUDA_NORM,
     "for (int of = 0; of < kWarps; ++of) sum += shares.Get(of * n + c);",
     "for (int of = 1; of < kWarps; ++of) sum += shares.Get(of * n + c);"),
    ("a GPU's sums in memory that forget earlier rows", CUDA_NORM, "is_first ? x[i] :", "is_first || i > 0 ? x[i] :"),
    ("a GPU's slope of gelu_new", CUDA_ACTIVATION, "kLine + 3.0F * kCube * square;", "kLine + kCube * square;"),
    ("a GPU's slope of gelu without its density", CUDA_ACTIVATION, "slope = phi + x * kDensity *", "slope = phi + kDensity *"),
    ("a GPU's activation of huge numbers", CUDA_ACTIVATION, "bounded = fminf(fmaxf(x, -1e4F), 1e4F);", "bounded = x;"),
    ("a GPU's gradient of a gate without its partner", CUDA_ACTIVATION, "out[0] = in[2] * in[1] * slope;",
     "out[0] = in[2] * slope;"),
    ("sign of a GPU's bias backward", CUDA_ACTIVATION, "F::At(in[0] + b, value, slope);", "F::At(in[0] - b, value, slope);"),
    ("a GPU's range without its last row", CUDA_ACTIVATION, "if (next < end) ComputeChunk", "if (next + 1 < end) ComputeChunk"),
    ("a GPU's gradient of a bias without one warp", CUDA_ACTIVATION, "sum += shares.Get(of * kColumns + at);",
     "if (of != 3) sum += shares.Get(of * kColumns + at);"),
    ("a GPU's sum of a row that does not follow its maximum", CUDA_LOSS, "sum = sum * Below(maximum, from) + of_chunk;",
     "sum = sum + of_chunk;"),
    ("a GPU's maximum of negative logits", CUDA_LOSS, "return bits < 0 ? bits ^ 0x7fffffff : bits;", "return bits;"),
    ("a GPU's loss without the last warp", CUDA_LOSS, "for (int warp = 0; warp < kWarps; ++warp) total",
     "for (int warp = 0; warp < kWarps - 1; ++warp) total"),
    ("a GPU's loss whose logarithm is in fp32", CUDA_LOSS, "Layer::Log(static_cast<double>(total));",
     "static_cast<double>(static_cast<float>(high + Layer::Log(static_cast<double>(total)))) - high;"),
    ("a GPU's gradient of the next token", CUDA_LOSS, "c + i == target ?", "c + i == target + 1 ?"),
    ("a GPU's gradient of a target without the weight", CUDA_LOSS, "probability - p.weight :", "probability - 1.0F :"),
    ("a GPU's gradient of an ignored token", CUDA_LOSS, "x[i] = is_ignored ? 0.0F : c + i", "x[i] = c + i"),
    ("a GPU's chunk one channel too short", CUDA_COLUMNS, "c + i < n_channel ? row[c + i] : T{}",
     "c + i + 1 < n_channel ? row[c + i] : T{}"),
    ("a GPU's chunk in the order of its halves", CUDA_COLUMNS, "__builtin_memcpy(words, x + 4 * half,",
     "__builtin_memcpy(words, x + 4 * (1 - half),"),
    ("a GPU's fp16 rounded as bf16", CUDA_COLUMNS, "std::is_same_v<TwoBytes, Fp16Bits> ? kScalarFp16 : kScalarBf16", "kScalarBf16"),
    ("a GPU's partial sums without the last lane", CUDA_COLUMNS, "for (int lane = 0; lane < kLanes; ++lane) {\n      total +=",
     "for (int lane = 0; lane < kLanes - 1; ++lane) {\n      total +="),
    ("a GPU's partial sums read twice", CUDA_COLUMNS, "first += kAhead * kLanes) {", "first += kLanes) {"),
    ("a GPU's gradient of beta from the parts of gamma", CUDA_COLUMNS, "is_second ? p.partial[1] : p.partial[0];", "p.partial[0];"),
    # The optimizer, and the bf16 copies of weights.
    ("a weight's copy without the update", "kernels/cpu/adamw.cc", "at.Store(theta, copy + c)", "at.Store(kept, copy + c)"),
    ("a GPU's key bias without the ranges before", CUDA_KEY_BIAS, "sum = tile.Total(sum).all;",
     "sum = tile.Total(0.0 * sum).all;"),
    ("a GPU's key bias with its own range twice", CUDA_KEY_BIAS, "kIsBackward ? p.n_range : tile.range;",
     "kIsBackward ? p.n_range : tile.range + 1;"),
    ("a GPU's gradient of a key bias with its own range twice", CUDA_KEY_BIAS, "kIsBackward ? tile.range + 1 : 0;",
     "kIsBackward ? tile.range : 0;"),
    ("a GPU's key bias without the tile before", CUDA_KEY_BIAS, "before += totals.all;", "before = totals.all;"),
    ("a GPU's gradient of a key bias from the first tile on", CUDA_KEY_BIAS, "kKeys * (kIsBackward ? n_tile - 1 - at : at)",
     "kKeys * at"),
    ("a GPU's gradient of a key bias from the first key on", CUDA_KEY_BIAS, "kIsBackward ? kRun - 1 - at : at;", "at;"),
    ("a GPU's key bias of the next head's lanes", CUDA_KEY_BIAS, "if (of == lane) totals.before = totals.all;",
     "if (of == 0) totals.before = totals.all;"),
    ("a GPU's key bias with what stands before, not negated", CUDA_KEY_BIAS, "p.before_sign * p.before[tile.series]",
     "p.before[tile.series]"),
    ("a GPU's local key bias from the beginning", CUDA_KEY_BIAS, "p.local != nullptr ? 0.0 : before;",
     "p.local == nullptr ? 0.0 : before;"),
    ("a GPU's gate of large numbers", CUDA_KEY_BIAS, "Layer::Log1p(Layer::Exp(-fabs(x)))", "Layer::Log1p(Layer::Exp(x))"),
    ("a GPU's gradient of a gate below 0", CUDA_KEY_BIAS, "(x < 0.0 ? small : 1.0)", "1.0"),
    ("a GPU's key bias of heads that do not exist", CUDA_KEY_BIAS,
     "const bool exists = first_key + key < end && first_head + head < p.n_head;\n      body(At(head, key), exists ? row * p.n_key",
     "const bool exists = first_key + key < end;\n      body(At(head, key), exists ? row * p.n_key"),
    ("a GPU's gradient of gates that do not exist", CUDA_KEY_BIAS,
     "const bool exists = first_key + key < end && first_head + head < p.n_head;\n      body(At(head, key), exists ? row * p.n_head",
     "const bool exists = first_key + key < end;\n      body(At(head, key), exists ? row * p.n_head"),
    ("a GPU's copy of a weight before the update", CUDA_ADAMW,
     "if (of.copy != nullptr) WriteChunk<Layer, kAligned>(of.copy + begin, c, n, theta);",
     "if (of.copy != nullptr) WriteChunk<Layer, kAligned>(of.copy + begin, c, n, g);"),
    ("a GPU's update in spite of an infinite loss", CUDA_ADAMW, "if (!(x - x == 0.0)) return;",
     "if (x != x) return;"),
    ("a GPU's block beyond a vector's last", CUDA_ADAMW, "p.first_block[middle] <= block",
     "p.first_block[middle] < block"),
    ("a stale copy after LibTorch's update", ADAMW, "parameter.unsafeGetTensorImpl()->bump_version();",
     "static_cast<void>(parameter);"),
    ("a copy that the update does not write", ADAMW, "copies_ ? copies_->Written(parameter) : nullptr", "nullptr"),
    ("a stale copy of a weight that an operator changed", WEIGHT_COPIES, "entry.version != weight._version()",
     "entry.version > weight._version()"),
    # Frequencies of extensions.
    ("pi multiplied", PI, "frequency /= factor;", "frequency *= factor;"),
    ("the exponent of ntk turned over", NTK, "d / (d - 2.0)) : 1.0", "(d - 2.0) / d) : 1.0"),
    ("dynamic ntk in short texts", DYNAMIC_NTK, "if (length > original && d > 2.0)", "if (d > 2.0)"),
    ("dynamic ntk by factor", DYNAMIC_NTK, "- (factor - 1.0)", "- factor"),
    ("the fast end of yarn rounded up", YARN, "std::floor(first)", "std::ceil(first)"),
    ("the variants of yarn swapped", YARN, "frequency = revised ?", "frequency = !revised ?"),
    ("the magnitude of yarn doubled", YARN, "0.1 * std::log(", "0.2 * std::log("),
    ("llama3 mixed the other way round", LLAMA3, "(1.0 - sigma) * frequency / factor + sigma * frequency",
     "sigma * frequency / factor + (1.0 - sigma) * frequency"),
    ("the lists of longrope swapped", LONGROPE, 'is_long ? "long_factor" : "short_factor"',
     'is_long ? "short_factor" : "long_factor"'),
    ("longrope's long list one token early", LONGROPE, "n_tokens > params", "n_tokens >= params"),
    # Distances of extensions.
    ("the offset of self_extend rounded up", SELF_EXTEND, "w - w / g;  // in steps", "w - (w + g - 1) / g;"),
    ("the window of self_extend one wider", SELF_EXTEND, "return p - w + 1; }", "return p - w; }"),
    ("self_extend's longest text", SELF_EXTEND, "g * (original - w + w / g)", "g * (original - w + w / g + 1)"),
    ("dca's neighbour not limited", DCA, "std::min(p % c + c, s)", "p % c + c"),
    ("dca's neighbour two chunks wide", DCA, "(p / c - 1) * c", "(p / c - 2) * c"),
    ("dca's old chunks one nearer", DCA, "std::min(2 * c - 1, s); })}}", "std::min(2 * c - 2, s); })}}"),
    ("dca's temperature not squared", DCA, "factor * factor);", "factor);"),
    ("gali's shared positions", GALI, "CeilDivide(n_tokens - original, g_ - 1)", "CeilDivide(n_tokens - original, g_)"),
    ("gali's weights turned over", GALI, "static_cast<double>(g_ - t % g_)", "static_cast<double>(t % g_)"),
    ("gali's first piece", GALI, "if (n_read < original) return original", "if (n_read < 0) return original"),
    ("one key of gali kept too many", GALI, "? before.n_shared() : 0", "? before.n_shared() + 1 : 0"),
    ("rerope one nearer", REROPE, "{ return w; }), .key_set", "{ return w - 1; }), .key_set"),
    ("the window of rerope one narrower", REROPE, "return p - w + 1; }", "return p - w + 2; }"),
    ("leaky rerope one window farther", LEAKY, "p + w * (k - 1)", "p + w * k"),
    ("the window of lm_infinite one wider", LM_INFINITE, "return p - local + 1; }", "return p - local; }"),
    ("streaming drops one key late", STREAMING, "t>(0, p + 1 - (sinks + recent)", "t>(0, p - (sinks + recent)"),
    ("the same noise in all layers", NOISE, "static_cast<std::uint32_t>(row.layer)}", "0}"),
    ("noise of half the variance", NOISE, "std::sqrt(-2.0 *", "std::sqrt(-1.0 *"),
    # Keys that a cache forgets.
    ("a key that is held taken for its place", READING, "return f(held.KeyAt(place));", "return f(place);"),
    ("a region's first key not counted in places", READING,
     "return held.PlaceOf(std::clamp<std::int64_t>(f(p), 0, n_key()));",
     "return std::clamp<std::int64_t>(f(p), 0, n_held());"),
    ("places of keys after the forgotten ones", READING, "std::max(n_front, key - n_forgotten)",
     "std::max(n_front, key - n_forgotten - 1)"),
    ("a window's first tile forgotten", CACHE, "RoundDown(n - seen.window + 1) - n_front",
     "RoundUp(n - seen.window + 1) - n_front"),
    ("the last tile of sinks forgotten", CACHE, "const std::int64_t n_front = RoundUp(seen.n_sink);",
     "const std::int64_t n_front = RoundDown(seen.n_sink);"),
    ("nothing forgotten", CACHE, "if (n_now < ForgottenMin(seen)) return;", "if (n_now < n) return;"),
    ("values that stay when their keys move", CACHE, "  move(cache.v_BHTD, n_held);\n", ""),
    ("numbers of terms that stay when their keys move", CACHE, "if (of_term.defined()) move(of_term, n_held);",
     "if (of_term.defined() && of_term.size(2) < cache.n_room()) move(of_term, n_held);"),
    ("rotated keys that were forgotten still counted", CACHE,
     "n_rotated = std::min(n_rotated, n_front) + n_after(n_rotated);", ""),
    ("room that grows by a tile", CACHE, "n_needed + n_needed / 2", "n_needed + kTile"),
    ("room for the whole capacity", CACHE, "std::min(n_grown, RoomMax(*this, n_new))",
     "std::max(n_grown, RoomMax(*this, n_new))"),
    ("growth from the middle of the room", ATTENTION, ".n_positions = cache.capacity}", ".n_positions = cache.n_room()}"),
    ("tables of all layers for one that forgot keys", ATTENTION, "call.n_shared == n_positions) {", "true) {"),
    ("tokens rotated to their places", ATTENTION, "at.begin = cache.n - n_query;", "at.begin = n_held - n_query;"),
    ("queries of a text counted by places", ATTENTION,
     "given.held.KeyAt(given.k_BHTD.size(2) - n_query);", "given.k_BHTD.size(2) - n_query;"),
    ("a window of the sinks", REGION_SCORES, "n = plan.stretch.n_held();", "n = plan.stretch.n_key();"),
    ("reach of a network counted by places", NETWORK, "(i + block.n_before).maximum", "i.maximum"),
    ("reach in the kernel counted by places", NETWORK, "(position_T + kernel.n_before).maximum", "position_T.maximum"),
    ("a full layer's cache with a window", STACK,
     "layer.sees_all ? *full_attention_ : attention_;\n    caches.of_layers.push_back",
     "!layer.sees_all && full_attention_ ? *full_attention_ : attention_;\n    caches.of_layers.push_back"),
    # Keys in the host's memory.
    ("keys used before they have arrived", HOST_KEYS, "  room.arrived.block(CurrentStream(device_));\n", ""),
    ("keys fetched while their room is in use", HOST_KEYS, "  queued_.block(stream_);\n  const c10",
     "  const c10"),
    ("keys of every chunk at the beginning", HOST_KEYS, "    begin += chunk.n;\n", ""),
    ("memory given back while keys arrive", HOST_KEYS, "    queued_.block(CurrentStream(device_));\n", ""),
    # Samples on their way to a GPU.
    ("samples used before they have arrived", SAMPLE_COPIES, "  room.arrived.block(computing);\n", ""),
    ("samples copied while their room is in use", SAMPLE_COPIES, "  room.done.block(gpu_->stream);\n", ""),
    ("samples copied to new memory at once", SAMPLE_COPIES,
     "  if (Grow(pinned, room)) room.done.record(computing);", "  Grow(pinned, room);"),
    ("samples that wait for the pass before", SAMPLE_COPIES,
     "gpu_->rooms[gpu_->next].done.record(computing);", "room.done.record(computing);"),
    ("a single room for samples", SAMPLE_COPIES, "gpu_->next = 1 - gpu_->next;", "gpu_->next = 0;"),
    ("samples copied by the computing stream", SAMPLE_COPIES, "  const c10::StreamGuard guard(gpu_->stream);\n", ""),
    ("samples in a room that is too small", SAMPLE_COPIES, "numbers.numel() >= host[i].numel()", "true"),
    # Positions in training.
    ("pose's first chunk never the longer", POSE, "draw(1, (n_tokens + 1) / 2)", "draw(1, n_tokens / 2)"),
    ("pose's skips not in order", POSE, "draw(skips.back(), most)", "draw(0, most)"),
    ("pose one position too far", POSE, "DrawSkips(lengths.size(), n_positions - train_length,",
     "DrawSkips(lengths.size(), n_positions - train_length + 1,"),
    ("pose's positions by the text", POSE, "static_cast<std::int32_t>(t + u[i])", "static_cast<std::int32_t>(t + v[i])"),
    ("aligned text not aligned", POSE, "  if (is_aligned) v = u;\n", ""),
    ("pose's last target", POSE, "sample.place.push_back(t + v.back());", "sample.place.push_back(t + v.back() + 1);"),
    ("a document of a target that it does not have", DOCUMENTS, "sample.tokens.begin() + n, sample.targets.begin()",
     "sample.tokens.begin() + std::min<std::ptrdiff_t>(n + 1, train_.train_length), sample.targets.begin()"),
    ("padding with targets", DOCUMENTS, "sample.targets.assign(length, kIgnoredTarget)",
     "sample.targets.assign(length, kPaddingToken)"),
    ("padding behind the last position", DOCUMENTS, "sample.positions.resize(length, 0)",
     "sample.positions.resize(length, sample.positions.back())"),
    ("a document's text of any length", DOCUMENTS,
     "std::min(n_of_text, ScheduleTextLength(train_.positions, train_.train_length))", "n_of_text"),
    ("documents of one token as samples", DOCUMENTS, "(has_bos ? 0 : 1)", "0"),
    ("a target that is not counted", DOCUMENTS, ".n_targets = n - 1}", ".n_targets = n}"),
    ("randpos one position too far", RANDPOS, "0, n_positions - 1, draw", "0, n_positions, draw"),
    # Documents by rule.
    ("the entropy of copy", COPY, "static_cast<double>(distance - kSeparators) *", "static_cast<double>(distance) *"),
    ("induction's noise of all symbols", INDUCTION, "RandomSymbols(noise, alphabet - 1, random)",
     "RandomSymbols(noise, alphabet, random)"),
    ("the entropy of passkey_tokens", PASSKEY_TOKENS, "std::log(static_cast<double>(noise) + 1)",
     "std::log(static_cast<double>(noise))"),
    ("passkey's key of one digit more", PASSKEY, "kDigitsMax - kDigitsMin + 1), '0'", "kDigitsMax - kDigitsMin + 2), '0'"),
    ("a prompt of the evaluation in the training", PASSKEY, "while (text[begin] == text.front())", "while (false)"),
]


def run(command, **options):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **options)


def copy_tree():
    """The tracked files as they lie here; what is equal already keeps its time, so that little is built."""
    files = run(["git", "-C", str(ROOT), "ls-files", "-z"]).stdout.split("\0")
    for name in filter(None, files):
        source, target = ROOT / name, TREE / name
        if not source.is_file():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists() or target.read_bytes() != source.read_bytes():
            shutil.copyfile(source, target)
            shutil.copymode(source, target)
    for name in [".deps", ".venv"]:
        if (ROOT / name).exists() and not (TREE / name).exists():
            (TREE / name).symlink_to((ROOT / name).resolve())


def targets_of(files):
    """The test programs of these files, each once: their names, or such tuples as NARROW_TILES."""
    beginnings = {max(filter(file.startswith, TARGETS), key=len) for file in files}
    return list(dict.fromkeys(target for beginning, targets in TARGETS.items() if beginning in beginnings
                              for target in targets))


def build(targets, environment):
    targets = list(dict.fromkeys(target if isinstance(target, str) else target[0] for target in targets))
    return run(["cmake", "--build", str(BUILD), "-j", os.environ.get("JOBS", str(os.cpu_count())), "--target", *targets],
               env=environment)


def first_failure(targets, environment):
    """What the tests say: None when all pass, else the first that fails."""
    for target in targets:
        target, *variables = [target] if isinstance(target, str) else target
        try:
            done = run([str(BUILD / "tests" / target)],
                       env=environment | {"GTEST_FAIL_FAST": "1"} | dict(variables), timeout=TEST_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            return f"no end within {TEST_SECONDS_MAX} s"
        if done.returncode != 0:
            failed = [line.split("]", 1)[1].split(",")[0].strip() for line in done.stdout.splitlines()
                      if line.startswith("[  FAILED  ]")]
            return failed[0] if failed else f"{target} died with {done.returncode}"
    return None


def check():
    """Names the errors whose text is not, exactly once, in their file."""
    stale = [f"{name}: {file} has it {count} times" for name, file, old, _ in ERRORS
             if (count := (ROOT / file).read_text(encoding="utf-8").count(old)) != 1]
    print("\n".join(stale) or f"all {len(ERRORS)} errors apply")
    sys.exit(2 if stale else 0)


def main():
    if sys.argv[1:] == ["--check"]:
        check()
    chosen = [error for error in ERRORS if not sys.argv[1:] or any(word in error[0] for word in sys.argv[1:])]
    if not chosen:
        sys.exit(f"planted: no error's name contains {' or '.join(sys.argv[1:])}")
    copy_tree()
    commit = run(["git", "-C", str(ROOT), "rev-parse", "--short=12", "HEAD"]).stdout.strip()
    # The tests' random inputs are those of the commit, as in its own checkout.
    environment = os.environ | {"LONGRUN_COMMIT": commit, "OMP_NUM_THREADS": "1"}
    trainer = "ON" if any(file.startswith(NET) for _, file, _, _ in chosen) else "OFF"
    configured = run(["cmake", "-S", str(TREE), "-B", str(BUILD), "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release",
                      f"-DLONGRUN_TRAINER={trainer}", "-DLONGRUN_SERVICES=OFF", "-DLONGRUN_CUDA=OFF"], env=environment)
    if configured.returncode != 0:
        sys.exit(f"planted: the copy cannot be configured:\n{configured.stdout}")
    all_targets = targets_of([file for _, file, _, _ in chosen])
    clean = build(all_targets, environment)
    if clean.returncode != 0:
        sys.exit(f"planted: the copy cannot be built:\n{clean.stdout}")
    if (failed := first_failure(all_targets, environment)) is not None:
        sys.exit(f"planted: without any error the tests fail already: {failed}")

    missed, stale = [], []
    print(f"{'planted error':54} {'seconds':>8}  what saw it", flush=True)
    for name, file, old, new in chosen:
        begin = time.monotonic()
        path = TREE / file
        source = path.read_text()
        if source.count(old) != 1:
            stale.append(name)
            print(f"{name:54} {'':>8}  DOES NOT APPLY: {file} has it {source.count(old)} times", flush=True)
            continue
        path.write_text(source.replace(old, new))
        try:
            built = build(targets_of([file]), environment)
            if built.returncode != 0:
                stale.append(name)
                errors = [line for line in built.stdout.splitlines() if "error:" in line]
                found = f"DOES NOT BUILD: {errors[0] if errors else built.stdout[-200:]}"
            else:
                found = first_failure(targets_of([file]), environment)
                if found is None:
                    missed.append(name)
                    found = "MISSED"
        finally:
            path.write_text(source)
        print(f"{name:54} {time.monotonic() - begin:8.0f}  {found}", flush=True)
    print(f"\n{len(chosen) - len(missed) - len(stale)} of {len(chosen)} caught, {len(missed)} missed, "
          f"{len(stale)} that no longer apply")
    sys.exit(1 if missed else 2 if stale else 0)


if __name__ == "__main__":
    main()
