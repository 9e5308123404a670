// A digest of the numbers of a matrix: BLAKE3 (O'Connor, Aumasson, Neves and Wilcox-O'Hearn 2020).
// Random starts are seeded with it. It is collision-resistant, so nobody can construct a matrix
// that is orthogonal to its own start.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "core/memory.h"
#include "core/threads.h"

namespace lowrank {

using Digest = std::array<uint32_t, 8>;

// The result depends neither on the number of threads nor on the vector instructions.
Digest blake3(const void* data, size_t bytes, MemoryLedger& memory, Team& team);

// Returns the native bytes that blake3 needs for `bytes` of data.
int64_t blake3Bytes(int64_t bytes);

} // namespace lowrank
